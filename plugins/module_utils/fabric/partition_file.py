# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""partitions.conf on disk, and beside it our partitions as they were last seen on the fabric."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Optional

from .. import filelock
from ..model.errors import VcError
from ..model.names import shown
from ..vault.durable import remove, sync_directory, write_bytes
from . import document
from .document import Document, Partition

PATH = "/etc/opensm/partitions.conf"
# Longer than whoever holds it may wait for the fabric twice.
LOCK_SECONDS = 180.0
_ROLE = "run role opensm on this host, or write it by hand: Default=0x7fff : SELF=full ;"


class PartitionFile:
    """The file that OpenSM reads.  A link to it is followed, so that it stays a link."""

    def __init__(self, path: str, option: str = "path") -> None:
        """Raises VcError ``invalid`` for a path that is not absolute."""
        if not path.startswith("/"):
            raise VcError("invalid", option, f"reading {shown(path)}", "it is not absolute", f"leave it out for {PATH}")
        self.path = Path(os.path.realpath(path))
        self._good = self.path.with_name(f"{self.path.name}.last-good")

    def read(self) -> Document:
        """Raises VcError ``unknown`` without such a file, ``invalid`` or ``conflict`` when it cannot be relied on."""
        return document.parse(self._text(self.path), str(self.path))

    def good(self) -> Optional[Mapping[str, Partition]]:
        """Our partitions as the fabric last had them; None when that was never noted."""
        try:
            return document.parse_block(self._text(self._good), str(self._good))
        except VcError as error:
            if error.code == "unknown":
                return None
            raise VcError(error.code, error.item, error.tried, error.detail, "remove that file; it is only needed to undo") from None

    def put(self, partitions: Mapping[str, Partition]) -> None:
        """Write our partitions between the marks, whole or not at all; the lines around them as they are on disk now."""
        there = self.read()
        text = Document(there.before, partitions, there.after, there.foreign).render()
        # What is written is read first, by the same rules that OpenSM has.
        if document.parse(text, str(self.path)).partitions != dict(partitions):
            raise VcError("invalid", str(self.path), "writing it", "it would not read as it was meant", "report this as a bug")
        self._write(self.path, text, os.stat(self.path).st_mode & 0o777)

    def remember(self, partitions: Mapping[str, Partition]) -> None:
        """Note what the fabric has, for a run to go back to."""
        self._write(self._good, document.render_block(partitions), 0o644)

    def forget(self) -> None:
        """The fabric has nothing of ours, and no run is under way."""
        remove(self._good)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the file between reading it and the fabric's answer: a flock on its directory, which leaves nothing behind."""
        try:
            descriptor = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise VcError("unknown", str(self.path.parent), "locking it", error.strerror or str(error), _ROLE) from None
        try:
            if not filelock.acquire(descriptor, LOCK_SECONDS):
                detail = f"another run has held it for {LOCK_SECONDS:g} s"
                raise VcError("timeout", str(self.path), "locking it", detail, f"see `fuser -v {self.path.parent}`")
            yield
        finally:
            os.close(descriptor)

    def _text(self, path: Path) -> str:
        try:
            # One character for each byte, and back again the same.
            return path.read_bytes().decode("ascii", "surrogateescape")
        except FileNotFoundError:
            raise VcError("unknown", str(path), "reading it", "there is no such file, so every port is a full member", _ROLE) from None
        except OSError as error:
            raise VcError("backend", str(path), "reading it", error.strerror or str(error), "run this as root") from None

    def _write(self, path: Path, text: str, mode: int) -> None:
        try:
            if write_bytes(path, text.encode("ascii", "surrogateescape"), mode):
                sync_directory(path.parent)
        except OSError as error:
            detail = error.strerror or str(error)
            raise VcError("backend", str(path), "writing it", detail, "make room there; the file is as it was") from None
