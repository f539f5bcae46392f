# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A store on ZFS: snapshots are what is true, heads are scratch, exports are read-only clones.

Below the dataset (what a user property says of something is set in the same step that makes it, so that nothing is half there)::

    goldens/<name>@r<N>                 a revision; the head is empty but while one is imported
    disks/<cluster>/<node>@gen<N>       a node's disk, cloned from a revision; never mounted
    snapshots/<cluster>:<node>/<name>   a clone of a generation, which keeps it; never mounted
    views/<kind>:...                    a read-only clone for the target daemon: zfs-fuse has no ``.zfs/snapshot``
    trash/...                           what is being removed
    isos                                a directory of the dataset itself
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Optional

from .. import filelock
from ..command import Commands
from ..model import names
from ..model.errors import VcError
from . import durable, source_file
from .iso_files import IsoFiles
from .making import Making
from .store import Disk, Disks, DiskSnapshot, Golden, Goldens, Iso, Isos, Settled, Snapshots
from .zfs import Zfs

_GOLDEN, _DISK, _GENERATION, _SNAPSHOT = "hpc.vc:golden", "hpc.vc:disk", "hpc.vc:generation", "hpc.vc:snapshot"
# zfs-fuse ends a value after 1024 characters.
_LONGEST_PROPERTY = 1000
_FILE = "disk.raw"
_IMPORT_SECONDS = 10.0
_MAKING_SECONDS = 60.0


class ZfsStore:
    """The store below one dataset; see ``store.Store`` for what each method promises."""

    def __init__(self, commands: Commands, dataset: str) -> None:
        self._commands = commands
        self._zfs = Zfs(commands, dataset)

    def goldens(self) -> Goldens:
        return self._goldens()

    def disks(self) -> Disks:
        return self._disks()

    def snapshots(self) -> Snapshots:
        return self._snapshots()

    def revisions(self, name: str) -> Mapping[int, Golden]:
        return self._goldens(f"goldens/{name}").get(name, {})

    def disk(self, cluster: str, node: str) -> Optional[Disk]:
        return self._disks(f"disks/{cluster}/{node}").get(cluster, {}).get(node)

    def snapshots_of(self, cluster: str, node: str) -> Mapping[str, DiskSnapshot]:
        return self._snapshots(_snapshots_of(cluster, node)).get(cluster, {}).get(node, {})

    def _goldens(self, below: str = "") -> Goldens:
        found: dict[str, dict[int, Golden]] = {}
        for place, _key, value in self._zfs.marked([_GOLDEN], below):
            with _reading(place):
                golden = Golden.from_dict(durable.decode(value, place))
                if place != f"goldens/{golden.ref}":
                    raise ValueError(f"it describes {golden.ref}")
            found.setdefault(golden.name, {})[golden.revision] = golden
        return found

    def _disks(self, below: str = "") -> Disks:
        found: dict[str, dict[str, Disk]] = {}
        newest: dict[str, int] = {}
        marks = self._zfs.marked([_DISK, _GENERATION], below)
        for place, key, value in marks:
            if key == _GENERATION:
                with _reading(place):
                    path, _at, generation = place.partition("@gen")
                    if int(value) != int(generation):
                        raise ValueError(f"it is marked as generation {value}")
                newest[path] = max(newest.get(path, 0), int(value))
        for place, key, value in marks:
            if key == _DISK and place in newest and place.startswith("disks/"):
                with _reading(place):
                    _top, cluster, node = place.split("/")
                    data = durable.decode(value, place)
                    disk = Disk(cluster, node, newest[place], int(data["disk_mib"]), str(names.image_ref(data["image"])))
                found.setdefault(cluster, {})[node] = disk
        return found

    def _snapshots(self, below: str = "") -> Snapshots:
        found: dict[str, dict[str, dict[str, DiskSnapshot]]] = {}
        for place, _key, value in self._zfs.marked([_SNAPSHOT], below):
            with _reading(place):
                _top, disk, name = place.split("/")
                cluster, node = disk.split(":")
                data = durable.decode(value, place)
                image = str(names.image_ref(data["image"]))
                snapshot = DiskSnapshot(cluster, node, name, int(data["generation"]), int(data["disk_mib"]), image)
            found.setdefault(cluster, {}).setdefault(node, {})[name] = snapshot
        return found

    def isos(self) -> Isos:
        return self._isos().read()

    def golden_path(self, golden: Golden) -> str:
        return self._view(f"goldens/{golden.ref}", _view_of_golden(golden))

    def disk_path(self, disk: Disk) -> str:
        return self._view(f"{_head(disk)}@gen{disk.generation}", f"{_views_of(disk)}gen{disk.generation}")

    def import_golden(self, name: str, revision: int, source: str, source_format: str) -> Golden:
        with source_file.open_unfollowed(source) as stream:
            source_file.size_mib_of(stream, source, source_format)
        head = f"goldens/{name}"
        self._zfs.create(head, mounted=True)
        try:
            return self._import(head, f"{name}@r{revision}", source, source_format)
        except VcError:
            self._drop_head(head)
            raise

    def remove_golden(self, golden: Golden) -> None:
        for begun, about in self._begun().items():
            if durable.decode(about, begun).get("image") == golden.ref:
                self._zfs.destroy(begun)
        self._zfs.destroy(_view_of_golden(golden))
        self._zfs.destroy(f"goldens/{golden.ref}")
        self._drop_head(f"goldens/{golden.name}")

    def make_disk(self, cluster: str, node: str, golden: Golden, disk_mib: int, settled: Settled = contextlib.nullcontext) -> Disk:
        disk = Disk(cluster, node, 1, max(disk_mib, golden.size_mib), golden.ref)
        wanted = {_DISK: _about(disk)}
        # Of two at once, the second would take the first one's clone for one that a killed command has left.
        with self._alone(disk.item) as lock:
            self._zfs.create(f"disks/{cluster}")
            if not self._zfs.clone(f"goldens/{golden.ref}", _head(disk), {"canmount": "off", **wanted}, [lock]):
                self._finish(disk, golden, wanted[_DISK])
            try:
                with settled():
                    if not self._zfs.snapshot(f"{_head(disk)}@gen1", {_GENERATION: "1"}, [lock]):
                        raise _made_already(disk.item)
            except VcError:
                # Refused where it is a disk by now.
                with contextlib.suppress(VcError):
                    self._zfs.destroy(_head(disk))
                raise
        return disk

    def grow_disk(self, disk: Disk, disk_mib: int) -> Disk:
        grown = replace(disk, disk_mib=max(disk_mib, disk.disk_mib))
        if grown != disk:
            self._zfs.set(_head(disk), _DISK, _about(grown))
        return grown

    def remove_disk(self, disk: Disk) -> None:
        for place, _key, _value in self._zfs.marked([_GENERATION], _head(disk)):
            self._zfs.destroy(f"{_views_of(disk)}{place.partition('@')[2]}")
        self._zfs.create("trash")
        # One step, before its generations go one by one: an older one must not pass for the newest.
        self._zfs.rename(_head(disk), f"trash/{secrets.token_hex(8)}")
        for gone in self._zfs.children("trash"):
            self._zfs.destroy(gone, recursive=True)

    def tidy(self, cluster: str) -> None:
        with contextlib.suppress(VcError, OSError):
            # ZFS would refuse it, one child after the other.
            if not self._zfs.children(f"disks/{cluster}"):
                with self._alone(cluster):
                    self._zfs.destroy(f"disks/{cluster}")

    def take_snapshot(self, disk: Disk, name: str, settled: Settled = contextlib.nullcontext) -> DiskSnapshot:
        kept = DiskSnapshot(disk.cluster, disk.node, name, disk.generation, disk.disk_mib, disk.image)
        about = _encoded({"generation": kept.generation, "disk_mib": kept.disk_mib, "image": kept.image}, kept.item)
        with settled():
            self._zfs.create(_snapshots_of(disk.cluster, disk.node))
            if not self._zfs.clone(f"{_head(disk)}@gen{disk.generation}", _kept(kept), {"canmount": "off", _SNAPSHOT: about}):
                raise _made_already(kept.item)
        return kept

    def remove_snapshot(self, snapshot: DiskSnapshot) -> None:
        self._zfs.destroy(_kept(snapshot))
        self._drop_head(_snapshots_of(snapshot.cluster, snapshot.node))

    def import_iso(self, name: str, source: str, sha256: str) -> Iso:
        return self._isos().take(name, source, sha256)

    def remove_iso(self, iso: Iso) -> None:
        self._isos().remove(iso)

    def _import(self, head: str, item: str, source: str, source_format: str) -> Golden:
        with self._importing(self._zfs.place(head), item) as (directory, lock):
            if self._zfs.exists(f"goldens/{item}"):
                raise _made_already(item)
            # What a killed import left may still be written to.
            disk = directory / f"new.{secrets.token_hex(8)}"
            taken = source_file.take_disk(self._commands, source, source_format, disk, item)
            os.rename(disk, directory / _FILE)
            durable.sync_directory(directory)
            ref = names.image_ref(item)
            golden = Golden(
                ref.name, ref.revision or 0, taken.size_mib, taken.sha256, source_format, taken.source_sha256, taken.fingerprint
            )
            if not self._zfs.snapshot(f"goldens/{item}", {_GOLDEN: _encoded(golden.to_dict(), item)}, holding=[lock]):
                raise _made_already(item)
        return golden

    def _drop_head(self, head: str) -> None:
        """Remove what revisions or snapshots of one thing are kept in; ZFS refuses that while there are any."""
        with contextlib.suppress(VcError):
            self._zfs.destroy(head)

    def _isos(self) -> IsoFiles:
        path = self._zfs.root() / "isos"
        return IsoFiles(path, Making(path / ".new"))

    def _view(self, snapshot: str, view: str) -> str:
        """The file of a read-only clone, which is made or mounted if need be."""
        path = self._zfs.root() / view / _FILE
        if not path.is_file():
            self._zfs.create("views")
            self._zfs.clone(snapshot, view, {"readonly": "on"})
            self._zfs.place(view)
            if not path.is_file():
                raise VcError("backend", snapshot, "serving it", f"there is no {path}", "restore the pool; see zpool status")
        return str(path)

    def _begun(self) -> dict[str, str]:
        """Disks that a killed command has cloned and not finished, with what they were to be."""
        marks = self._zfs.marked([_DISK, _GENERATION])
        done = {place.partition("@")[0] for place, key, _value in marks if key == _GENERATION}
        return {place: value for place, key, value in marks if key == _DISK and place not in done}

    def _finish(self, disk: Disk, golden: Golden, about: str) -> None:
        """Go on with a clone that a killed command has left; another one than is wanted now is made anew."""
        if self._zfs.exists(f"{_head(disk)}@gen1"):
            raise _made_already(disk.item)
        if self._begun().get(_head(disk)) == about:
            return
        self._zfs.destroy(_head(disk))
        if not self._zfs.clone(f"goldens/{golden.ref}", _head(disk), {"canmount": "off", _DISK: about}):
            raise _made_already(disk.item)

    @contextlib.contextmanager
    def _alone(self, item: str) -> Iterator[int]:
        """The lock on the making of disks; those of a moment each, so whoever waits waits shortly."""
        descriptor = os.open(self._zfs.root(), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            if not filelock.acquire(descriptor, _MAKING_SECONDS):
                detail = f"other commands have been making disks for {_MAKING_SECONDS:g} s"
                raise VcError("timeout", item, "making its disk", detail, "see zpool status, and run it again")
            yield descriptor
        finally:
            os.close(descriptor)

    @contextlib.contextmanager
    def _importing(self, directory: Path, item: str) -> Iterator[tuple[Path, int]]:
        """The emptied head of a golden image and the lock on it, ours alone; empty again afterwards."""
        try:
            descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                if not filelock.acquire(descriptor, _IMPORT_SECONDS):
                    detail = "another command is importing a revision of this image"
                    raise VcError("conflict", item, "storing it", detail, "run it again when that has ended")
                _empty(directory)
                try:
                    yield directory, descriptor
                finally:
                    _empty(directory)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise VcError("backend", item, "writing into the store", str(error), "see zfs list and the log of the vault host") from None


def _empty(directory: Path) -> None:
    for name in os.listdir(directory):
        (directory / name).unlink()


def _head(disk: Disk) -> str:
    return f"disks/{disk.cluster}/{disk.node}"


def _kept(snapshot: DiskSnapshot) -> str:
    return f"{_snapshots_of(snapshot.cluster, snapshot.node)}/{snapshot.name}"


def _snapshots_of(cluster: str, node: str) -> str:
    return f"snapshots/{cluster}:{node}"


def _view_of_golden(golden: Golden) -> str:
    return f"views/golden:{golden.name}:r{golden.revision}"


def _views_of(disk: Disk) -> str:
    return f"views/disk:{disk.cluster}:{disk.node}:"


def _about(disk: Disk) -> str:
    return _encoded({"disk_mib": disk.disk_mib, "image": disk.image}, disk.item)


def _encoded(data: Mapping[str, Any], item: str) -> str:
    text = json.dumps({"schema": durable.SCHEMA, **data}, sort_keys=True, separators=(",", ":"))
    if len(text) > _LONGEST_PROPERTY:
        detail = f"what has to be kept of it has {len(text)} characters, {_LONGEST_PROPERTY} are allowed"
        raise VcError("invalid", item, "storing it", detail, "import it from a path that is shorter")
    return text


@contextlib.contextmanager
def _reading(place: str) -> Iterator[None]:
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise durable.malformed(Path(place), error) from None


def _made_already(item: str) -> VcError:
    return VcError("conflict", item, "storing it", "another command has just stored one with this name", "run it again")
