# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who may hold which nodes, by the registry.  Pure."""

from __future__ import annotations

from ..model.cluster import Cluster, Node
from ..model.errors import VcError
from .lease_record import Holder
from .registry import Snapshot


def cluster_for(snapshot: Snapshot, name: str, holder: Holder, tried: str) -> Cluster:
    """The cluster, whose nodes this holder may ask for; VcError ``forbidden``, for a frontend's host ``unknown``.

    What a job is told its user reads: a stranger to a cluster is not told whether there is one.
    """
    cluster = snapshot.clusters.get(name)
    if holder.kind != "job":
        if cluster is None:
            raise VcError("unknown", name, tried, "no such virtual cluster is registered", "define it with vc_cluster")
        return cluster
    if cluster is None or holder.user not in cluster.users:
        detail = f"there is no such virtual cluster, or {holder.user} is neither its owner nor a member"
        raise VcError("forbidden", name, tried, detail, "ask its owner to be made a member")
    if holder.account != cluster.account.lower():
        raise VcError("forbidden", name, tried, f"it is charged to {cluster.account}, not to {holder.account}", "submit with that account")
    return cluster


def allow(cluster: Cluster, node: Node, holder: Holder) -> None:
    """VcError ``forbidden`` for a node that is not for this kind of holder, or not on this host."""
    item = f"{cluster.name}/{node.name}"
    if holder.kind == "job" and node.role != "compute":
        raise VcError("forbidden", item, f"leasing it to {holder}", f"a {node.role} does not run in a job", "name computes only")
    if holder.kind == "frontend" and (node.role != "frontend" or node.host != holder.host):
        detail = f"it is the frontend of host {node.host}" if node.role == "frontend" else "it is not a frontend"
        raise VcError("forbidden", item, f"leasing it to {holder}", detail, "run vc_frontend on the host that the definition names")
