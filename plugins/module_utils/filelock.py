# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Waiting for an exclusive flock with a limit, which the system call itself does not have."""

from __future__ import annotations

import fcntl
import time

_PAUSE_SECONDS = 0.02


def acquire(descriptor: int, seconds: float) -> bool:
    """Lock an open file or directory, waiting at most `seconds`; whether it was got.  It ends when the descriptor is closed."""
    until = time.monotonic() + seconds
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if time.monotonic() >= until:
                return False
            time.sleep(_PAUSE_SECONDS)
