# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How the gate's connections are shared out, so that nobody keeps the others out by waiting.

A call that waits holds its place until it is over, also when its caller has gone: what was begun is seen through, `on_timeout` included.
So each user has a few places, and all but operators together leave some of the socket's connections free.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from pathlib import Path

from .. import filelock
from ..model.errors import VcError

# The socket takes more than EACH and COMMON together; see vc-gate.socket.
EACH = 8
COMMON = 40
_FILE = "calls"
_TRIED = "calling the gate"
_LATER = "call again when one of them has ended"


def take_own(directory: Path, user: str) -> int:
    """A handle that holds one of the user's places; VcError ``in_use`` when none is free.  Before anything is asked of anybody."""
    # Users are names here: most have no account on this host.
    number = int.from_bytes(hashlib.sha256(user.encode()).digest()[:6], "big") + 1
    handle = filelock.place(directory / _FILE, number * EACH * COMMON, EACH)
    if handle is None:
        raise VcError("in_use", user, _TRIED, f"{EACH} calls with keys of {user} are being served on this host", _LATER)
    return handle


def take_common(directory: Path, user: str, roles: Collection[str]) -> None:
    """One of the places for all, held until this process ends; VcError ``in_use`` when none is free.  Operators need none."""
    if "operator" not in roles and filelock.place(directory / _FILE, 0, COMMON) is None:
        raise VcError("in_use", user, _TRIED, f"{COMMON} calls of owners and members are being served on this host", _LATER)
