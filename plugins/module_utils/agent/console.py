# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a guest has written to its first serial port: a file that QEMU appends to, kept short by the agent.

Root inside a guest can write there without end, into the scratch space that other guests' overlays need.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

LONGEST = 8 << 20
_KEPT = 1 << 18
_TAIL = 4096
_PROMPT = b"login:"


class Console:
    """One guest's console.

    Parameters
    ----------
    path : its file
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        # What was written before the guest's last start or reset says nothing about it.
        self._since = 0

    def begin(self) -> None:
        """Before QEMU opens it: nothing of an earlier start."""
        self._since = 0
        with contextlib.suppress(FileNotFoundError):
            self._path.unlink()

    def mark(self) -> None:
        """The guest starts anew: what is there does not count."""
        self._since = self._size()

    def prompts(self) -> bool:
        """Whether it shows a login prompt."""
        return _PROMPT in self._tail()

    def last_line(self) -> str:
        """The last line that is not empty, for people."""
        lines = [
            "".join(char if char.isprintable() else " " for char in line).strip()
            for line in self._tail().decode("utf-8", "replace").splitlines()
        ]
        return ([line for line in lines if line] or [""])[-1][-200:]

    def shorten(self) -> None:
        """Throw the older part of a long console away."""
        if self._size() <= LONGEST:
            return
        with contextlib.suppress(OSError), open(self._path, "r+b") as stream:
            stream.seek(-_KEPT, os.SEEK_END)
            kept = stream.read()
            counted = stream.tell() - self._since
            stream.truncate(0)
            # QEMU may be writing as well: both only append.
            handle = os.open(self._path, os.O_WRONLY | os.O_APPEND)
            try:
                os.write(handle, kept)
            finally:
                os.close(handle)
            self._since = max(0, len(kept) - counted)

    def _size(self) -> int:
        try:
            return self._path.stat().st_size
        except OSError:
            return 0

    def _tail(self) -> bytes:
        try:
            with open(self._path, "rb") as stream:
                stream.seek(max(self._since, os.fstat(stream.fileno()).st_size - _TAIL))
                return stream.read()
        except OSError:
            return b""
