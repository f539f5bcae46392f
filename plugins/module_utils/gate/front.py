# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""vc-gate: the login shell of the gate's account, and all that runs between sshd and the root helper.

sshd runs ``vc-gate -c USER``, where USER is the forced command of the key that was used, from a file that only root writes; so there is
no shell on the way.  What the client says is no part of it: it must be the word ``vc-gate``, and the request comes on stdin.
"""

# A program of its own, not a module: what it prints is its output.
# pylint: disable=ansible-bad-function

from __future__ import annotations

import json
import os
import signal
import socket
import sys
from collections.abc import Mapping, Sequence

from ..model import names
from ..model.errors import VcError
from ..vault import protocol
from .requests import LONGEST_CALL

SOCKET = "/run/vc-gate/gate.sock"
WORD = "vc-gate"
LARGEST_REQUEST = 64 * 1024
_READ_SECONDS = 30
_TRIED = "calling the gate"


def user_from_sshd(argv: Sequence[str], environment: Mapping[str, str]) -> str:
    """The user whose key it was.  VcError ``forbidden`` unless it can only have come from the key's own line.

    Without a forced command sshd would pass the client's words in its place, but then there is no SSH_ORIGINAL_COMMAND.
    """
    if len(argv) != 2 or argv[0] != "-c" or environment.get("SSH_ORIGINAL_COMMAND") != WORD:
        remedy = f"ssh {WORD}@HOST {WORD}, with the request as one JSON object on stdin"
        raise VcError("forbidden", "call", _TRIED, "the gate runs no command and takes no argument", remedy)
    return names.user_name(argv[1])


def _ask(user: str, request: str) -> str:
    with socket.socket(socket.AF_UNIX) as helper:
        helper.settimeout(LONGEST_CALL)
        try:
            helper.connect(SOCKET)
            helper.sendall(json.dumps({"user": user, "request": request}).encode() + b"\n")
            with helper.makefile("r", encoding="utf-8") as stream:
                answer = stream.readline()
        except OSError as error:
            raise VcError("unreachable", SOCKET, _TRIED, str(error), "an admin should look at vc-gate.socket on this host") from None
    if not answer:
        raise VcError("backend", SOCKET, _TRIED, "it ended without an answer", "an admin should look at journalctl -t vc-gate on this host")
    return answer


def main(argv: Sequence[str]) -> int:
    """One request in, one answer out; 0 when it is a good one."""
    signal.alarm(_READ_SECONDS)
    try:
        user = user_from_sshd(argv, os.environ)
        data = sys.stdin.buffer.read(LARGEST_REQUEST + 1)
        signal.alarm(0)
        if len(data) > LARGEST_REQUEST:
            detail = f"it has more than {LARGEST_REQUEST} bytes"
            raise VcError("invalid", "request", _TRIED, detail, "name nodes as a range")
        answer = _ask(user, data.decode("utf-8", "replace"))
    except VcError as error:
        answer = protocol.refusal(error)
    sys.stdout.write(answer)
    return 0 if answer.startswith('{"ok": true') else 1
