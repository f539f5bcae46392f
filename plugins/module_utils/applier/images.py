# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads what planning images needs, and carries the plan out: what module image_vault does on the vault host."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Optional

from .. import filelock
from ..model.cluster import Cluster
from ..model.errors import VcError
from ..planner import images
from ..planner.plan import Action, Done, ItemPlan, Plan, unheard
from ..vault import source_file
from ..vault.lease_files import LeaseFiles
from ..vault.lease_record import Lease
from ..vault.registry import Registry, Snapshot
from ..vault.store import Disk, Disks, Goldens, Snapshots, Store, find_golden

Registered = Callable[[], Snapshot]


class ImageActions:
    """Golden images and node disks of one vault."""

    def __init__(self, registry: Registry, store: Store) -> None:
        self._registry = registry
        self._store = store
        self._files = LeaseFiles(registry)
        self._requests: dict[str, images.DiskRequest] = {}

    def plan_goldens(self, requests: Sequence[images.GoldenRequest]) -> tuple[Plan, list[dict[str, Any]]]:
        """All items, refused ones with their error, and ``images`` as it will be."""
        goldens = self._store.goldens()
        users = self._users(goldens)
        granted = self._registry.access()
        planned = [self._plan_golden(request, goldens, users, granted.get(request.name, ())) for request in requests]
        return Plan(tuple(item for item, _shown in planned)), [shown for _item, shown in planned]

    def plan_disks(self, requests: Sequence[images.DiskRequest]) -> tuple[Plan, list[dict[str, Any]]]:
        """As ``plan_goldens``, for disks."""
        seen = _Seen(self._registry.read().clusters, self._store.goldens(), self._store.disks(), self._store.snapshots())
        self._requests = {request.item: request for request in requests}
        planned = [self._plan_disk(request, seen) for request in requests]
        return Plan(tuple(item for item, _shown in planned)), [shown for _item, shown in planned]

    def apply_goldens(self, actions: Sequence[Action], done: Done = unheard) -> Mapping[str, VcError]:
        """Import and remove; an item that fails does not stop the others."""
        failures: dict[str, VcError] = {}
        for action in in_turns(actions):
            if action.item in failures:
                continue
            name = action.item.partition("@")[0]
            try:
                if action.verb == "grant":
                    with self._registry.lock(action.item):
                        self._registry.put_access(name, action.details["access"])
                    done(action)
                    continue
                revision = int(action.details["revision"])
                if action.verb == "import":
                    self._store.import_golden(name, revision, action.details["source"], action.details["format"])
                    done(action)
                    continue
                # A lease given out since the plan was made would lose its disk.
                with self._registry.lock(action.item):
                    goldens = self._store.goldens()
                    request = images.GoldenRequest(name, "absent", revision=revision)
                    item, _shown = images.plan_golden(request, goldens, None, self._users(goldens))
                    if item.actions:
                        self._remove_golden(goldens, name, revision)
                        done(action)
            except (VcError, OSError) as error:
                failures[action.item] = told(action, error)
        return failures

    def apply_disks(self, actions: Sequence[Action], done: Done = unheard) -> Mapping[str, VcError]:
        """Clone, grow and remove what `plan_disks` has planned; an item that fails does not stop the others."""
        failures: dict[str, VcError] = {}
        goldens = self._store.goldens()
        with self._registry.watched() as registered:
            for action in in_turns(actions):
                try:
                    if action.verb == "clone":
                        self._clone(action, goldens, registered)
                        done(action)
                        continue
                    with self._registry.lock(action.item):
                        if self._change(action, registered):
                            done(action)
                except (VcError, OSError) as error:
                    failures[action.item] = told(action, error)
        for cluster in sorted({action.item.partition("/")[0] for action in actions if action.verb == "remove"}):
            self._store.tidy(cluster)
        return failures

    def _clone(self, action: Action, goldens: Goldens, registered: Registered) -> None:
        cluster, _slash, node = action.item.partition("/")
        golden = find_golden(goldens, action.details["image"], f"making the disk of {action.item}")
        still = functools.partial(self._still, action, registered)
        self._store.make_disk(cluster, node, golden, int(action.details["disk_mib"]), still)

    def _change(self, action: Action, registered: Registered) -> bool:
        """Grow or remove a disk under the lock; False where nothing is left to do."""
        cluster, _slash, node = action.item.partition("/")
        size = int(action.details.get("disk_mib", 0))
        item, disk = self._again(
            images.DiskRequest(cluster, node, "absent" if action.verb == "remove" else "present", "", size), registered
        )
        if not item.actions or disk is None:
            return False
        if action.verb == "grow":
            self._store.grow_disk(disk, size)
            return True
        # First: a lease that remembers a disk refuses to begin anew from the image.
        lease = self._files.read(cluster, node)
        if lease.generation:
            self._files.write(replace(lease, generation=0, image="", size_mib=0))
        self._store.remove_disk(disk)
        return True

    def _remove_golden(self, goldens: Goldens, name: str, revision: int) -> None:
        """Remove a revision, with the last one the access list as well."""
        last = set(goldens[name]) == {revision}
        granted = self._registry.access().get(name, ())
        if last:
            # First: another image that is given this name later is another image.
            self._registry.put_access(name, ())
        try:
            self._store.remove_golden(goldens[name][revision])
        except (VcError, OSError):
            if last and revision in self._store.goldens().get(name, {}):
                self._registry.put_access(name, granted)
            raise

    @contextlib.contextmanager
    def _still(self, action: Action, registered: Registered) -> Iterator[None]:
        """The lock, if what was cloned is still what the plan would clone; a removed cluster's name may be another owner's by now."""
        with self._registry.lock(action.item):
            item, _disk = self._again(self._requests[action.item], registered)
            if item.actions != (action,):
                detail = "its definition, its image or its disk has changed meanwhile"
                raise VcError("conflict", action.item, "making its disk", detail, "run it again")
            yield

    def _again(self, request: images.DiskRequest, registered: Registered) -> tuple[ItemPlan, Optional[Disk]]:
        """What is planned by what there is now, and the disk: all leases wait for it, so it reads what concerns this disk and no more."""
        disk, lease = self._store.disk(request.cluster, request.node), self._files.read(request.cluster, request.node)
        if request.state == "absent":
            held = self._store.snapshots_of(request.cluster, request.node)
            return images.plan_disk(request, None, {}, disk, lease, held)[0], disk
        cluster = registered().clusters.get(request.cluster)
        goldens: Goldens = {}
        if cluster is not None and disk is None:
            name = (request.image or cluster.node(request.node).image).partition("@")[0]
            # What is told of an image that has just gone names the others.
            goldens = {name: revisions} if (revisions := self._store.revisions(name)) else self._store.goldens()
        return images.plan_disk(request, cluster, goldens, disk, lease, ())[0], disk

    def _plan_golden(
        self, request: images.GoldenRequest, goldens: Goldens, users: Mapping[str, list[str]], granted: Sequence[str]
    ) -> tuple[ItemPlan, dict[str, Any]]:
        try:
            if request.state == "absent":
                return images.plan_golden(request, goldens, None, users, granted)
            with source_file.open_unfollowed(request.source) as stream:
                found = source_file.fingerprint_of(stream, request.source)
                size_mib = source_file.size_mib_of(stream, request.source, request.source_format)
                hashed = images.needs_hash(request, goldens.get(request.name, {}), found, size_mib)
                source = images.Source(found, size_mib, source_file.sha256_of_stream(stream) if hashed else "")
            return images.plan_golden(request, goldens, source, users, granted)
        except VcError as error:
            shown = {"name": request.name, "revision": request.revision or 0, "image": request.item, "state": "failed"}
            return ItemPlan(request.item, "failed", error=about(request.item, error)), shown

    def _plan_disk(self, request: images.DiskRequest, seen: _Seen) -> tuple[ItemPlan, dict[str, Any]]:
        try:
            return self._disk(request, seen)
        except VcError as error:
            shown = {"cluster": request.cluster, "node": request.node, "state": "failed"}
            return ItemPlan(request.item, "failed", error=about(request.item, error)), shown

    def _disk(self, request: images.DiskRequest, seen: _Seen) -> tuple[ItemPlan, dict[str, Any]]:
        disk = seen.disks.get(request.cluster, {}).get(request.node)
        snapshots = seen.snapshots.get(request.cluster, {}).get(request.node, {})
        lease = self._files.read(request.cluster, request.node)
        return images.plan_disk(request, seen.clusters.get(request.cluster), seen.goldens, disk, lease, snapshots)

    def _users(self, goldens: Goldens) -> dict[str, list[str]]:
        clusters = self._registry.read().clusters
        leases: dict[str, dict[str, Lease]] = {name: self._files.of(name) for name in clusters}
        return images.users_of_goldens(clusters, goldens, self._store.disks(), leases)


@dataclass(frozen=True)
class _Seen:
    """What one look at registry and store has shown, for any number of disks."""

    clusters: Mapping[str, Cluster]
    goldens: Goldens
    disks: Disks
    snapshots: Snapshots


def in_turns(actions: Iterable[Action]) -> Iterator[Action]:
    """These, one by one; who waits for the vault is let in between two of them, which may be some thousands."""
    for number, action in enumerate(actions):
        if number:
            filelock.give_way()
        yield action


def told(action: Action, error: Exception) -> VcError:
    """The error of an action; what the kernel refused is told like any other failure, and is this action's alone."""
    if isinstance(error, VcError):
        return error
    return VcError("backend", action.item, f"carrying out {action.verb}", str(error), "see df and the log of the vault host")


def about(item: str, error: VcError) -> VcError:
    """The error, naming the item."""
    if item in error.item:
        return error
    return VcError(error.code, f"{item} ({error.item})", error.tried, error.detail, error.remedy)
