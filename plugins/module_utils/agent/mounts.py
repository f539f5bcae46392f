# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Takes away what a user has mounted in his job's directories, which FUSE lets him do: while it is there, nothing on the way to it goes.

A FUSE file system is answered by a process of the user, or by none any more, so nothing in it is opened or looked at.
"""

from __future__ import annotations

import ctypes
import os
import re
import time
from pathlib import Path

from .processes import read_kernel

_MNT_DETACH = 2
# Whoever still runs may go on mounting.
_SECONDS = 5.0
_OCTAL = re.compile(r"\\([0-7]{3})")
_ID = re.compile(r"^mnt_id:\s*([0-9]+)$", re.MULTILINE)


def detach_below(directory: Path) -> bool:
    """Take away whatever is mounted on this directory or below it, at once; True when nothing is left."""
    until = time.monotonic() + _SECONDS
    while True:
        mounts = _mounts(directory)
        if not mounts:
            return True
        # The outermost go first, and take what is mounted in them along.
        outermost = min(len(path) for _number, path in mounts)
        gone = [_detach(number, path) for number, path in mounts if len(path) == outermost]
        if not any(gone) or time.monotonic() >= until:
            return False


def _mounts(directory: Path) -> list[tuple[str, str]]:
    found = []
    for line in filter(None, read_kernel(Path("/proc/self/mountinfo")).split("\n")):
        field = line.split(" ")
        path = _OCTAL.sub(lambda match: chr(int(match[1], 8)), field[4])
        if path == str(directory) or path.startswith(f"{directory}/"):
            found.append((field[0], path))
    return found


def _detach(number: str, path: str) -> bool:
    try:
        handle = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        # By its number: the user may have put a link on the way meanwhile, to what must stay.
        if number not in _ID.findall(read_kernel(Path(f"/proc/self/fdinfo/{handle}"))):
            return False
        return bool(ctypes.CDLL(None).umount2(f"/proc/self/fd/{handle}".encode(), _MNT_DETACH) == 0)
    finally:
        os.close(handle)
