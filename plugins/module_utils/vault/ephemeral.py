# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Clusters of throw-away machines: made by their job's first lease request, joined by its other hosts', gone with its last lease.

Every method needs the registry's lock held.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Optional

from ..model import access, addresses, names, vms
from ..model.cluster import Cluster
from ..model.errors import VcError
from ..model.vms import Vms
from .lease_files import LeaseFiles
from .lease_record import Holder
from .registry import Registry, Snapshot
from .store import Goldens, find_golden

# Numbers of jobs come from the far end of the range, so that nobody who defines a cluster meets them.  The next job gets another network
# even if the last one's is free again: a host that was cut off may still carry that one.
_VNIS = 2**22


def requested(args: Mapping[str, Any], cluster: str, holder: Holder) -> Optional[Vms]:
    """What a lease request asks for beside its nodes, or None.  VcError ``invalid``, ``forbidden`` (not the job's own cluster)."""
    given = args.get("vms")
    own = names.own_cluster(holder.job_id, holder.restart_count)
    if cluster != own and (given is not None or names.is_own_cluster(cluster)):
        raise VcError("forbidden", cluster, f"leasing its nodes to {holder}", f"the job's own would be {own}", "ask from the job itself")
    return None if given is None else Vms.from_dict(given)


class Ephemeral:
    """The clusters of one vault that jobs have made for themselves."""

    def __init__(self, registry: Registry, files: LeaseFiles) -> None:
        self._registry = registry
        self._files = files

    def ensure(self, name: str, wanted: Vms, holder: Holder, goldens: Goldens) -> None:
        """Register the job's cluster, unless another host of the job has done so already.

        VcError ``forbidden`` (an image that is not for this user), ``unknown`` (a revision), ``conflict`` (the other host said otherwise).
        """
        self._sweep(name)
        snapshot = self._registry.read()
        tried = f"making it for {holder}"
        present = snapshot.clusters.get(name)
        if present is not None:
            if not _same(present, wanted):
                detail = "another host of the job has asked for other machines"
                raise VcError("conflict", name, tried, detail, "start the set anew, and leave its job's script alone")
            return
        self._check_access(wanted, holder, tried)
        _check_share(snapshot, wanted, holder, tried)
        # One revision for all, also if a newer one is imported before the last host asks.
        exact = replace(wanted, images=tuple((find_golden(goldens, image, tried).ref, count) for image, count in wanted.images))
        self._registry.put(vms.cluster_of(name, exact, holder.user, holder.account, *self._numbers(snapshot, holder.job_id)))

    def settle(self, name: str) -> None:
        """Forget the cluster and give its numbers back, if it is a job's own and none of its nodes is leased."""
        if not names.is_own_cluster(name):
            return
        leases = self._files.of(name).values()
        if any(lease.holder is not None for lease in leases):
            return
        self._registry.drop(name, max((lease.epoch for lease in leases), default=0))
        for lease in leases:
            self._files.drop_secret(lease)
            self._files.forget(lease)

    def _sweep(self, but: str) -> None:
        """What commands that were killed have left: clusters that never had a lease, leases whose cluster is gone."""
        for name in {*self._registry.read().clusters, *self._files.clusters()} - {but}:
            self.settle(name)

    def _check_access(self, wanted: Vms, holder: Holder, tried: str) -> None:
        granted = {name for name, entries in self._registry.access().items() if access.allows(entries, holder.user, holder.account)}
        for image, _count in wanted.images:
            if names.image_ref(image).name not in granted:
                # In the same words whether it exists or not.
                known = f"for {holder.user} there are: {', '.join(sorted(granted)) or 'none'}"
                remedy = f"use another image ({known}), or ask an admin for access to it (image_vault, goldens, access)"
                detail = f"{holder.user} may not start machines from it with account {holder.account}"
                raise VcError("forbidden", image, tried, detail, remedy)

    def _numbers(self, snapshot: Snapshot, job_id: int) -> tuple[int, str]:
        taken = self._registry.claims(snapshot)
        vnis = (addresses.LAST_VNI - (job_id + step) % _VNIS for step in range(_VNIS))
        pkeys = (addresses.parse_pkey(number) for number in range(addresses.LAST_PKEY, addresses.FIRST_PKEY - 1, -1))
        vni = next((vni for vni in vnis if str(vni) not in taken["vni"]), None)
        pkey = next((pkey for pkey in pkeys if pkey not in taken["pkey"]), None)
        if vni is None or pkey is None:
            raise VcError("conflict", "network", "giving out its numbers", "none is free", "remove a cluster that is not needed")
        return vni, pkey


def _check_share(snapshot: Snapshot, wanted: Vms, holder: Holder, tried: str) -> None:
    """VcError ``forbidden``: whoever asks reads all that is registered, so no user makes it grow without end."""
    theirs = (cluster for cluster in snapshot.clusters.values() if names.is_own_cluster(cluster.name) and cluster.owner == holder.user)
    held = sum(len(cluster.nodes) for cluster in theirs)
    if held + len(wanted.nodes) > vms.MOST_MACHINES:
        detail = f"{holder.user} has {held} of the {vms.MOST_MACHINES} machines that one user may have, and these are {len(wanted.nodes)}"
        raise VcError("forbidden", f"vms {names.shown(wanted.text)}", tried, detail, "ask for fewer, or end other sets first")


def _same(present: Cluster, wanted: Vms) -> bool:
    """Whether this request, had it come first, would have made the same; a newest revision is the one that was the newest then."""
    if len(present.nodes) != len(wanted.nodes) or present.ssh_authorized_keys != wanted.ssh_authorized_keys:
        return False
    return all(
        (node.cpus, node.memory_mib) == (wanted.cpus, wanted.memory_mib) and image in (node.image, node.image.partition("@")[0])
        for node, image in zip(present.nodes, wanted.node_images)
    )
