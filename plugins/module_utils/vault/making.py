# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Directories that appear whole and go whole: made beside their place and renamed, renamed away and then deleted."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

from ..model.errors import VcError
from . import durable
from .store import Settled

_YOUNG_SECONDS = 60.0


class Making:
    """Makes and removes directories of one filesystem, by way of `temporary`, which is on it."""

    def __init__(self, temporary: Path) -> None:
        self._temporary = temporary

    @contextlib.contextmanager
    def directory(self, place: Path, item: str, settled: Settled = contextlib.nullcontext) -> Iterator[Path]:
        """A temporary directory that becomes `place` at the end; VcError ``conflict`` if that exists by then."""
        durable.make_directory(self._temporary)
        _sweep(self._temporary)
        directory = Path(tempfile.mkdtemp(dir=self._temporary))
        # Whoever makes something holds its directory; one that nobody holds was left by a killed command.
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield directory
            durable.sync_directory(directory)
            with settled():
                durable.make_directory(place.parent)
                try:
                    os.rename(directory, place)
                except OSError:
                    if not place.exists():
                        raise
                    raise VcError(
                        "conflict", item, "storing it", "another command has just stored one with this name", "run it again"
                    ) from None
                durable.sync_directory(place.parent)
        except OSError as error:
            raise VcError("backend", item, "writing into the store", str(error), "see df and the log of the vault host") from None
        finally:
            os.close(descriptor)
            shutil.rmtree(directory, ignore_errors=True)

    def discard(self, place: Path) -> None:
        """Remove a directory with what is in it, and those above it that are empty then."""
        durable.make_directory(self._temporary)
        # Nothing is made for it: there may be no room, and this makes some.
        gone = self._temporary / f"{uuid.uuid4()}"
        os.rename(place, gone)
        durable.sync_directory(place.parent)
        shutil.rmtree(gone, ignore_errors=True)
        with contextlib.suppress(OSError):
            for parent in place.parents:
                if parent == self._temporary.parent:
                    break
                parent.rmdir()


def _sweep(temporary: Path) -> None:
    for name in os.listdir(temporary):
        path = temporary / name
        with contextlib.suppress(OSError):
            if time.time() - path.stat().st_mtime < _YOUNG_SECONDS:
                continue
            descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(path, ignore_errors=True)
            finally:
                os.close(descriptor)
