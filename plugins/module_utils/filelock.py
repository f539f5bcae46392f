# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Locks that end with who holds them: an exclusive flock with a limit, which the system call itself does not have, and numbered places."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path
from typing import Optional

_PAUSE_SECONDS = 0.02
# Longer than the pause, so that each who waits looks at least once meanwhile.
_GAP_SECONDS = 0.03


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


def give_way() -> None:
    """For who takes a lock again and again: let those who wait for it in between two times."""
    time.sleep(_GAP_SECONDS)


def place(file: Path, first: int, count: int) -> Optional[int]:
    """A handle that holds one of these places until it is closed, or this process ends; None when all are taken.

    One byte of one file for each place, so that nothing is left behind of those who had one.
    """
    handle = os.open(file, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    for number in range(first, first + count):
        try:
            fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, number)
            return handle
        except OSError:
            continue
    os.close(handle)
    return None
