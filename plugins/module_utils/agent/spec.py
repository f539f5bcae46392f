# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a job was submitted to run, and which of its nodes run on which of its hosts.  Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Optional

from ..model.errors import VcError
from ..model.names import claimed_cluster, computeset_name, node_name, shown
from ..model.version import VERSION
from ..model.vms import Vms

SCHEMA = 1
# srun puts the layout of its own step into Slurm's variable, so the batch part hands the job's on in ours.
LAYOUT = "VC_LAYOUT"
# Slurm's KillWait in seconds: how long after a signal it kills.
KILL_WAIT = "VC_KILL_WAIT"
_TRIED = "reading the job's spec"
_REMEDY = "start nodes with vc_computeset"
_PART = re.compile(r"([1-9][0-9]{0,5})(?:\(x([1-9][0-9]{0,5})\))?")


@dataclass(frozen=True)
class JobSpec:
    """A job's nodes.

    Parameters
    ----------
    cluster, computeset : names
    nodes : computes in task order
    grace_seconds : how long guests get to shut down by themselves
    vms : what the root helper is to be asked for when the cluster is the job's own
    """

    cluster: str
    computeset: str
    nodes: tuple[str, ...]
    grace_seconds: int
    vms: Optional[Vms] = None


def read_spec(env: Mapping[str, str]) -> JobSpec:
    """From ``VC_SPEC``; VcError ``invalid`` or ``version``."""
    try:
        data = json.loads(env["VC_SPEC"])
        schema, version, nodes, grace = data["schema"], data["version"], data["nodes"], data["grace_seconds"]
        job_id, restart_count = int(env.get("SLURM_JOB_ID") or 0), int(env.get("SLURM_RESTART_COUNT") or 0)
        cluster, computeset = claimed_cluster(data["cluster"], job_id, restart_count), computeset_name(data["computeset"])
        vms = Vms.from_dict(data["vms"]) if data.get("vms") is not None else None
    except (KeyError, ValueError, TypeError) as error:
        raise VcError("invalid", "VC_SPEC", _TRIED, f"{type(error).__name__}: {error}", _REMEDY) from None
    if schema != SCHEMA or version != VERSION:
        detail = f"it was written by release {shown(version)} (schema {shown(schema)}), this host has {VERSION} (schema {SCHEMA})"
        raise VcError("version", "VC_SPEC", _TRIED, detail, "install the same release on the submit host and on the hypervisors")
    if not isinstance(nodes, list) or not nodes or isinstance(grace, bool) or not isinstance(grace, int) or not 1 <= grace <= 3600:
        raise VcError("invalid", "VC_SPEC", _TRIED, "its nodes or its grace are missing or out of range", _REMEDY)
    names = tuple(node_name(name) for name in nodes)
    if vms is not None and names != vms.nodes:
        raise VcError("invalid", "VC_SPEC", _TRIED, "its nodes are not those of its machines", _REMEDY)
    if len(set(names)) != len(names):
        raise VcError("duplicate", "VC_SPEC", _TRIED, "a node comes twice", _REMEDY)
    return JobSpec(cluster, computeset, names, grace, vms)


def tasks_per_host(text: str) -> list[int]:
    """Slurm's ``SLURM_TASKS_PER_NODE``, e.g. ``2(x3),1`` -> [2, 2, 2, 1]; VcError ``invalid``."""
    counts: list[int] = []
    for part in text.split(","):
        matched = _PART.fullmatch(part)
        if matched is None:
            raise VcError("invalid", shown(text), "reading how many tasks run on each host", "it is not what Slurm writes", _REMEDY)
        counts += [int(matched.group(1))] * int(matched.group(2) or 1)
    return counts


def nodes_of_host(spec: JobSpec, counts: list[int], index: int) -> tuple[str, ...]:
    """The nodes of the job's host number `index`: task k is node k, tasks fill one host after the other."""
    if sum(counts) < len(spec.nodes):
        detail = f"the job has {sum(counts)} tasks for {len(spec.nodes)} nodes"
        raise VcError("invalid", spec.computeset, "placing its nodes on the job's hosts", detail, _REMEDY)
    if not 0 <= index < len(counts):
        raise VcError("invalid", spec.computeset, "placing its nodes on the job's hosts", f"the job has no host {index}", _REMEDY)
    first = sum(counts[:index])
    return spec.nodes[first : first + counts[index]]
