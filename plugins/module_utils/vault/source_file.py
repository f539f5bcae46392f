# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A file that an administrator wants in the store: what it is, and how its content gets there whole."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from ..command import Commands
from ..model.errors import VcError
from . import qcow2
from .store import Fingerprint

MIB = 1024 * 1024
COPY_SECONDS = 7200.0
_BLOCK = 4 * MIB
_TRIED = "reading the image to import"


def size_mib_of(stream: BinaryIO, source: str, source_format: str) -> int:
    """Size of the disk in an open source file, rounded up to whole MiB.  VcError ``invalid`` when it is not of that format."""
    if source_format == "qcow2":
        size = qcow2.virtual_size(stream, source)
    else:
        if qcow2.is_qcow2(stream):
            raise VcError("invalid", source, "importing it as raw", "it is a qcow2 file", "say format: qcow2")
        size = os.fstat(stream.fileno()).st_size
    if not size:
        raise VcError("invalid", source, f"importing it as {source_format}", "it is empty", "get the file again")
    return -(-size // MIB)


def sha256_of(path: str) -> str:
    """Of the whole content, as hexadecimal digits; holes are read as zeros."""
    with open(path, "rb") as stream:
        return sha256_of_stream(stream)


def sha256_of_stream(stream: BinaryIO) -> str:
    """As ``sha256_of``, of what is left of an open file."""
    digest = hashlib.sha256()
    while True:
        block = stream.read(_BLOCK)
        if not block:
            return digest.hexdigest()
        digest.update(block)


@dataclass(frozen=True)
class Taken:
    """An image as it was stored: size of the disk, hash of the stored disk and of the source file, which had this fingerprint."""

    size_mib: int
    sha256: str
    source_sha256: str
    fingerprint: Fingerprint


def take_disk(commands: Commands, source: str, source_format: str, disk: Path, item: str) -> Taken:
    """Fill the new file `disk` with the disk inside `source`, grown to whole MiB, and bring it to the platters.

    Whoever may write to the source may exchange it at any time.  So it is opened once, and what is believed is what the copy says.
    Raises VcError ``invalid``, ``unknown``, ``backend``, and ``conflict`` when the source changed meanwhile.
    """
    copied = disk if source_format == "raw" else disk.with_name(f"{disk.name}.source")
    with open_unfollowed(source) as stream:
        before = fingerprint_of(stream, source)
        size_mib_of(stream, source, source_format)
        own = stream.fileno()
        copy(commands, f"/proc/self/fd/{own}", copied, item, f"copying {source}", [own])
        if fingerprint_of(stream, source) != before:
            raise changed_meanwhile(item, source)
    with copied.open("rb") as stream:
        size_mib = size_mib_of(stream, source, source_format)
        source_sha256 = sha256_of_stream(stream)
    if copied != disk:
        argv = ["qemu-img", "convert", "-f", "qcow2", "-O", "raw", str(copied), str(disk)]
        commands.must(argv, item, f"converting {source}", timeout=COPY_SECONDS)
        copied.unlink()
    exact = disk.stat().st_size == size_mib * MIB
    os.truncate(disk, size_mib * MIB)
    sha256 = source_sha256 if exact and source_format == "raw" else sha256_of(str(disk))
    seal(disk)
    return Taken(size_mib, sha256, source_sha256, before)


def copy(commands: Commands, source: str, target: Path, item: str, tried: str, holding: Sequence[int] = ()) -> None:
    """Copy a file, sharing blocks where the filesystem can and keeping holes.  ``holding`` as for ``Commands.run``."""
    argv = ["cp", "--reflink=auto", "--sparse=always", "--no-preserve=all", "--", source, str(target)]
    commands.must(argv, item, tried, "make room in the store, or see the last line", timeout=COPY_SECONDS, holding=holding)


def open_unfollowed(source: str) -> BinaryIO:
    """Open a source that must itself be a regular file: root does not follow where a link points by now.

    VcError ``unknown``, ``invalid`` or ``backend`` when it is not a readable regular file.
    """
    _check_path(source)
    remedy = "give the path of the file itself, on the vault host"
    try:
        # A FIFO without a writer would keep us waiting.
        descriptor = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise _missing(source) from None
    except OSError as error:
        detail = "it is a symbolic link" if os.path.islink(source) else str(error)
        raise VcError("invalid" if os.path.islink(source) else "backend", source, _TRIED, detail, remedy) from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise VcError("invalid", source, _TRIED, "it is not a regular file", remedy)
    return os.fdopen(descriptor, "rb")


def fingerprint_of(stream: BinaryIO, source: str) -> Fingerprint:
    """The fingerprint of a file that is open."""
    found = os.fstat(stream.fileno())
    return Fingerprint(source, found.st_size, found.st_mtime_ns, found.st_ino)


def copy_hashing(stream: BinaryIO, target: Path) -> str:
    """Copy all of an open file into a new one, synced; answers the SHA-256 of what was written."""
    digest = hashlib.sha256()
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o400)
    with os.fdopen(descriptor, "wb") as copied:
        while True:
            block = stream.read(_BLOCK)
            if not block:
                break
            digest.update(block)
            copied.write(block)
        copied.flush()
        os.fsync(copied.fileno())
    return digest.hexdigest()


def changed_meanwhile(item: str, source: str) -> VcError:
    return VcError("conflict", item, f"importing {source}", "the file changed while it was read", "run it again when nobody writes to it")


def seal(path: Path) -> None:
    """Bring a finished file to the platters, and take the right to write away from it."""
    sync(path)
    os.chmod(path, 0o400)


def sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _check_path(source: str) -> None:
    if not source.startswith("/") or not source.isprintable():
        raise VcError("invalid", ascii(source), _TRIED, "it is not an absolute path", "give the path of a file on the vault host")


def _missing(source: str) -> VcError:
    return VcError("unknown", source, _TRIED, "there is no such file on this host", "copy it to the vault host first")
