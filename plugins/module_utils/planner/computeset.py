# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Desired computeset against the owner's jobs.  No I/O.

A set is identified by (cluster, name) among the live jobs of the cluster's owner.  What other users' jobs say about a cluster is listed as
rejected and never counted: anybody can write anything into a comment.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Optional, Union

from ..model.cluster import Cluster, Node
from ..model.errors import VcError
from ..model.names import OWN_CLUSTER
from ..model.noderange import fold
from ..model.units import format_duration
from ..model.version import VERSION
from ..model.vms import Vms
from ..slurm.condition import Condition
from ..slurm.jobs import Claim, Job
from ..slurm.script import Spec, comment, render
from .plan import Action, ItemPlan
from .wish import Wish


@dataclass(frozen=True)
class Decision:
    """The plan for one set.

    Parameters
    ----------
    item : for the module's answer
    nodes : computes the set has, or will have, in task order
    jobs : live jobs that are this set; one at most, except when it is to be stopped
    after : jobs that are going or still being cleaned up, and may hold these nodes
    rejected : live jobs of other users that claim this cluster
    """

    item: ItemPlan
    nodes: tuple[str, ...]
    jobs: tuple[Job, ...] = ()
    after: tuple[int, ...] = ()
    rejected: tuple[Job, ...] = ()


def worth_asking(wish: Wish, jobs: Iterable[Job]) -> list[Job]:
    """The jobs whose condition may make a difference: this set's, and those that hold its nodes."""
    own = [job for job in jobs if _is_own(wish, job) and wish.user == wish.cluster.owner]
    return [job for job in own if _set_of(job) == wish.name or (wish.started and set(wish.nodes) & set(_nodes_of([job])))]


def plan_computeset(wish: Wish, jobs: Sequence[Job], now: int, conditions: Mapping[int, Condition] = MappingProxyType({})) -> Decision:
    """Decide.  `now` is in epoch seconds.  A refusal is in ``item.error``.

    Parameters
    ----------
    conditions : by id, running jobs that are not what Slurm takes them for
    """
    own = [job for job in jobs if _is_own(wish, job) and not job.ended]
    rejected = tuple(job for job in jobs if _claims(wish, job) and not _is_own(wish, job) and not job.ended)
    same = tuple(sorted((job for job in own if job.live and _set_of(job) == wish.name), key=lambda job: job.job_id))
    leaving = {job.job_id for job in own if job.stopping or conditions.get(job.job_id) == Condition.GOING}
    dead = [job for job in same if conditions.get(job.job_id) == Condition.DEAD]
    try:
        _check_user(wish)
        if not wish.started:
            same = tuple(job for job in same if job.job_id not in leaving)
            ending = tuple(job.job_id for job in own if job.job_id in leaving and _set_of(job) == wish.name)
            return Decision(_stop(wish, same, conditions), _nodes_of(same), same, ending, rejected)
        _check_account(wish)
        gone = leaving | {job.job_id for job in dead}
        same = tuple(job for job in same if job.job_id not in gone)
        if same:
            return Decision(_keep(wish, same, now, conditions), _nodes_of(same), same, (), rejected)
        nodes = _choose(wish, [job for job in own if job.job_id not in gone])
        _check_placement(wish, len(nodes))
        _check_length(spec(wish, nodes))
        after = tuple(sorted(job.job_id for job in own if job.job_id in gone and set(nodes) & set(_nodes_of([job]))))
        return Decision(_start(wish, nodes, after, dead), nodes, (), after, rejected)
    except VcError as error:
        return Decision(ItemPlan(wish.item, "unknown", error=error), _nodes_of(same), same, (), rejected)


def _is_own(wish: Wish, job: Job) -> bool:
    if job.user_name != wish.cluster.owner:
        return False
    # Every set of throw-away machines is a cluster of its own, named after its job.
    return job.claim is not None and bool(job.claim.vms) and _set_of(job) == wish.name if wish.own else _claims(wish, job)


def _claims(wish: Wish, job: Job) -> bool:
    return job.claim is not None and job.claim.cluster == wish.cluster.name


def images(cluster: Cluster, nodes: Iterable[str]) -> tuple[str, ...]:
    """The golden images of these nodes, each once, sorted; what a start uses and what a live set is compared with."""
    return tuple(sorted({cluster.node(name).image for name in nodes} - {""}))


def spec(wish: Wish, nodes: tuple[str, ...]) -> Spec:
    """What the job of these nodes is to run."""
    if wish.vms is not None:
        return Spec(VERSION, OWN_CLUSTER, wish.name, nodes, wish.grace_seconds, vms=wish.vms)
    return Spec(VERSION, wish.cluster.name, wish.name, nodes, wish.grace_seconds, images(wish.cluster, nodes))


def resources(cluster: Cluster, nodes: Sequence[str], overhead_mib: int) -> tuple[int, int]:
    """CPUs and MiB that hold any one of these guests; tasks of a job are alike, so the largest decides."""
    found = [cluster.node(name) for name in nodes]
    return max(node.cpus for node in found), max(node.memory_mib for node in found) + overhead_mib


def walltime_minutes(seconds: int) -> int:
    """Slurm counts walltime in minutes; rounded up."""
    return -(-seconds // 60)


def _check_user(wish: Wish) -> None:
    owner = wish.cluster.owner
    if wish.user == "root":
        raise VcError(
            "forbidden",
            wish.item,
            "running as root",
            "computesets are jobs of their owner",
            f"set `become: true` and `become_user: {owner}`",
        )
    if wish.user != owner:
        raise VcError(
            "forbidden",
            wish.item,
            f"running as {wish.user}",
            f"virtual cluster {wish.cluster.name} belongs to {owner}",
            f"set `become_user: {owner}`",
        )


def _check_account(wish: Wish) -> None:
    if not wish.own and wish.account != wish.cluster.account.lower():
        raise VcError(
            "forbidden",
            wish.item,
            f"charging account {wish.account}",
            f"virtual cluster {wish.cluster.name} is authorized for account {wish.cluster.account} only",
            f"leave `account` out, or let an admin change it in the definition of {wish.cluster.name}",
        )


def _choose(wish: Wish, own: Sequence[Job]) -> tuple[str, ...]:
    computes = [node.name for node in wish.cluster.computes]
    holders = {name: job for job in own if job.live for name in _nodes_of([job])}
    if not wish.nodes:
        free = [name for name in computes if name not in holders]
        if wish.count > len(free):
            busy = sorted({f"{_set_of(job)} (job {job.job_id})" for job in holders.values()})
            detail = f"{wish.cluster.name} has {len(computes)} computes, {len(free)} of them free" + (
                f", the others are in {', '.join(busy)}" if busy else ""
            )
            raise VcError("in_use", wish.item, f"choosing {wish.count} computes", detail, "ask for fewer, or terminate a set")
        return tuple(free[: wish.count])
    for name in wish.nodes:
        node = _node(wish.cluster, name)
        if node is None:
            raise VcError(
                "unknown",
                f"{wish.cluster.name}/{name}",
                f"putting it into set {wish.name}",
                "no such node",
                f"use computes of {fold(computes) or 'it'}",
            )
        if node.role != "compute":
            raise VcError(
                "invalid",
                f"{wish.cluster.name}/{name}",
                f"putting it into set {wish.name}",
                f"it is the {node.role}",
                f"use computes of {fold(computes)}",
            )
        if name in holders:
            job = holders[name]
            raise VcError(
                "in_use",
                f"{wish.cluster.name}/{name}",
                f"putting it into set {wish.name}",
                f"it is in live set {_set_of(job)} (job {job.job_id}, {job.state.lower()})",
                f"terminate set {_set_of(job)} first, or choose another node",
            )
    return wish.nodes


def _node(cluster: Cluster, name: str) -> Optional[Node]:
    return next((node for node in cluster.nodes if node.name == name), None)


def _check_placement(wish: Wish, count: int) -> None:
    hosts = len(wish.on_hosts)
    if hosts > count:
        raise VcError(
            "invalid", wish.item, "placing it", f"{hosts} hypervisors for {count} nodes", "name at most as many `hosts` as there are nodes"
        )
    if hosts and wish.per_host and hosts * wish.per_host < count:
        raise VcError(
            "invalid",
            wish.item,
            "placing it",
            f"{count} nodes do not fit on {hosts} hypervisors at {wish.per_host} each",
            "raise `per_host`, or name more `hosts`",
        )


def _check_length(wanted: Spec) -> None:
    """Slurm would refuse a comment that is too long in words that say nothing about it; a spec that is, only the job would meet."""
    comment(wanted)
    render(wanted)


def _start(wish: Wish, nodes: tuple[str, ...], after: tuple[int, ...], dead: Sequence[Job]) -> ItemPlan:
    details: dict[str, Any] = {
        "cluster": wish.cluster.name,
        "nodes": list(nodes),
        "account": wish.account,
        "walltime_seconds": walltime_minutes(wish.walltime_seconds) * 60 or None,
    }
    cancel = [Action(wish.item, "cancel", {"job_id": job.job_id}) for job in dead]
    submit = Action(wish.item, "submit", {**details, **({"after_jobs": list(after)} if after else {})})
    return ItemPlan(wish.item, "started", (*cancel, submit), None, details)


def _keep(wish: Wish, same: tuple[Job, ...], now: int, conditions: Mapping[int, Condition]) -> ItemPlan:
    if len(same) > 1:
        ids = ", ".join(str(job.job_id) for job in same)
        raise VcError("conflict", wish.item, "finding its job", f"jobs {ids} all are this set", "cancel all but one with `scancel JOBID`")
    job = same[0]
    remedy = f"terminate set {wish.name} first, or give this one another name"
    held = _nodes_of(same)
    if conditions.get(job.job_id) == Condition.BROKEN:
        detail = f"its job {job.job_id} has lost {job.batch_host}, and the rest of it still runs on {', '.join(job.hosts)}"
        raise VcError("conflict", wish.item, "finding it running", detail, f"terminate set {wish.name}, then start it again")
    if wish.vms and job.claim is not None and _machines(job.claim) != _machines(wish.vms):
        detail = f"it runs as job {job.job_id} with {_machines(job.claim)}"
        raise VcError("conflict", wish.item, f"starting {_machines(wish.vms)}", detail, remedy)
    if wish.nodes and set(wish.nodes) != set(held):
        raise VcError("conflict", wish.item, f"starting {fold(wish.nodes)}", f"it runs as job {job.job_id} with {fold(held)}", remedy)
    if not wish.nodes and wish.count != len(held):
        raise VcError(
            "conflict",
            wish.item,
            f"starting {wish.count} nodes",
            f"it runs as job {job.job_id} with {len(held)} nodes ({fold(held)})",
            remedy,
        )
    if wish.account and job.account.lower() != wish.account:
        raise VcError(
            "conflict", wish.item, f"charging account {wish.account}", f"it runs as job {job.job_id} on account {job.account}", remedy
        )
    known = {node.name for node in wish.cluster.nodes}
    strange = [name for name in held if name not in known]
    if strange:
        raise VcError(
            "conflict", wish.item, "comparing it", f"job {job.job_id} has {fold(strange)}, which {wish.cluster.name} no longer has", remedy
        )
    wanted = images(wish.cluster, held)
    if job.claim is not None and job.claim.images and job.claim.images != wanted:
        detail = f"it runs as job {job.job_id} with {', '.join(job.claim.images)}"
        raise VcError("conflict", wish.item, f"starting it with image {', '.join(wanted)}", detail, remedy)
    before: dict[str, Any] = {
        "cluster": wish.cluster.name,
        "nodes": list(held),
        "account": job.account,
        "walltime_seconds": job.time_limit_seconds,
    }
    minutes = walltime_minutes(wish.walltime_seconds)
    if not minutes or job.time_limit_seconds == minutes * 60:
        return ItemPlan(wish.item, "started", (), before, before)
    elapsed = 0 if job.pending or not job.start_time else max(0, now - job.start_time)
    if elapsed + wish.lead_seconds >= minutes * 60:
        raise VcError(
            "invalid",
            wish.item,
            f"setting its walltime to {format_duration(minutes * 60)}",
            f"job {job.job_id} already runs for {format_duration(elapsed)}",
            "ask for more, or use `state: absent` to stop it now",
        )
    details = {"job_id": job.job_id, "from_seconds": job.time_limit_seconds, "walltime_seconds": minutes * 60}
    return ItemPlan(
        wish.item, "started", (Action(wish.item, "set_walltime", details),), before, {**before, "walltime_seconds": minutes * 60}
    )


def _machines(given: Union[Claim, Vms]) -> str:
    images = given.text if isinstance(given, Vms) else given.vms
    return f"{images}, each with {given.cpus} CPUs and {given.memory_mib} MiB"


def rival(wish: Wish, nodes: Sequence[str], job_id: int, jobs: Sequence[Job]) -> Optional[Job]:
    """The job that came before ours while ours was being submitted: the same set, or one of its nodes.  The smaller job id wins."""
    for job in sorted(jobs, key=lambda job: job.job_id):
        if job.job_id >= job_id or not job.live or job.claim is None:
            continue
        if _is_own(wish, job) and (job.claim.computeset == wish.name or set(job.claim.nodes) & set(nodes)):
            return job
    return None


def lost_to(wish: Wish, other: Job) -> VcError:
    """The refusal for the run whose job came second."""
    detail = f"another run was quicker: job {other.job_id} (set {_set_of(other)}) has this name or one of its nodes; ours was cancelled"
    return VcError("conflict", wish.item, "starting it", detail, "run again; then that set is found")


def raises_limit_of_running_job(decision: Decision) -> bool:
    """Whether the plan lengthens a job that already runs, which Slurm allows to few."""
    for action in decision.item.actions:
        if action.verb == "set_walltime" and not decision.jobs[0].pending:
            before = action.details["from_seconds"]
            return before is not None and action.details["walltime_seconds"] > before
    return False


def refuse_extension(wish: Wish, decision: Decision) -> Decision:
    """The same decision, refused because Slurm would refuse it."""
    job = decision.jobs[0]
    command = f"scontrol update JobId={job.job_id} TimeLimit={walltime_minutes(wish.walltime_seconds)}"
    error = VcError(
        "forbidden",
        wish.item,
        f"extending job {job.job_id} to {format_duration(wish.walltime_seconds)}",
        "Slurm lets only operators extend a running job",
        f"ask an operator for `{command}`, or start the set again",
    )
    return Decision(ItemPlan(wish.item, "unknown", error=error), decision.nodes, decision.jobs, (), decision.rejected)


def _stop(wish: Wish, same: tuple[Job, ...], conditions: Mapping[int, Condition]) -> ItemPlan:
    actions = tuple(Action(wish.item, _verb_of_stop(job, job.job_id in conditions), {"job_id": job.job_id}) for job in same)
    if not same:
        return ItemPlan(wish.item, "absent")
    before = {
        "cluster": wish.cluster.name,
        "nodes": list(_nodes_of(same)),
        "account": same[0].account,
        "walltime_seconds": same[0].time_limit_seconds,
    }
    return ItemPlan(wish.item, "absent", actions, before, None)


def _verb_of_stop(job: Job, unwell: bool) -> str:
    if job.pending:
        return "withdraw"
    # No batch script is there to be asked, not yet or not any more.
    return "cancel" if unwell or job.preparing else "terminate"


def _set_of(job: Job) -> str:
    return job.claim.computeset if job.claim is not None else ""


def _nodes_of(jobs: Iterable[Job]) -> tuple[str, ...]:
    names: dict[str, None] = {}
    for job in jobs:
        names.update(dict.fromkeys(job.claim.nodes if job.claim is not None else ()))
    return tuple(names)
