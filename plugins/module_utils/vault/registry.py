# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which virtual clusters exist, and who was given which VNI, pkey and MAC.

``registry/registry.json`` is the truth and the commit point of every change.  A file under ``registry/claims/<kind>/<value>``, made
exclusively before that commit, holds the owner of a number given out: two writers cannot give out the same one even if one of them
works on a stale picture.  A claim whose owner is not in registry.json was left by a writer that died, and counts for nothing.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Optional

from ..model import access, names
from ..model.cluster import Cluster
from ..model.errors import VcError
from . import durable

CLAIM_KINDS = ("vni", "pkey", "mac")


@dataclass(frozen=True)
class Snapshot:
    """What registry.json said.

    Parameters
    ----------
    clusters : by name
    epoch_floor : no lease given out from now on may have an epoch up to this one; grows when nodes with leases are removed
    """

    clusters: Mapping[str, Cluster] = field(default_factory=dict)
    epoch_floor: int = 0

    def cluster(self, name: str, tried: str) -> Cluster:
        """The cluster, or VcError ``unknown``."""
        if name not in self.clusters:
            known = ", ".join(sorted(self.clusters)) or "none is defined"
            raise VcError("unknown", name, tried, "no such virtual cluster is registered", f"define it with vc_cluster; known: {known}")
        return self.clusters[name]


def numbers_of(cluster: Cluster) -> dict[tuple[str, str], str]:
    """(kind, value) -> owner, for every number the cluster holds."""
    numbers = {("vni", str(cluster.network.vni)): cluster.name, ("pkey", cluster.pkey): cluster.name}
    for node in cluster.nodes:
        numbers[("mac", node.mac)] = f"{cluster.name}/{node.name}"
    return {key: owner for key, owner in numbers.items() if key[1]}


def claims_of(cluster: Cluster) -> dict[tuple[str, str], str]:
    """Of these, those with a claim: any user can have thousands of machines made for a job, and their MACs follow from the VNI."""
    numbers = numbers_of(cluster)
    return {key: owner for key, owner in numbers.items() if key[0] != "mac" or not names.is_own_cluster(cluster.name)}


class Registry:
    """The files under ``<root>/registry``.  Reading never writes; writing needs the lock held."""

    def __init__(self, root: str) -> None:
        self.root = Path(root)
        self.path = self.root / "registry"
        self._file = self.path / "registry.json"

    @contextlib.contextmanager
    def lock(self, item: str, timeout: float = 60.0) -> Iterator[None]:
        """Keep every other writer of this vault out."""
        with durable.locked(self.root, item, timeout):
            yield

    def exists(self) -> bool:
        """Whether there is one; what is removed leaves an empty registry, not none."""
        return self._file.exists()

    def read(self) -> Snapshot:
        """All clusters; an empty registry where nothing was ever written."""
        data = durable.read_json(self._file)
        if data is None:
            return Snapshot()
        try:
            clusters = {str(name): Cluster.from_dict(entry) for name, entry in data["clusters"].items()}
            return Snapshot(clusters, int(data["epoch_floor"]))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise durable.malformed(self._file, error) from None

    @contextlib.contextmanager
    def watched(self) -> Iterator[Callable[[], Snapshot]]:
        """`read` for many looks, each under the lock: registry.json is parsed again only when it was replaced."""
        seen = Snapshot()
        version: Optional[tuple[int, ...]] = None
        with contextlib.ExitStack() as held:

            def look() -> Snapshot:
                nonlocal seen, version
                now = _version(self._file)
                if now is None or now != version:
                    held.close()
                    version = None
                    seen = self.read()
                    if now is not None:
                        # While it is open, no other file is given its number.
                        held.enter_context(self._file.open("rb"))
                        version = now
                return seen

            yield look

    def claims(self, snapshot: Snapshot) -> dict[str, dict[str, str]]:
        """kind -> value -> owner, of claims whose owner still holds that number."""
        held = {key: owner for cluster in snapshot.clusters.values() for key, owner in numbers_of(cluster).items()}
        found: dict[str, dict[str, str]] = {kind: {} for kind in CLAIM_KINDS}
        for kind in CLAIM_KINDS:
            for value in durable.names(self.path / "claims" / kind):
                owner = self._owner(kind, value)
                if held.get((kind, value)) == owner:
                    found[kind][value] = owner
        return found

    def begin(self) -> bool:
        """Write an empty registry where there is none yet; whether there was none."""
        if self.exists():
            return False
        durable.make_directory(self.path)
        self._commit({}, 0)
        return True

    def put(self, cluster: Cluster, epoch_floor: int = 0) -> None:
        """Claim the cluster's numbers, then commit it.  VcError ``conflict`` when another cluster has one; nothing was written then."""
        snapshot = self.read()
        wanted = numbers_of(cluster)
        held = {key: owner for other in snapshot.clusters.values() for key, owner in numbers_of(other).items()}
        for key, owner in wanted.items():
            rival = held.get(key, owner)
            if rival.partition("/")[0] != cluster.name:
                kind, value = key
                raise VcError("conflict", owner, f"giving out {kind} {value}", f"{rival} holds it", "leave it out to be given a free one")
        durable.make_directory(self.path)
        durable.sweep(self.path)
        before, after = snapshot.clusters.get(cluster.name), claims_of(cluster)
        self._claim(after)
        self._commit({**snapshot.clusters, cluster.name: cluster}, max(snapshot.epoch_floor, epoch_floor))
        self._drop_claims(set(claims_of(before) if before is not None else ()) - set(after))

    def drop(self, name: str, epoch_floor: int = 0) -> None:
        """Forget the cluster and give its numbers back; of one that is not there only the floor counts."""
        snapshot = self.read()
        gone = snapshot.clusters.get(name)
        if gone is None and epoch_floor <= snapshot.epoch_floor:
            return
        durable.sweep(self.path)
        rest = {other: cluster for other, cluster in snapshot.clusters.items() if other != name}
        self._commit(rest, max(snapshot.epoch_floor, epoch_floor))
        self._drop_claims(claims_of(gone) if gone is not None else ())

    def access(self) -> dict[str, tuple[str, ...]]:
        """Name of a golden image -> who may start throw-away machines from it, as ``model.access`` writes it."""
        path = self.path / "access.json"
        data = durable.read_json(path)
        try:
            return (
                {} if data is None else {str(name): tuple(access.parse(entry) for entry in data["images"][name]) for name in data["images"]}
            )
        except (KeyError, TypeError, AttributeError, VcError) as error:
            raise durable.malformed(path, error) from None

    def put_access(self, image: str, entries: Collection[str]) -> None:
        """Replace what is granted on one image; nothing granted is nothing kept."""
        granted = {name: list(kept) for name, kept in {**self.access(), image: sorted(entries)}.items() if kept}
        if not granted:
            durable.remove(self.path / "access.json")
            return
        durable.make_directory(self.path)
        durable.write_json(self.path / "access.json", {"images": granted})

    def secret(self, name: str) -> Optional[bytes]:
        """A file of ``registry/secrets``, None when there is none."""
        try:
            return (self.path / "secrets" / name).read_bytes()
        except FileNotFoundError:
            return None

    def put_secret(self, name: str, content: bytes) -> None:
        """Write a file of ``registry/secrets``: root only, whole or not at all."""
        path = self.path / "secrets" / name
        durable.make_directory(path.parent)
        if durable.write_bytes(path, content, 0o600):
            durable.sync_directory(path.parent)

    def secrets(self, directory: str) -> list[str]:
        """The names of the files in a directory of ``registry/secrets``."""
        return durable.names(self.path / "secrets" / directory)

    def drop_secret(self, name: str) -> None:
        path = self.path / "secrets" / name
        durable.remove(path)
        with contextlib.suppress(OSError):
            if path.parent.name != "secrets":
                path.parent.rmdir()

    def _commit(self, clusters: Mapping[str, Cluster], epoch_floor: int) -> None:
        content: dict[str, Any] = {"clusters": {name: cluster.to_dict() for name, cluster in clusters.items()}}
        durable.write_json(self._file, {**content, "epoch_floor": epoch_floor})

    def _claim(self, wanted: Mapping[tuple[str, str], str]) -> None:
        for kind in {kind for kind, _value in wanted}:
            directory = self.path / "claims" / kind
            durable.make_directory(directory)
            for value, content in ((value, f"{owner}\n".encode()) for (of, value), owner in wanted.items() if of == kind):
                if not durable.create_exclusive(directory / value, content):
                    # The caller has checked that no living owner holds the number: what lies here is ours, or a dead writer's.
                    durable.write_bytes(directory / value, content)
            durable.sync_directory(directory)

    def _drop_claims(self, keys: Collection[tuple[str, str]]) -> None:
        for kind in {kind for kind, _value in keys}:
            durable.remove_all(self.path / "claims" / kind / value for of, value in keys if of == kind)

    def _owner(self, kind: str, value: str) -> str:
        try:
            return (self.path / "claims" / kind / value).read_text(encoding="utf-8").strip()
        except FileNotFoundError:
            return ""


def _version(path: Path) -> Optional[tuple[int, ...]]:
    """Which file is there; None when none is."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size
