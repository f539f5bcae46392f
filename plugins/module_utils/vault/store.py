# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a store of disks can do.  Leases and modules know only this; each kind of store is one module beside it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Optional, Protocol

from ..model.errors import VcError


@dataclass(frozen=True)
class Fingerprint:
    """A source file as it was when it was imported, cheap to compare: a second run need not read it again."""

    path: str
    size: int
    mtime_ns: int
    inode: int

    def to_dict(self) -> dict[str, Any]:
        return dict(self.__dict__)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Fingerprint:
        return cls(str(data["path"]), int(data["size"]), int(data["mtime_ns"]), int(data["inode"]))


@dataclass(frozen=True)
class Golden:
    """One revision of a golden image.

    Parameters
    ----------
    size_mib : size of the disk a guest sees
    sha256 : of the stored disk
    source_format : what it was imported from, ``raw`` or ``qcow2``
    source_sha256, fingerprint : of the source file
    """

    name: str
    revision: int
    size_mib: int
    sha256: str
    source_format: str
    source_sha256: str
    fingerprint: Fingerprint

    @property
    def ref(self) -> str:
        return f"{self.name}@r{self.revision}"

    def to_dict(self) -> dict[str, Any]:
        return {**self.__dict__, "fingerprint": self.fingerprint.to_dict()}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Golden:
        fields = {key: data[key] for key in cls.__dataclass_fields__ if key != "fingerprint"}
        return cls(**fields, fingerprint=Fingerprint.from_dict(data["fingerprint"]))


@dataclass(frozen=True)
class Disk:
    """A node's disk: its newest generation, its size, the golden revision it began as."""

    cluster: str
    node: str
    generation: int
    disk_mib: int
    image: str

    @property
    def item(self) -> str:
        return f"{self.cluster}/{self.node}"

    @property
    def pristine(self) -> bool:
        """Whether nothing was written to it since it was made: whatever a node writes comes home as another generation."""
        return self.generation == 1


@dataclass(frozen=True)
class DiskSnapshot:
    """A generation of a node's disk that somebody gave a name to: it stays, whatever becomes of the disk's later generations."""

    cluster: str
    node: str
    name: str
    generation: int
    disk_mib: int
    image: str

    @property
    def item(self) -> str:
        return f"{self.cluster}/{self.node}@{self.name}"


@dataclass(frozen=True)
class Iso:
    """An installation medium, stored byte for byte."""

    name: str
    size: int
    sha256: str
    fingerprint: Fingerprint

    def to_dict(self) -> dict[str, Any]:
        return {**self.__dict__, "fingerprint": self.fingerprint.to_dict()}


Goldens = Mapping[str, Mapping[int, Golden]]
Disks = Mapping[str, Mapping[str, Disk]]
Snapshots = Mapping[str, Mapping[str, Mapping[str, DiskSnapshot]]]
Isos = Mapping[str, Iso]
# Entered when all is copied, which may have taken an hour, and left when it has its name.  A caller takes the registry's lock in it and
# looks once more; what it raises throws the copy away.
Settled = Callable[[], AbstractContextManager[None]]


class Store(Protocol):
    """Golden images, node disks, their snapshots, and ISOs.

    What is stored is immutable until the next generation; listing never writes.  Who holds the registry's lock reads by
    ``revisions``, ``disk`` and ``snapshots_of``, which look at nothing else and take the same time however much there is.
    """

    def goldens(self) -> Goldens:
        """name -> revision -> golden image."""

    def disks(self) -> Disks:
        """cluster -> node -> disk."""

    def snapshots(self) -> Snapshots:
        """cluster -> node -> name -> snapshot."""

    def revisions(self, name: str) -> Mapping[int, Golden]:
        """Of ``goldens`` those of one image."""

    def disk(self, cluster: str, node: str) -> Optional[Disk]:
        """Of ``disks`` that of one node."""

    def snapshots_of(self, cluster: str, node: str) -> Mapping[str, DiskSnapshot]:
        """Of ``snapshots`` those of one node's disk."""

    def isos(self) -> Isos:
        """name -> ISO."""

    def golden_path(self, golden: Golden) -> str:
        """The file that an export serves.  A store may have to make it first, so the caller holds the registry's lock."""

    def disk_path(self, disk: Disk) -> str:
        """As ``golden_path``, for the disk's generation.  It may be smaller than the disk: what is missing is zeros."""

    def import_golden(self, name: str, revision: int, source: str, source_format: str) -> Golden:
        """Take a raw or qcow2 file in; VcError ``invalid`` for one that is not what it is said to be."""

    def remove_golden(self, golden: Golden) -> None:
        """Remove a revision.  The caller has made sure that nobody uses it, and holds the registry's lock."""

    def make_disk(self, cluster: str, node: str, golden: Golden, disk_mib: int, settled: Settled = nullcontext) -> Disk:
        """Clone a golden revision into generation 1 of a node's disk, grown to ``disk_mib`` (0: as large as the image)."""

    def grow_disk(self, disk: Disk, disk_mib: int) -> Disk:
        """Make a disk larger.  The caller holds the registry's lock and has made sure that no lease exports it."""

    def remove_disk(self, disk: Disk) -> None:
        """Remove a disk with all generations.  As for ``grow_disk``; besides, it has no snapshot."""

    def tidy(self, cluster: str) -> None:
        """Take away what disks of this cluster have left, if none is there now.  For after any number of them, without the lock."""

    def take_snapshot(self, disk: Disk, name: str, settled: Settled = nullcontext) -> DiskSnapshot:
        """Keep the disk's newest generation under a name.  VcError ``conflict`` when it has one of that name."""

    def remove_snapshot(self, snapshot: DiskSnapshot) -> None:
        """Forget a snapshot.  As for ``grow_disk``."""

    def import_iso(self, name: str, source: str, sha256: str) -> Iso:
        """Take a file in as it is; VcError ``invalid`` unless it has this SHA-256 (empty: whatever it has)."""

    def remove_iso(self, iso: Iso) -> None:
        """Remove an ISO.  The caller holds the registry's lock."""


def newest(goldens: Goldens, name: str, tried: str) -> Golden:
    """The newest revision of an image; VcError ``unknown``."""
    revisions = goldens.get(name)
    if not revisions:
        known = ", ".join(sorted(goldens)) or "the store has none"
        raise VcError("unknown", name, tried, "no such golden image", f"import it with image_vault; known: {known}")
    return revisions[max(revisions)]


def find_golden(goldens: Goldens, ref: str, tried: str) -> Golden:
    """The revision that ``name`` or ``name@rN`` means now; VcError ``unknown``."""
    name, _at, revision = ref.partition("@r")
    latest = newest(goldens, name, tried)
    if not revision:
        return latest
    if int(revision) not in goldens[name]:
        known = ", ".join(f"r{number}" for number in sorted(goldens[name]))
        raise VcError("unknown", ref, tried, "the image has no such revision", f"use one of {known}, or import it with image_vault")
    return goldens[name][int(revision)]
