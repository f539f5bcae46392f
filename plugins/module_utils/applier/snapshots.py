# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads what planning snapshots needs, and carries the plan out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..model.errors import VcError
from ..planner import snapshots
from ..planner.plan import Action, Done, ItemPlan, Plan, unheard
from ..vault.lease_files import LeaseFiles
from ..vault.registry import Registry
from ..vault.store import Disks, Snapshots, Store


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
        for action in actions:
            disk_item, _at, name = action.item.partition("@")
            cluster, _slash, node = disk_item.partition("/")
            state = "absent" if action.verb == "remove" else "present"
            request = snapshots.SnapshotRequest(cluster, node, name, state)
            try:
                # A lease given out since the plan was made would let the disk run away from its snapshot.
                with self._registry.lock(action.item):
                    disks, present = self._store.disks(), self._store.snapshots()
                    item, _shown = self._look(request, disks, present)
                    if not item.actions:
                        continue
                    if state == "absent":
                        self._store.remove_snapshot(present[cluster][node][name])
                    else:
                        self._store.take_snapshot(disks[cluster][node], name)
                    done(action)
            except VcError as error:
                failures[action.item] = error
        return failures

    def _plan(self, request: snapshots.SnapshotRequest, disks: Disks, present: Snapshots) -> tuple[ItemPlan, dict[str, Any]]:
        try:
            return self._look(request, disks, present)
        except VcError as error:
            shown = {"cluster": request.cluster, "node": request.node, "name": request.name, "state": "failed"}
            return ItemPlan(request.item, "failed", error=error), shown

    def _look(self, request: snapshots.SnapshotRequest, disks: Disks, present: Snapshots) -> tuple[ItemPlan, dict[str, Any]]:
        leases = {request.node: self._files.read(request.cluster, request.node)}
        return snapshots.plan_snapshot(request, disks, present, leases)
