# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files that survive a power cut whole or not at all: temp + fsync + rename + fsync(dir), and one flock for writers.

A writer that was killed leaves at most a hidden temporary file; readers never look at those, the next writer removes them.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Optional

from .. import filelock
from ..model.errors import VcError

_TEMPORARY = ".new."
SCHEMA = 1


def read_json(path: Path) -> Optional[dict[str, Any]]:
    """The object in this file, None when there is no such file.

    Raises VcError ``version`` for a file of a newer release and ``backend`` for one that is not ours.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise VcError("backend", str(path), "reading it", str(error), "look at the file as root") from None
    return decode(text, str(path))


def decode(text: str, place: str) -> dict[str, Any]:
    """The object in this text, which was read from `place`; raises as ``read_json``."""
    try:
        data = json.loads(text)
    except ValueError as error:
        raise VcError("backend", place, "reading it", f"not JSON: {error}", "restore it from a backup") from None
    schema = data.get("schema") if isinstance(data, dict) else None
    if not isinstance(schema, int) or isinstance(schema, bool):
        raise VcError("backend", place, "reading it", "it has no schema number", "restore it from a backup")
    if schema > SCHEMA:
        detail = f"it has schema {schema}, this release reads up to {SCHEMA}"
        raise VcError("version", place, "reading it", detail, "use the release of the collection that wrote it, or a newer one")
    return dict(data)


def malformed(path: Path, error: Exception) -> VcError:
    """The error for a file whose JSON is not what this release writes."""
    detail = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return VcError("backend", str(path), "reading it", f"not in the form this release writes ({detail})", "restore the file from a backup")


def encode(data: Mapping[str, Any]) -> bytes:
    """One form for one content, so that nothing changes on disk when nothing changed."""
    return (json.dumps(data, sort_keys=True, indent=1) + "\n").encode("utf-8")


@contextlib.contextmanager
def _beside(path: Path, content: bytes, mode: int) -> Iterator[Path]:
    """The content, synced, in a temporary file in the same directory; gone afterwards unless it was renamed."""
    temporary = path.with_name(f"{_TEMPORARY}{path.name}")
    with contextlib.suppress(FileNotFoundError):
        temporary.unlink()
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        yield temporary
    finally:
        with contextlib.suppress(FileNotFoundError):
            temporary.unlink()


def write_bytes(path: Path, content: bytes, mode: int = 0o600) -> bool:
    """Replace the file by this content; False when it already has it.  The caller syncs the directory."""
    try:
        if path.read_bytes() == content:
            return False
    except FileNotFoundError:
        pass
    with _beside(path, content, mode) as temporary:
        os.rename(temporary, path)
    return True


def write_json(path: Path, data: Mapping[str, Any], mode: int = 0o600) -> bool:
    """As ``write_bytes``, with the schema number put in and the directory synced."""
    written = write_bytes(path, encode({"schema": SCHEMA, **data}), mode)
    if written:
        sync_directory(path.parent)
    return written


def create_exclusive(path: Path, content: bytes, mode: int = 0o600) -> bool:
    """Create the file with its whole content in one step; False when it exists.  The caller syncs the directory."""
    with _beside(path, content, mode) as temporary:
        try:
            # A link fails on an existing name exactly as O_EXCL does, and never shows a file that is still empty.
            os.link(temporary, path)
        except FileExistsError:
            return False
    return True


def remove(path: Path) -> bool:
    """Remove a file; False when it is not there.  Synced."""
    return remove_all([path])


def remove_all(paths: Iterable[Path]) -> bool:
    """Remove files of one directory; False when none of them is there.  Synced, once."""
    directory: Optional[Path] = None
    for path in paths:
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
            directory = path.parent
    if directory is None:
        return False
    sync_directory(directory)
    return True


def sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_directory(path: Path, mode: int = 0o700) -> None:
    """Make a directory and its parents, each with this mode, synced into its parent."""
    if path.is_dir():
        return
    make_directory(path.parent, mode)
    with contextlib.suppress(FileExistsError):
        path.mkdir(mode)
    sync_directory(path.parent)


def names(path: Path) -> list[str]:
    """Sorted names in a directory without hidden ones; empty when there is no such directory."""
    try:
        return sorted(name for name in os.listdir(path) if not name.startswith("."))
    except (FileNotFoundError, NotADirectoryError):
        return []


def sweep(path: Path) -> None:
    """Remove what killed writers left in this tree.  Only under the lock."""
    for directory, _directories, files in os.walk(path):
        for name in files:
            if name.startswith(_TEMPORARY):
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(os.path.join(directory, name))


@contextlib.contextmanager
def locked(directory: Path, item: str, timeout: float = 60.0) -> Iterator[None]:
    """Hold the writers' lock: a flock on the directory itself, so that taking it leaves no file behind.

    Raises VcError ``backend`` without such a directory and ``timeout`` when another writer keeps it for `timeout` seconds.
    """
    try:
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        remedy = "mount its file system; if there was never a vault on this host, run role vault"
        raise VcError("backend", item, "locking the vault", f"there is no {directory}", remedy) from None
    try:
        if not filelock.acquire(descriptor, timeout):
            detail = f"another command has held the lock for {timeout:g} s"
            raise VcError("timeout", item, "locking the vault", detail, f"see `fuser -v {directory}`")
        yield
    finally:
        os.close(descriptor)
