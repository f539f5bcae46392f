# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One picture of all virtual clusters, joined from what the vault, Slurm and the frontends' libvirt each say.  No I/O.

A job is part of a cluster only if its computes are leased to it, or if it is pending and its user and account are authorized by the
registry.  Whatever else claims a cluster is listed as rejected, with the reason.
"""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Optional

from ..model import names
from ..model.definition import MOST_NODES
from ..model.errors import VcError
from ..model.noderange import expand, natural_key
from ..model.states import NodeState
from ..model.units import format_duration

# Of one user.
MOST_REJECTED = 20
COLUMNS = ("cluster", "name", "role", "state", "computeset", "host", "mac", "address", "left")


def join(infos: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Join results of ``vc_info``, in any order; those that gathered nothing of a kind add nothing of it.

    Answers
    -------
    rows : one per node of every cluster, by cluster, frontends first, then by name: cluster, name, role, state, computeset, host, mac,
        address, account, job_id (None without a job), left_seconds (None without a walltime) and left (as text)
    computesets : one per job that counts: cluster, name, job_id, state, user, account, nodes, hosts, reason, left_seconds, left
    rejected : one per job that claims a cluster and does not count: cluster, computeset, job_id, user, account, state, reason; of those
        that wait only the first ``MOST_REJECTED`` of each user, and the last of them tells how many more there are
    uncounted : one per compute that is leased to a job that does not count for it: cluster, name, job_id, host, why
    drift : sentences about what does not fit together
    """
    known = [info for info in infos if isinstance(info, Mapping)]
    clusters: dict[str, Mapping[str, Any]] = {}
    for vault in _parts(known, "vault"):
        clusters.update(vault.get("clusters") or {})
    jobs = [job for slurm in _parts(known, "slurm") for job in slurm.get("jobs") or []]
    frontends: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for domain in sorted((domain for libvirt in _parts(known, "libvirt") for domain in libvirt.get("frontends") or []), key=_host_of):
        frontends.setdefault((domain["cluster"], domain["node"]), []).append(domain)
    counted, rejected = _sort_out(clusters, jobs)
    standing = _standing(counted, rejected)
    uncounted: list[dict[str, Any]] = []
    drift: list[str] = []
    rows: list[dict[str, Any]] = []
    for name in sorted(clusters):
        entry = clusters[name]
        holding = _holding(entry, [job for job in counted if job["cluster"] == name])
        nodes = sorted(entry["cluster"]["nodes"], key=lambda node: (node["role"] != "frontend", natural_key(node["name"])))
        for node in nodes:
            lease = (entry.get("leases") or {}).get(node["name"]) or {}
            if node["role"] == "frontend":
                row = _frontend(name, node, lease, frontends.get((name, node["name"]), []), bool(_parts(known, "libvirt")), drift)
            else:
                row = _compute(name, node, lease, holding.get(node["name"]))
                held = lease.get("holder") and row["job_id"] is None and row["state"] != NodeState.FLUSHING
                if held and _parts(known, "slurm"):
                    uncounted.append(_uncounted(row, lease["holder"], standing))
                    drift.append(_of_uncounted(uncounted[-1], lease["holder"]))
            rows.append(row)
    for cluster, node in sorted(set(frontends) - {(row["cluster"], row["name"]) for row in rows}):
        if _parts(known, "vault"):
            drift.append(f"{cluster}/{node} is a frontend's domain, but the registry has no such node")
    for fabric in _parts(known, "fabric"):
        drift += _fabric(clusters, fabric, bool(_parts(known, "vault")))
    return {
        "rows": rows,
        "computesets": [_set(clusters.get(job["cluster"]) or {}, job) for job in counted],
        "rejected": rejected,
        "uncounted": uncounted,
        "drift": drift,
    }


def _fabric(clusters: Mapping[str, Mapping[str, Any]], fabric: Mapping[str, Any], asked_vault: bool) -> list[str]:
    """What the subnet manager's host says against the registry, and the ports' own tables against its file."""
    partitions = {partition["name"]: partition for partition in fabric.get("partitions") or []}
    found = []
    for name in sorted(clusters):
        cluster, partition = clusters[name]["cluster"], partitions.get(name)
        guids = sorted(node["guid"] for node in cluster["nodes"])
        if names.is_own_cluster(name):
            continue
        if partition is None:
            found.append(f"{name} has no partition in the fabric")
        elif partition["pkey"] != cluster["pkey"] or sorted(partition["guids"]) != guids:
            found.append(f"{name}'s partition in the fabric is not what the registry says: run comet.yml")
    for name, partition in sorted(partitions.items()):
        if asked_vault and name not in clusters:
            found.append(f"{name} is a partition in the fabric, but the registry has no such cluster")
        found += [f"{name} in the fabric: {problem}" for problem in partition["problems"]]
    if fabric.get("default_open"):
        found.append("all ports are full members of the fabric's default partition, so partitions separate nobody")
    return found


def table(rows: Sequence[Mapping[str, Any]], columns: Sequence[str] = COLUMNS, empty: str = "-") -> list[str]:
    """Rows as aligned lines under a header in capitals; what is missing or empty is shown as `empty`."""
    cells = [[column.upper().replace("_", " ") for column in columns]]
    for row in rows:
        cells.append([_cell(row.get(column), empty) for column in columns])
    widths = [max(len(line[place]) for line in cells) for place in range(len(columns))]
    return ["  ".join(text.ljust(width) for text, width in zip(line, widths)).rstrip() for line in cells]


def _parts(infos: Sequence[Mapping[str, Any]], kind: str) -> list[Mapping[str, Any]]:
    return [info[kind] for info in infos if isinstance(info.get(kind), Mapping)]


def _sort_out(
    clusters: Mapping[str, Mapping[str, Any]], jobs: Sequence[Mapping[str, Any]]
) -> tuple[list[Mapping[str, Any]], list[dict[str, Any]]]:
    counted: list[Mapping[str, Any]] = []
    rejected: list[dict[str, Any]] = []
    for job in sorted(jobs, key=lambda job: int(job["job_id"])):
        entry = clusters.get(job["cluster"])
        named = _named(entry, job)
        why = _why_rejected(entry, named)
        if why is None:
            counted.append(named)
        else:
            shown = {key: job[key] for key in ("cluster", "computeset", "job_id", "user", "account", "state")}
            rejected.append({**shown, "reason": why})
    return counted, _shortened(rejected)


def _named(entry: Optional[Mapping[str, Any]], job: Mapping[str, Any]) -> Mapping[str, Any]:
    """The job with its nodes by name, none if its user may not speak for the cluster or if nobody can read them.

    A job that waits costs nothing, and anybody can queue thousands which name thousands of nodes each.
    """
    found: list[str] = []
    if entry is not None and job["user"] in _speakers(entry):
        most = len(entry["cluster"]["nodes"]) if job["state"] == "pending" else MOST_NODES
        with contextlib.suppress(VcError):
            found = expand(job["nodes"], most)
    return {**job, "nodes": found}


def _speakers(entry: Mapping[str, Any]) -> tuple[str, ...]:
    return (entry["cluster"]["owner"], *entry["cluster"].get("members", ()))


def _shortened(rejected: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """The same with a bounded number of waiting jobs of each user, whose last one tells how many are left out."""
    shown: list[dict[str, Any]] = []
    waiting: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
    for one in rejected:
        those = waiting[one["user"]] if one["state"] == "pending" else []
        if len(those) < MOST_REJECTED:
            shown.append(one)
        those.append(one)
    for user, those in waiting.items():
        if len(those) > MOST_REJECTED:
            those[MOST_REJECTED - 1]["reason"] += f"; {len(those) - MOST_REJECTED} more jobs of {user} that wait are rejected"
    return shown


def _why_rejected(entry: Optional[Mapping[str, Any]], job: Mapping[str, Any]) -> Optional[str]:
    if entry is None and job.get("vms") and job["state"] == "pending":
        # Its cluster begins with its first lease, and could not be anybody else's.
        return None
    if entry is None:
        return f"the registry has no cluster {job['cluster']}"
    cluster = entry["cluster"]
    if job["user"] not in _speakers(entry):
        return f"{job['user']} is neither owner nor member of {cluster['name']}"
    if str(job["account"]).lower() != str(cluster["account"]).lower():
        return f"account {job['account']} is not authorized for {cluster['name']}"
    if job["state"] == "pending":
        computes = {node["name"] for node in cluster["nodes"] if node["role"] == "compute"}
        if not job["nodes"]:
            return f"it names more nodes than {cluster['name']} has, or none that can be read"
        strange = [node for node in job["nodes"] if node not in computes]
        return f"{strange[0]} is no compute of {cluster['name']}" if strange else None
    return None if _leased(entry, job) else "it holds no lease of its nodes"


def _leased(entry: Mapping[str, Any], job: Mapping[str, Any]) -> list[str]:
    found = []
    for node in job["nodes"]:
        holder = ((entry.get("leases") or {}).get(node) or {}).get("holder") or {}
        if holder.get("kind") == "job" and holder.get("job_id") == job["job_id"] and holder.get("user") == job["user"]:
            found.append(node)
    return found


def _nodes_of(entry: Mapping[str, Any], job: Mapping[str, Any]) -> list[str]:
    return list(job["nodes"]) if job["state"] == "pending" else _leased(entry, job)


def _holding(entry: Mapping[str, Any], jobs: Sequence[Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """node -> the job that it is leased to, or of those that wait for it while nobody has it the first one."""
    found = {node: job for job in jobs for node in _leased(entry, job)}
    for job in jobs:
        for node in _nodes_of(entry, job):
            if not ((entry.get("leases") or {}).get(node) or {}).get("holder"):
                found.setdefault(node, job)
    return found


def _standing(counted: Sequence[Mapping[str, Any]], rejected: Sequence[Mapping[str, Any]]) -> dict[tuple[int, str], str]:
    """(job, user) -> why the job does not count for a node that is leased to it.  A job may say anything of itself, and change it."""
    found = {(int(job["job_id"]), str(job["user"])): "it does not say that it has this node" for job in counted}
    found.update({(int(job["job_id"]), str(job["user"])): f"it is rejected: {job['reason']}" for job in rejected})
    return found


def _uncounted(row: Mapping[str, Any], holder: Mapping[str, Any], standing: Mapping[tuple[int, str], str]) -> dict[str, Any]:
    job_id = holder.get("job_id")
    why = standing.get((int(job_id or 0), str(holder.get("user")))) or f"Slurm has no live job {job_id} that says it is a computeset"
    return {"cluster": row["cluster"], "name": row["name"], "job_id": job_id, "host": row["host"], "why": why}


def _of_uncounted(node: Mapping[str, Any], holder: Mapping[str, Any]) -> str:
    item = f"{node['cluster']}/{node['name']}"
    return f"{item} is leased to job {node['job_id']} on {node['host']} since {holder.get('since')}, but {node['why']}"


def _compute(cluster: str, node: Mapping[str, Any], lease: Mapping[str, Any], job: Optional[Mapping[str, Any]]) -> dict[str, Any]:
    holder = lease.get("holder") or {}
    state = str(lease.get("state") or NodeState.OFF)
    if not holder and job is not None:
        state = str(NodeState.QUEUED)
    elif job is not None and job["state"] == "stopping" and state not in (NodeState.OFF, NodeState.FLUSHING, NodeState.CRASHED):
        state = str(NodeState.STOPPING)
    return {
        **_row(cluster, node, state, str(holder.get("host") or "")),
        "computeset": job["computeset"] if job is not None else "",
        "account": job["account"] if job is not None else "",
        "job_id": job["job_id"] if job is not None else None,
        **_left(job),
    }


def _frontend(
    cluster: str,
    node: Mapping[str, Any],
    lease: Mapping[str, Any],
    domains: Sequence[Mapping[str, Any]],
    asked_libvirt: bool,
    drift: list[str],
) -> dict[str, Any]:
    state = str(lease.get("state") or NodeState.OFF)
    # The definition may name another one since.
    host = str((lease.get("holder") or {}).get("host") or node.get("host") or "")
    placed = f"{cluster}/{node['name']} is {'leased to' if lease.get('holder') else 'defined on'} {host}"
    # A host that does not say its name is believed where no other is the right one.
    own = [domain for domain in domains if _host_of(domain) == host] or [domain for domain in domains if not _host_of(domain)]
    if own:
        state = str(own[0]["state"])
    elif asked_libvirt and lease.get("holder"):
        drift.append(f"{placed}, but no domain of it was found there")
    for domain in domains:
        if not own or domain is not own[0]:
            drift.append(f"{placed}, but {_host_of(domain) or 'another host'} has a domain of it, which is {domain['state']}")
    return {**_row(cluster, node, state, host), "computeset": "", "account": "", "job_id": None, **_left(None)}


def _host_of(domain: Mapping[str, Any]) -> str:
    return str(domain.get("host") or "")


def _row(cluster: str, node: Mapping[str, Any], state: str, host: str) -> dict[str, Any]:
    shown = {key: node[key] for key in ("name", "role", "mac", "address")}
    return {"cluster": cluster, **shown, "state": state, "host": host}


def _left(job: Optional[Mapping[str, Any]]) -> dict[str, Any]:
    seconds = job.get("remaining_seconds") if job is not None and job["state"] != "pending" else None
    return {"left_seconds": seconds, "left": format_duration(seconds) if seconds is not None else ""}


def _set(entry: Mapping[str, Any], job: Mapping[str, Any]) -> dict[str, Any]:
    shown = {key: job[key] for key in ("cluster", "job_id", "state", "user", "account", "hosts", "reason")}
    return {**shown, "name": job["computeset"], "nodes": _nodes_of(entry, job), **_left(job)}


def _cell(value: Any, empty: str) -> str:
    text = "" if value is None else str(value)
    # Host names and the like come from other systems: nothing of theirs may move a terminal's cursor.
    return "".join(char if char.isprintable() else "?" for char in text) or empty
