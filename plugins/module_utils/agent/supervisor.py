# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keeps the agent in a child process, so that somebody is left to say what happened when the agent is killed."""

# A program of its own, not a module: what it prints is its output.
# pylint: disable=ansible-bad-function

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import traceback
from collections.abc import Callable
from typing import Any

_PR_SET_PDEATHSIG = 1
_FORWARDED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def supervise(agent: Callable[[], int], killed: Callable[[int], None]) -> int:
    """Run `agent` in a child; its exit status.  When a signal ends it, `killed` is called with that signal's number, and the status is 1.

    The other way round, when this process is killed, the agent gets SIGTERM and stops its guests in order.
    """
    for number in _FORWARDED:
        signal.signal(number, signal.SIG_IGN)
    parent = os.getpid()
    child = os.fork()
    if child == 0:
        _be_the_agent(agent, parent)
    for number in _FORWARDED:
        signal.signal(number, _forwarder(child))
    _pid, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        killed(os.WTERMSIG(status))
        return 1
    return os.WEXITSTATUS(status)


def _be_the_agent(agent: Callable[[], int], parent: int) -> None:
    status = 1
    try:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0)
        if os.getppid() == parent:
            status = agent()
    except SystemExit as error:
        print(error, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(status)


def _forwarder(child: int) -> Callable[[int, Any], None]:
    def forward(number: int, _frame: Any) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, number)

    return forward
