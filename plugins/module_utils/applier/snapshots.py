# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads what planning snapshots needs, and carries the plan out."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Optional

from ..model.errors import VcError
from ..planner import snapshots
from ..planner.plan import Action, Done, ItemPlan, Plan, unheard
from ..vault.lease_files import LeaseFiles
from ..vault.registry import Registry
from ..vault.store import Disk, Disks, DiskSnapshot, Snapshots, Store
from .images import in_turns, told


class SnapshotActions:
    """The snapshots of one vault's disks."""

    def __init__(self, registry: Registry, store: Store) -> None:
        self._registry = registry
        self._store = store
        self._files = LeaseFiles(registry)

    def plan(self, requests: Sequence[snapshots.SnapshotRequest]) -> tuple[Plan, list[dict[str, Any]]]:
        """All items, refused ones with their error, and ``images`` as it will be."""
        disks, present = self._store.disks(), self._store.snapshots()
        planned = [self._plan(request, disks, present) for request in requests]
        return Plan(tuple(item for item, _shown in planned)), [shown for _item, shown in planned]

    def apply(self, actions: Sequence[Action], done: Done = unheard) -> Mapping[str, VcError]:
        """Take and remove; an item that fails does not stop the others."""
        failures: dict[str, VcError] = {}
        disks, present = self._store.disks(), self._store.snapshots()
        for action in in_turns(actions):
            disk_item, _at, name = action.item.partition("@")
            cluster, _slash, node = disk_item.partition("/")
            state = "absent" if action.verb == "remove" else "present"
            request = snapshots.SnapshotRequest(cluster, node, name, state)
            try:
                if state == "absent":
                    with self._registry.lock(action.item):
                        kept = self._store.snapshots_of(cluster, node).get(name)
                        if kept is None:
                            continue
                        self._store.remove_snapshot(kept)
                else:
                    if not self._planned(request, disks, present)[0].actions:
                        continue
                    # Outside the lock: where blocks cannot be shared this copies a whole disk, and all leases would wait for it.
                    disk = disks[cluster][node]
                    self._store.take_snapshot(disk, name, functools.partial(self._still, request, disk))
                done(action)
            except (VcError, OSError) as error:
                failures[action.item] = told(action, error)
        return failures

    @contextlib.contextmanager
    def _still(self, request: snapshots.SnapshotRequest, disk: Disk) -> Iterator[None]:
        """The lock, if the disk is still the one that was copied: one that was leased meanwhile runs away from its snapshot."""
        with self._registry.lock(request.item):
            now = self._store.disk(request.cluster, request.node)
            self._look(request, now, self._store.snapshots_of(request.cluster, request.node))
            if now != disk:
                raise VcError("conflict", request.item, "taking it", "its disk has changed meanwhile", "run it again")
            yield

    def _plan(self, request: snapshots.SnapshotRequest, disks: Disks, present: Snapshots) -> tuple[ItemPlan, dict[str, Any]]:
        try:
            return self._planned(request, disks, present)
        except VcError as error:
            shown = {"cluster": request.cluster, "node": request.node, "name": request.name, "state": "failed"}
            return ItemPlan(request.item, "failed", error=error), shown

    def _planned(self, request: snapshots.SnapshotRequest, disks: Disks, present: Snapshots) -> tuple[ItemPlan, dict[str, Any]]:
        held = present.get(request.cluster, {}).get(request.node, {})
        return self._look(request, disks.get(request.cluster, {}).get(request.node), held)

    def _look(
        self, request: snapshots.SnapshotRequest, disk: Optional[Disk], held: Mapping[str, DiskSnapshot]
    ) -> tuple[ItemPlan, dict[str, Any]]:
        return snapshots.plan_snapshot(request, disk, held, self._files.read(request.cluster, request.node))
