# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Snapshots of node disks: from what is asked for and what the store has to the steps between.  No I/O."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Optional

from ..model import names
from ..model.errors import VcError
from ..vault.lease_record import Lease
from ..vault.store import Disk, DiskSnapshot
from .items import STATES, at, choice, refuse_duplicate, refuse_leased
from .plan import Action, ItemPlan


@dataclass(frozen=True)
class SnapshotRequest:
    """A snapshot as asked for."""

    cluster: str
    node: str
    name: str
    state: str

    @property
    def item(self) -> str:
        return f"{self.cluster}/{self.node}@{self.name}"


def parse_snapshots(items: Sequence[Mapping[str, Any]]) -> list[SnapshotRequest]:
    """Validate the module's list.  VcError ``invalid`` or ``duplicate``; the item is the place in the list."""
    requests: list[SnapshotRequest] = []
    places: dict[str, int] = {}
    for number, item in enumerate(items):
        request = at(f"snapshots[{number}]", _snapshot, item)
        refuse_duplicate("snapshots", number, request.item, places)
        requests.append(request)
    return requests


def plan_snapshot(
    request: SnapshotRequest, disk: Optional[Disk], snapshots: Mapping[str, DiskSnapshot], lease: Lease
) -> tuple[ItemPlan, dict[str, Any]]:
    """The steps for one snapshot, and how ``images`` will show it.

    Parameters
    ----------
    disk, lease : the node's; not looked at for state absent
    snapshots : those of this disk, by name

    Raises VcError ``unknown`` (the node has no disk), ``leased`` and ``not_flushed``: it would not have what the node has written.
    """
    present = snapshots.get(request.name)
    if request.state == "absent":
        gone = {"cluster": request.cluster, "node": request.node, "name": request.name, "state": "absent"}
        actions = (Action(request.item, "remove"),) if present is not None else ()
        return ItemPlan(request.item, "absent", actions, None if present is None else _shown(present), None), gone
    if present is not None:
        return ItemPlan(request.item, "present", (), _shown(present), _shown(present)), _shown(present)
    if disk is None:
        remedy = "name a persistent node that was started before, or make its disk with image_vault disks"
        raise VcError("unknown", request.item, "taking it", "the node has no disk in the vault", remedy)
    refuse_leased(lease, f"taking snapshot {request.name}")
    after = _shown(DiskSnapshot(request.cluster, request.node, request.name, disk.generation, disk.disk_mib, disk.image))
    return ItemPlan(request.item, "present", (Action(request.item, "take", {"generation": disk.generation}),), None, after), after


def _shown(snapshot: DiskSnapshot) -> dict[str, Any]:
    return {**snapshot.__dict__, "pristine": snapshot.generation == 1, "state": "present"}


def _snapshot(item: Mapping[str, Any]) -> SnapshotRequest:
    return SnapshotRequest(
        names.cluster_name(item.get("cluster")),
        names.node_name(item.get("node")),
        names.stored_name(item.get("name"), "a snapshot's name"),
        choice(item, "state", STATES),
    )
