# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which start of a frontend's guest this is, and whether that one was seen up.

A QEMU lives through a reset, and the guest in it begins anew.  So a start is a process and the last reset in it: what somebody has seen of
one start says nothing of the next, however late it is noted.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

_PIDS = Path("/run/libvirt/qemu")
_CONSOLE_BYTES = 1 << 20


class Starts:
    """The starts of one domain on this host.

    Parameters
    ----------
    notes : where they are kept, without ``.up`` and ``.reset``
    domain : its name in libvirt
    console : what the guest writes
    """

    def __init__(self, notes: Path, domain: str, console: Path) -> None:
        self._seen, self._reset = notes.with_name(f"{notes.name}.up"), notes.with_name(f"{notes.name}.reset")
        self._domain, self._console = domain, console

    def current(self) -> str:
        """This start; empty when there is no QEMU."""
        process, reset = self._process(), _text(self._reset)
        return reset if process and reset.startswith(f"{process} ") else process

    def begin(self) -> None:
        """Have everything that was seen until now, and what the guest has written, count for another start."""
        inode, size = self._place()
        # The time, for one that is reset twice and has written nothing between.
        _put(self._reset, f"{self._process()} {inode} {size} {time.monotonic_ns()}")

    def was_up(self, start: str) -> bool:
        return bool(start) and _text(self._seen) == start

    def note_up(self, start: str) -> None:
        _put(self._seen, start)

    def forget(self) -> None:
        for note in (self._seen, self._reset):
            note.unlink(missing_ok=True)

    def console(self, start: str) -> bytes:
        """What the guest has written to its console in this start, or the last part of it."""
        words = start.split()
        try:
            with open(self._console, "rb") as file:
                # libvirt's log daemon begins a new file when one is long; all of that was written after the reset.
                since = int(words[4]) if len(words) == 6 and int(words[3]) == os.fstat(file.fileno()).st_ino else 0
                file.seek(max(since, file.seek(0, 2) - _CONSOLE_BYTES))
                return file.read()
        except FileNotFoundError:
            return b""

    def _place(self) -> tuple[int, int]:
        try:
            status = self._console.stat()
        except FileNotFoundError:
            return 0, 0
        return status.st_ino, status.st_size

    def _process(self) -> str:
        """Which QEMU this is, on this host and in this boot; empty when there is none."""
        try:
            number = int((_PIDS / f"{self._domain}.pid").read_text())
            # The second field may hold anything, blanks and brackets too; the start is the 22nd.
            started = Path(f"/proc/{number}/stat").read_bytes().rpartition(b")")[2].split()[19].decode()
        except (OSError, ValueError, IndexError):
            return ""
        return f"{boot_id()} {number} {started}"


def boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def _text(note: Path) -> str:
    try:
        return note.read_text()
    except FileNotFoundError:
        return ""


def _put(note: Path, text: str) -> None:
    """Whoever reads it meanwhile has the one or the other."""
    note.parent.mkdir(mode=0o755, exist_ok=True)
    temporary = note.with_name(f"{note.name}.new{os.getpid()}")
    with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600), "w") as file:
        file.write(text)
    os.rename(temporary, note)
