# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the gate of a submit host does, in a process that is the cluster's owner by now."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from typing import Any, Optional

from ..applier.compute_power import ComputeSwitches
from ..applier.computeset import ComputesetActions
from ..applier.power import PowerActions
from ..command import Commands
from ..model.cluster import Cluster
from ..model.errors import VcError
from ..planner import power
from ..planner.plan import Plan
from ..slurm import jobs
from ..slurm.claimed import claimed
from .outcome import carried_out
from .requests import Request

# What nobody may choose at the gate: the options of vc_computeset that are not its arguments.
_FIXED: Mapping[str, Any] = {
    "account": None,
    "hosts": [],
    "exclude_hosts": [],
    "memory_overhead": "256MiB",
    "grace": "20s",
    "vms": None,
    "cpus": None,
    "memory": None,
    "ssh_authorized_keys": None,
}
_NO_CHOICE = dict.fromkeys(("nodes", "count", "walltime", "per_host", "partition", "reservation", "qos"))


def carry_out(request: Request, cluster: Cluster, home: str) -> tuple[dict[str, Any], Optional[VcError]]:
    """The result, and what failed of it, if anything."""
    commands = Commands(jobs.environment(os.environ))
    if request.verb == "status":
        return _status(commands, cluster), None
    options = {**request.options, "cluster": cluster.to_dict()}
    if request.verb == "power":
        wish = power.read_options(options)
        if wish.role != "compute":
            detail, remedy = "the frontend is switched on its own host", f"ask the gate of {wish.nodes[0].host}"
            raise VcError("conflict", wish.item(wish.nodes[0].name), "switching it", detail, remedy)
        force = options["on_timeout"] == "force"
        switches = ComputeSwitches(commands, wish, cluster.owner)
        actions = PowerActions(wish, switches, options["wait_timeout"], force)
        return carried_out("nodes", actions.plan, actions.apply, actions.answer)
    state = {"state": "started" if request.verb == "start" else "absent"}
    computeset = ComputesetActions(commands, {**_FIXED, **_NO_CHOICE, **options, **state}, cluster.owner, home)

    def answer(plan: Plan, predicted: bool) -> tuple[dict[str, Any], Sequence[VcError]]:
        seen, error = computeset.answer(plan, predicted)
        return seen, [] if error is None else [error]

    return carried_out("computeset", computeset.plan, computeset.apply, answer)


def _status(commands: Commands, cluster: Cluster) -> dict[str, Any]:
    listed = jobs.read(commands)
    sets = [job for job in claimed(listed, int(time.time())) if job["cluster"] == cluster.name and job["user"] == cluster.owner]
    machines: power.Machines = {}
    if cluster.computes:
        machines = ComputeSwitches(commands, power.Wish(cluster, cluster.computes, "powered_on"), cluster.owner).read()
    nodes = {node.name: machines.get(node.name, power.Machine()).to_dict() for node in cluster.computes}
    return {"cluster": cluster.name, "owner": cluster.owner, "nodes": nodes, "sets": sets}
