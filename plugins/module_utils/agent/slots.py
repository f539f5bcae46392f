# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How many calls of one user the root helper serves at a time: the socket's connections are for everybody with a job on the host."""

from __future__ import annotations

from .. import filelock
from ..model.errors import VcError
from .places import Places

# An agent makes two at a time at most; the socket takes 128 altogether.
SLOTS = 16


def take(places: Places, uid: int) -> int:
    """A handle that holds one of the user's slots until it is closed, or this process ends; VcError ``in_use`` when none is free."""
    handle = filelock.place(places.run / "calls", uid * SLOTS, SLOTS)
    if handle is not None:
        return handle
    detail = f"{SLOTS} calls of this user are being served on this host"
    raise VcError("in_use", f"uid {uid}", "calling the root helper", detail, "call again when one of them has ended")
