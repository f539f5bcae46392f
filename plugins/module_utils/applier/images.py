# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads what planning images needs, and carries the plan out: what module image_vault does on the vault host."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..model.cluster import Cluster
from ..model.errors import VcError
from ..planner import images
from ..planner.plan import Action, Done, ItemPlan, Plan, unheard
from ..vault import source_file
from ..vault.lease_files import LeaseFiles
from ..vault.lease_record import Lease
from ..vault.registry import Registry
from ..vault.store import Disks, Goldens, Snapshots, Store, find_golden


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
        seen = self._look()
        self._requests = {request.item: request for request in requests}
        planned = [self._plan_disk(request, seen) for request in requests]
        return Plan(tuple(item for item, _shown in planned)), [shown for _item, shown in planned]

    def apply_goldens(self, actions: Sequence[Action], done: Done = unheard) -> Mapping[str, VcError]:
        """Import and remove; an item that fails does not stop the others."""
        failures: dict[str, VcError] = {}
        for action in actions:
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
        for action in actions:
            cluster, _slash, node = action.item.partition("/")
            try:
                if action.verb == "clone":
                    golden = find_golden(goldens, action.details["image"], f"making the disk of {action.item}")
                    self._store.make_disk(cluster, node, golden, int(action.details["disk_mib"]), functools.partial(self._still, action))
                    done(action)
                    continue
                with self._registry.lock(action.item):
                    size = int(action.details.get("disk_mib", 0))
                    request = images.DiskRequest(cluster, node, "absent" if action.verb == "remove" else "present", "", size)
                    seen = self._look()
                    item, _shown = self._disk(request, seen)
                    disk = seen.disks.get(cluster, {}).get(node)
                    if not item.actions or disk is None:
                        continue
                    if action.verb == "grow":
                        self._store.grow_disk(disk, size)
                        done(action)
                        continue
                    # First: a lease that remembers a disk refuses to begin anew from the image.
                    lease = self._files.read(cluster, node)
                    if lease.generation:
                        self._files.write(replace(lease, generation=0, image="", size_mib=0))
                    self._store.remove_disk(disk)
                    done(action)
            except (VcError, OSError) as error:
                failures[action.item] = told(action, error)
        return failures

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
    def _still(self, action: Action) -> Iterator[None]:
        """The lock, if what was cloned is still what the plan would clone; a removed cluster's name may be another owner's by now."""
        with self._registry.lock(action.item):
            item, _shown = self._disk(self._requests[action.item], self._look())
            if item.actions != (action,):
                detail = "its definition, its image or its disk has changed meanwhile"
                raise VcError("conflict", action.item, "making its disk", detail, "run it again")
            yield

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

    def _look(self) -> _Seen:
        return _Seen(self._registry.read().clusters, self._store.goldens(), self._store.disks(), self._store.snapshots())

    def _disk(self, request: images.DiskRequest, seen: _Seen) -> tuple[ItemPlan, dict[str, Any]]:
        leases = {request.cluster: {request.node: self._files.read(request.cluster, request.node)}}
        snapshots = seen.snapshots.get(request.cluster, {}).get(request.node, {})
        return images.plan_disk(request, seen.clusters, seen.goldens, seen.disks, leases, snapshots)

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
