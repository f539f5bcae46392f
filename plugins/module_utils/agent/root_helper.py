# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The agent's side of the root helper's socket."""

from __future__ import annotations

import json
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..model.errors import VcError


def ask(path: Path, verb: str, args: Mapping[str, Any], seconds: float) -> dict[str, Any]:
    """One call: the helper's result.  VcError as the helper gave it, or ``unreachable``, ``timeout``."""
    tried = f"asking the root helper to {verb}"
    line = json.dumps({"schema": 1, "verb": verb, "args": args}).encode() + b"\n"
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(seconds)
            connection.connect(str(path))
            connection.sendall(line)
            with connection.makefile("rb") as stream:
                answer = json.loads(stream.readline())
    except socket.timeout:
        raise VcError("timeout", str(path), tried, f"no answer within {seconds:g} s", "see journalctl -t vc-host on this host") from None
    except (OSError, ValueError) as error:
        raise VcError("unreachable", str(path), tried, str(error), "an admin should look at vc-host.socket on this host") from None
    if answer.get("ok"):
        return dict(answer["result"])
    raise VcError.from_dict(answer.get("error", {}))
