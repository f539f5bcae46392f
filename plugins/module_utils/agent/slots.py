# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How many calls of one user the root helper serves at a time: the socket's connections are for everybody with a job on the host."""

from __future__ import annotations

import fcntl
import os

from ..model.errors import VcError
from .places import Places

# An agent makes two at a time at most; the socket takes 128 altogether.
SLOTS = 16


def take(places: Places, uid: int) -> int:
    """A handle that holds one of the user's slots until it is closed, or this process ends; VcError ``in_use`` when none is free."""
    # One byte of one file for each slot of each user, so that nothing is left behind of users.
    handle = os.open(places.run / "calls", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    for slot in range(SLOTS):
        try:
            fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, uid * SLOTS + slot)
            return handle
        except OSError:
            continue
    os.close(handle)
    detail = f"{SLOTS} calls of this user are being served on this host"
    raise VcError("in_use", f"uid {uid}", "calling the root helper", detail, "call again when one of them has ended")
