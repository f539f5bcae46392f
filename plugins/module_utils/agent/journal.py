# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where programs without a terminal say what they did: the system log, and stderr for whoever runs them by hand."""

# A program of its own, not a module: what it prints is its output.
# pylint: disable=ansible-bad-function

from __future__ import annotations

import os
import sys
import syslog


class Journal:
    """Messages of one program.

    Parameters
    ----------
    program : its name, e.g. ``vc-epilog``
    """

    def __init__(self, program: str) -> None:
        self._program = program
        # Its stderr is the same journal.
        self._under_systemd = "JOURNAL_STREAM" in os.environ
        syslog.openlog(program, syslog.LOG_PID, syslog.LOG_DAEMON)

    def say(self, message: str) -> None:
        self._write(syslog.LOG_INFO, message)

    def warn(self, message: str) -> None:
        self._write(syslog.LOG_WARNING, message)

    def _write(self, level: int, message: str) -> None:
        line = " ".join(message.split())
        syslog.syslog(level, line)
        if not self._under_systemd:
            print(f"{self._program}: {line}", file=sys.stderr, flush=True)
