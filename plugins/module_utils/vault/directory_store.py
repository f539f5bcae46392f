# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A store of plain files: ``goldens/<name>/r<N>``, ``disks/<cluster>/<node>``, ``snapshots/<cluster>/<node>/<name>`` and ``isos/<name>``.

Everything is made in a temporary directory beside its place and renamed when complete, so a name that exists is whole.
Clones share blocks where the filesystem can (XFS, Btrfs), else they are sparse copies.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Optional

from ..command import Commands
from ..model import names
from ..model.errors import VcError
from . import durable, source_file
from .iso_files import IsoFiles
from .making import Making
from .source_file import MIB
from .store import Disk, Disks, DiskSnapshot, Golden, Goldens, Iso, Isos, Settled, Snapshots


class DirectoryStore:
    """The store under ``<root>/store``; see ``store.Store`` for what each method promises."""

    def __init__(self, commands: Commands, root: str) -> None:
        self._commands = commands
        self.path = Path(root) / "store"
        self._goldens = self.path / "goldens"
        self._disks = self.path / "disks"
        self._snapshots = self.path / "snapshots"
        self._making = Making(self.path / "new")
        self._isos = IsoFiles(self.path / "isos", self._making)

    def filled(self) -> bool:
        """Whether anything at all is in it."""
        return any(durable.names(place) for place in (self._goldens, self._disks, self._snapshots, self.path / "isos"))

    def goldens(self) -> Goldens:
        found = {name: self.revisions(name) for name in durable.names(self._goldens)}
        return {name: revisions for name, revisions in found.items() if revisions}

    def disks(self) -> Disks:
        found: dict[str, dict[str, Disk]] = {}
        for cluster in durable.names(self._disks):
            for node in durable.names(self._disks / cluster):
                disk = self.disk(cluster, node)
                if disk is not None:
                    found.setdefault(cluster, {})[node] = disk
        return found

    def snapshots(self) -> Snapshots:
        found: dict[str, dict[str, Mapping[str, DiskSnapshot]]] = {}
        for cluster in durable.names(self._snapshots):
            for node in durable.names(self._snapshots / cluster):
                kept = self.snapshots_of(cluster, node)
                if kept:
                    found.setdefault(cluster, {})[node] = kept
        return found

    def revisions(self, name: str) -> Mapping[int, Golden]:
        found: dict[int, Golden] = {}
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
            found[golden.revision] = golden
        return found

    def disk(self, cluster: str, node: str) -> Optional[Disk]:
        held = _read_disk(self._disks / cluster / node)
        return None if held is None else Disk(cluster, node, *held)

    def snapshots_of(self, cluster: str, node: str) -> Mapping[str, DiskSnapshot]:
        place = self._snapshots / cluster / node
        found = {name: _read_disk(place / name) for name in durable.names(place)}
        return {name: DiskSnapshot(cluster, node, name, *held) for name, held in found.items() if held is not None}

    def isos(self) -> Isos:
        return self._isos.read()

    def golden_path(self, golden: Golden) -> str:
        return str(self._goldens / golden.name / f"r{golden.revision}" / "disk.raw")

    def disk_path(self, disk: Disk) -> str:
        return str(self._disks / disk.cluster / disk.node / f"gen{disk.generation}.raw")

    def import_golden(self, name: str, revision: int, source: str, source_format: str) -> Golden:
        item = f"{name}@r{revision}"
        with self._making.directory(self._goldens / name / f"r{revision}", item) as directory:
            taken = source_file.take_disk(self._commands, source, source_format, directory / "disk.raw", item)
            golden = Golden(name, revision, taken.size_mib, taken.sha256, source_format, taken.source_sha256, taken.fingerprint)
            durable.write_json(directory / "meta.json", golden.to_dict())
        return golden

    def remove_golden(self, golden: Golden) -> None:
        self._making.discard(self._goldens / golden.name / f"r{golden.revision}")

    def make_disk(self, cluster: str, node: str, golden: Golden, disk_mib: int, settled: Settled = nullcontext) -> Disk:
        disk = Disk(cluster, node, 1, max(disk_mib, golden.size_mib), golden.ref)
        with self._making.directory(self._disks / cluster / node, disk.item, settled) as directory:
            path = directory / "gen1.raw"
            source_file.copy(self._commands, self.golden_path(golden), path, disk.item, f"cloning {golden.ref}")
            os.chmod(path, 0o600)
            os.truncate(path, disk.disk_mib * MIB)
            source_file.seal(path)
            durable.write_json(directory / "meta.json", {"generation": 1, "image": golden.ref})
        return disk

    def grow_disk(self, disk: Disk, disk_mib: int) -> Disk:
        path = self.disk_path(disk)
        if disk_mib > disk.disk_mib:
            os.truncate(path, disk_mib * MIB)
            source_file.sync(Path(path))
        return replace(disk, disk_mib=max(disk_mib, disk.disk_mib))

    def remove_disk(self, disk: Disk) -> None:
        self._making.discard(self._disks / disk.cluster / disk.node)

    def tidy(self, cluster: str) -> None:
        """Nothing: an empty directory goes with the last disk, which costs the same however many there are."""

    def take_snapshot(self, disk: Disk, name: str, settled: Settled = nullcontext) -> DiskSnapshot:
        kept = DiskSnapshot(disk.cluster, disk.node, name, disk.generation, disk.disk_mib, disk.image)
        with self._making.directory(self._snapshots / disk.cluster / disk.node / name, kept.item, settled) as directory:
            path = directory / f"gen{disk.generation}.raw"
            # Not a second name of the file: growing the disk would grow the snapshot.
            source_file.copy(self._commands, self.disk_path(disk), path, kept.item, f"copying {disk.item}")
            source_file.seal(path)
            durable.write_json(directory / "meta.json", {"generation": disk.generation, "image": disk.image})
        return kept

    def remove_snapshot(self, snapshot: DiskSnapshot) -> None:
        self._making.discard(self._snapshots / snapshot.cluster / snapshot.node / snapshot.name)

    def import_iso(self, name: str, source: str, sha256: str) -> Iso:
        return self._isos.take(name, source, sha256)

    def remove_iso(self, iso: Iso) -> None:
        self._isos.remove(iso)


def _read_disk(directory: Path) -> Optional[tuple[int, int, str]]:
    """Generation, size in MiB and image of what lies there; None when nothing does."""
    data = durable.read_json(directory / "meta.json")
    if data is None:
        return None
    try:
        generation, image = int(data["generation"]), str(names.image_ref(data["image"]))
        # The file's own size is the truth: growing it is one step, with nothing to keep in step.
        size = (directory / f"gen{generation}.raw").stat().st_size
    except (KeyError, TypeError, ValueError, OSError, VcError) as error:
        raise durable.malformed(directory / "meta.json", error) from None
    return generation, size // MIB, image
