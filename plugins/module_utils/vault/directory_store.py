# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A store of plain files: ``store/goldens/<name>/r<N>`` and ``store/disks/<cluster>/<node>``.

Everything is made in a temporary directory beside its place and renamed when complete, so a name that exists is whole.
Clones share blocks where the filesystem can (XFS, Btrfs), else they are sparse copies.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from ..command import Commands
from ..model import names
from ..model.errors import VcError
from . import durable, qcow2
from .registry import VAULT_ROOT
from .store import Disk, Disks, Fingerprint, Golden, Goldens

MIB = 1024 * 1024
_COPY_SECONDS = 7200.0
_YOUNG_SECONDS = 60.0


def fingerprint(source: str) -> Fingerprint:
    """The source file as it is now; VcError ``unknown`` or ``invalid`` when it is not a readable regular file."""
    tried = "reading the image to import"
    if not source.startswith("/") or not source.isprintable():
        raise VcError("invalid", ascii(source), tried, "it is not an absolute path", "give the path of a file on the vault host")
    try:
        path = os.path.realpath(source)
        found = os.stat(path)
        if not os.path.isfile(path):
            raise VcError("invalid", source, tried, "it is not a regular file", "give the path of an image file on the vault host")
        with open(path, "rb"):
            pass
    except FileNotFoundError:
        raise VcError("unknown", source, tried, "there is no such file on this host", "copy it to the vault host first") from None
    except OSError as error:
        raise VcError("backend", source, tried, str(error), "look at it as root on the vault host") from None
    return Fingerprint(path, found.st_size, found.st_mtime_ns, found.st_ino)


def source_size_mib(source: str, source_format: str) -> int:
    """Size of the disk in a source file, rounded up to whole MiB.  VcError ``invalid`` when it is not of that format."""
    path = Path(fingerprint(source).path)
    if source_format == "qcow2":
        size = qcow2.virtual_size(path)
    else:
        if qcow2.is_qcow2(path):
            raise VcError("invalid", source, "importing it as raw", "it is a qcow2 file", "say format: qcow2")
        size = path.stat().st_size
    if not size:
        raise VcError("invalid", source, f"importing it as {source_format}", "it is empty", "get the file again")
    return -(-size // MIB)


def sha256_of(path: str) -> str:
    """Of the whole content, as hexadecimal digits; holes are read as zeros."""
    digest = hashlib.sha256()
    with open(path, "rb") as stream:
        while True:
            block = stream.read(4 * MIB)
            if not block:
                return digest.hexdigest()
            digest.update(block)


class DirectoryStore:
    """The store under ``<root>/store``; see ``store.Store`` for what each method promises."""

    def __init__(self, commands: Commands, root: str = VAULT_ROOT) -> None:
        self._commands = commands
        self.path = Path(root) / "store"
        self._goldens = self.path / "goldens"
        self._disks = self.path / "disks"

    def goldens(self) -> Goldens:
        found: dict[str, dict[int, Golden]] = {}
        for name in durable.names(self._goldens):
            for revision in durable.names(self._goldens / name):
                path = self._goldens / name / revision / "meta.json"
                data = durable.read_json(path)
                if data is None:
                    continue
                try:
                    golden = Golden.from_dict(data)
                    if (golden.name, f"r{golden.revision}") != (name, revision):
                        raise ValueError(f"it describes {golden.ref}")
                except (KeyError, TypeError, ValueError, AttributeError) as error:
                    raise durable.malformed(path, error) from None
                found.setdefault(name, {})[golden.revision] = golden
        return found

    def disks(self) -> Disks:
        found: dict[str, dict[str, Disk]] = {}
        for cluster in durable.names(self._disks):
            for node in durable.names(self._disks / cluster):
                directory = self._disks / cluster / node
                data = durable.read_json(directory / "meta.json")
                if data is None:
                    continue
                try:
                    generation, image = int(data["generation"]), str(names.image_ref(data["image"]))
                    # The file's own size is the truth: growing it is one step, with nothing to keep in step.
                    size = (directory / f"gen{generation}.raw").stat().st_size
                except (KeyError, TypeError, ValueError, OSError, VcError) as error:
                    raise durable.malformed(directory / "meta.json", error) from None
                found.setdefault(cluster, {})[node] = Disk(cluster, node, generation, size // MIB, image)
        return found

    def golden_path(self, golden: Golden) -> str:
        return str(self._goldens / golden.name / f"r{golden.revision}" / "disk.raw")

    def disk_path(self, disk: Disk) -> str:
        return str(self._disks / disk.cluster / disk.node / f"gen{disk.generation}.raw")

    def import_golden(self, name: str, revision: int, source: str, source_format: str) -> Golden:
        item = f"{name}@r{revision}"
        size_mib = source_size_mib(source, source_format)
        before = fingerprint(source)
        with self._making(self._goldens / name / f"r{revision}", item) as directory:
            disk = directory / "disk.raw"
            if source_format == "qcow2":
                argv = ["qemu-img", "convert", "-f", "qcow2", "-O", "raw", before.path, str(disk)]
                self._commands.must(argv, item, f"converting {source}", timeout=_COPY_SECONDS)
                source_sha256 = sha256_of(before.path)
            else:
                self._copy(before.path, disk, item, f"copying {source}")
                source_sha256 = sha256_of(str(disk))
            if fingerprint(source) != before:
                raise VcError(
                    "conflict", item, f"importing {source}", "the file changed while it was read", "run it again when nobody writes to it"
                )
            exact = disk.stat().st_size == size_mib * MIB
            os.truncate(disk, size_mib * MIB)
            sha256 = source_sha256 if exact and source_format == "raw" else sha256_of(str(disk))
            golden = Golden(name, revision, size_mib, sha256, source_format, source_sha256, before)
            _seal(disk)
            durable.write_json(directory / "meta.json", golden.to_dict())
        return golden

    def remove_golden(self, golden: Golden) -> None:
        directory = self._goldens / golden.name
        self._discard(directory / f"r{golden.revision}")
        with contextlib.suppress(OSError):
            directory.rmdir()

    def make_disk(self, cluster: str, node: str, golden: Golden, disk_mib: int) -> Disk:
        item = f"{cluster}/{node}"
        disk = Disk(cluster, node, 1, max(disk_mib, golden.size_mib), golden.ref)
        with self._making(self._disks / cluster / node, item) as directory:
            path = directory / "gen1.raw"
            self._copy(self.golden_path(golden), path, item, f"cloning {golden.ref}")
            os.chmod(path, 0o600)
            os.truncate(path, disk.disk_mib * MIB)
            _seal(path)
            durable.write_json(directory / "meta.json", {"generation": 1, "image": golden.ref})
        return disk

    def grow_disk(self, disk: Disk, disk_mib: int) -> Disk:
        path = self.disk_path(disk)
        if disk_mib > disk.disk_mib:
            os.truncate(path, disk_mib * MIB)
            _sync(Path(path))
        return Disk(disk.cluster, disk.node, disk.generation, max(disk_mib, disk.disk_mib), disk.image)

    def remove_disk(self, disk: Disk) -> None:
        directory = self._disks / disk.cluster
        self._discard(directory / disk.node)
        with contextlib.suppress(OSError):
            directory.rmdir()

    def _copy(self, source: str, target: Path, item: str, tried: str) -> None:
        argv = ["cp", "--reflink=auto", "--sparse=always", "--no-preserve=all", "--", source, str(target)]
        self._commands.must(argv, item, tried, "make room in the store, or see the last line", timeout=_COPY_SECONDS)

    @contextlib.contextmanager
    def _making(self, place: Path, item: str) -> Iterator[Path]:
        """A temporary directory that becomes `place` at the end; VcError ``conflict`` if that exists by then."""
        temporary = self.path / "new"
        durable.make_directory(temporary)
        _sweep(temporary)
        directory = Path(tempfile.mkdtemp(dir=temporary))
        # Whoever makes something holds its directory; one that nobody holds was left by a killed command.
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield directory
            durable.make_directory(place.parent)
            durable.sync_directory(directory)
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

    def _discard(self, place: Path) -> None:
        temporary = self.path / "new"
        durable.make_directory(temporary)
        gone = Path(tempfile.mkdtemp(dir=temporary)) / "gone"
        os.rename(place, gone)
        durable.sync_directory(place.parent)
        shutil.rmtree(gone.parent, ignore_errors=True)


def _seal(disk: Path) -> None:
    _sync(disk)
    os.chmod(disk, 0o400)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


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
