# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Waiting for a computeset to run or to be gone: a text squeue of one job and, once it runs, one srun to all agents per look."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Optional

from ..command import Commands
from ..model.errors import VcError
from ..model.states import NodeState, SetState
from .jobs import Ended, Job, ended, look
from .submit import Guest, agents, power_cord, terminate, why_ended

# How long a cancelled job may take to leave its hosts: KillWait plus epilogs.
CANCEL_SECONDS = 60.0
TERM_AGAIN_SECONDS = 5.0
# From a job's TERM to the last agent's hearing of it, with time to ask again.
TOLD_SECONDS = 20.0

_ENDED = {"COMPLETED": SetState.COMPLETED, "TIMEOUT": SetState.TIMEOUT, "DEADLINE": SetState.TIMEOUT, "CANCELLED": SetState.CANCELLED}
_SETTLED = frozenset({NodeState.RUNNING, NodeState.SUSPENDED, NodeState.OFF, NodeState.CRASHED})
_RUNNING = frozenset({NodeState.RUNNING, NodeState.SUSPENDED})
_STUCK = frozenset({NodeState.OFF, NodeState.CRASHED, NodeState.STOPPING, NodeState.FLUSHING})
_LEAVING = frozenset({NodeState.STOPPING, NodeState.FLUSHING, NodeState.OFF})

# Reasons that no waiting cures.
_HOPELESS = frozenset({"BadConstraints", "DependencyNeverSatisfied", "InvalidAccount", "InvalidQOS", "JobHeldAdmin", "JobHeldUser"})

_REMEDIES = (
    ("AssocGrp", "the account's allocation is used up or in use; ask for less, wait, or have the allocation raised"),
    ("AssocMax", "the account's limits do not allow a job like this; ask for less, or have the limit raised"),
    ("QOS", "the QOS does not allow a job like this now; ask for less, choose another `qos`, or wait"),
    ("PartitionTimeLimit", "the walltime is longer than the partition allows; ask for less, or choose another `partition`"),
    ("PartitionNodeLimit", "the partition does not give so many hypervisors to one job; raise `per_host`, or ask for fewer nodes"),
    ("Nodes required", "hypervisors are down, drained or reserved; choose others, or ask the site"),
    ("ReqNodeNotAvail", "a named hypervisor is down, drained or reserved; leave `hosts` out, or ask the site"),
    ("Reservation", "wait for the reservation to begin, or choose another one"),
    ("Resources", "the hypervisors are busy; wait longer with `wait_timeout`, or ask for less"),
    ("Priority", "other jobs come first; wait longer with `wait_timeout`"),
    ("Dependency", "an earlier job of these nodes is still being cleaned up; wait longer with `wait_timeout`"),
    ("launch failed", "a prolog failed, so Slurm holds the job and drained the hypervisor; ask the site"),
    ("JobHeld", "the job is held; release it with `scontrol release JOBID`, or ask who holds it"),
)


@dataclass(frozen=True)
class Clock:
    """Time, replaceable in tests."""

    now: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep


@dataclass(frozen=True)
class View:
    """A computeset at one moment; ``problem`` says what is known about a failure."""

    state: SetState
    job: Optional[Job] = None
    guests: Mapping[str, Guest] = field(default_factory=dict)
    problem: str = ""
    ended: Optional[Ended] = None


def backoff(longest: float = 1.0) -> Iterator[float]:
    """Pauses between two looks: short first, because most answers come quickly, never longer than `longest` seconds."""
    pause = 0.1
    while True:
        yield pause
        pause = min(longest, pause * 1.6)


def view(commands: Commands, job_id: int, nodes: Sequence[str], ask_agents: bool = True) -> View:
    """Look once: one squeue, one srun if the job runs, one sacct if it is gone."""
    job = look(commands, job_id)
    if job is None or job.ended:
        end = ended(commands, job_id) or Ended(job.state if job else "COMPLETED", 0, 0)
        problem = "" if end.state == "COMPLETED" else end.state
        return View(_ENDED.get(end.state, SetState.FAILED), job, _guests(nodes, {}, NodeState.OFF), problem, end)
    if job.stopping:
        return View(SetState.STOPPING, job, _guests(nodes, {}, NodeState.STOPPING))
    if job.pending:
        return View(SetState.PENDING, job, _guests(nodes, {}, NodeState.QUEUED))
    # While prologs run the job counts as running, but no step of it can start.
    if not ask_agents or job.preparing:
        return View(SetState.STARTING, job, _guests(nodes, {}, NodeState.PREPARING))
    answer = agents(commands, job)
    lost = Guest(str(NodeState.CRASHED), "", f"its job has lost {job.batch_host}") if job.headless else None
    guests = _guests(nodes, answer.guests, NodeState.PREPARING, lost)
    return View(_set_state(guests), job, guests, answer.problem)


def state_of(job: Job) -> str:
    """A job's state in the words of a computeset, as far as Slurm alone can tell."""
    if job.ended:
        return str(_ENDED.get(job.state, SetState.FAILED))
    return str(SetState.STOPPING if job.stopping else SetState.PENDING if job.pending else SetState.RUNNING)


def until_running(
    commands: Commands,
    item: str,
    job_id: int,
    nodes: Sequence[str],
    timeout: float,
    cancel: bool,
    output: str = "",
    clock: Optional[Clock] = None,
) -> tuple[View, Optional[VcError]]:
    """Wait until every node runs.  The last view, and why it is not what was asked for, if so.

    A job that ends, a node that crashes, and a reason that no waiting cures end the wait at once.
    """
    clock = clock or Clock()
    deadline = clock.now() + timeout
    for pause in backoff():
        seen = view(commands, job_id, nodes)
        if seen.state == SetState.RUNNING and all(guest.state in _RUNNING for guest in seen.guests.values()):
            return seen, None
        if seen.ended is not None:
            return seen, _ended_early(item, job_id, seen, output)
        settled = bool(seen.guests) and all(guest.state in _SETTLED for guest in seen.guests.values())
        if settled or any(guest.state == NodeState.CRASHED for guest in seen.guests.values()):
            return seen, _not_all(item, job_id, seen, output)
        hopeless = seen.state == SetState.PENDING and seen.job is not None and _is_hopeless(seen.job.reason)
        if clock.now() >= deadline and seen.job is not None and seen.job.stopping:
            # It fails on its own; how is known only when it is over.
            seen = _until_over(commands, [job_id], nodes, CANCEL_SECONDS, clock)[job_id]
            if seen.ended is not None:
                return seen, _ended_early(item, job_id, seen, output)
        if hopeless or clock.now() >= deadline:
            error = _late(item, job_id, seen, timeout, cancel, hopeless)
            if cancel:
                power_cord(commands, job_id)
                seen = replace(_until_over(commands, [job_id], nodes, CANCEL_SECONDS, clock)[job_id], problem=seen.problem)
            return seen, error
        clock.sleep(min(pause, max(0.0, deadline - clock.now())))
    raise AssertionError("unreachable")


def with_walltime(seen: View, seconds: int) -> View:
    """The same set with this walltime."""
    job = seen.job
    if job is None:
        return seen
    end_time = job.end_time + seconds - (job.time_limit_seconds or 0) if job.end_time else 0
    return replace(seen, job=replace(job, time_limit_seconds=seconds, end_time=end_time))


def awaited(seen: View) -> View:
    """What ``until_running`` would return of it, if all goes well; what no waiting cures stays as it is."""
    hopeless = seen.state == SetState.PENDING and seen.job is not None and _is_hopeless(seen.job.reason)
    stuck = any(guest.state in _STUCK for guest in seen.guests.values())
    if seen.state not in (SetState.PENDING, SetState.STARTING) or hopeless or stuck:
        return seen
    guests = {name: guest if guest.state in _RUNNING else Guest(str(NodeState.RUNNING), guest.host) for name, guest in seen.guests.items()}
    return replace(seen, state=SetState.RUNNING, guests=guests, problem="", job=seen.job and replace(seen.job, reason=""))


def until_gone(
    commands: Commands, item: str, job_ids: Sequence[int], nodes: Sequence[str], timeout: float, cancel: bool, clock: Optional[Clock] = None
) -> tuple[Optional[View], Optional[VcError]]:
    """Wait until the jobs and their epilogs are over, `timeout` seconds for all of them; then pull the power cord if `cancel`.

    The view is that of a job that is still there, else of the last one.
    """
    clock = clock or Clock()
    seen = _until_over(commands, job_ids, nodes, timeout, clock)
    late = [job_id for job_id in job_ids if seen[job_id].ended is None]
    if late and cancel:
        for job_id in late:
            power_cord(commands, job_id)
        seen.update(_until_over(commands, late, nodes, CANCEL_SECONDS, clock))
        late = [job_id for job_id in late if seen[job_id].ended is None]
    if not late:
        return seen[job_ids[-1]] if job_ids else None, None
    still = ", ".join(f"job {job_id} is still {seen[job_id].state}" for job_id in late)
    detail = f"{still} after {timeout:g} s" + (" and was cancelled" if cancel else "")
    remedy = (
        "look at the hypervisor's slurmd log"
        if cancel
        else "wait longer with `wait_timeout`, or use `on_timeout: cancel` to pull the power cord"
    )
    return seen[late[-1]], VcError("timeout", item, "waiting for it to stop", detail, remedy)


def until_told(
    commands: Commands, item: str, job_id: int, nodes: Sequence[str], clock: Optional[Clock] = None
) -> tuple[View, Optional[VcError]]:
    """Wait until the agents of a job that was asked to stop know it, so that whoever looks next sees a set that is going.

    Whoever asked may have asked in vain: a batch script that has not begun yet loses a signal, and a job that has started in the meantime
    is not withdrawn.  So it is asked again, and an error when nothing of it is told even then.
    """
    clock = clock or Clock()
    deadline = clock.now() + TOLD_SECONDS
    asked = clock.now()
    for pause in backoff():
        seen = view(commands, job_id, nodes)
        if seen.state not in (SetState.STARTING, SetState.RUNNING):
            return seen, None
        if clock.now() >= deadline:
            break
        if clock.now() - asked >= TERM_AGAIN_SECONDS:
            terminate(commands, job_id)
            asked = clock.now()
        clock.sleep(pause)
    detail = f"job {job_id} is still {seen.state} {TOLD_SECONDS:g} s after it was asked" + (f"; {seen.problem}" if seen.problem else "")
    return seen, VcError("timeout", item, "telling it to stop", detail, "use `wait: true`, which asks until the set has stopped")


def reason_remedy(reason: str) -> str:
    """What a user can do about Slurm's reason for not starting a job."""
    for prefix, remedy in _REMEDIES:
        if reason.strip("()").startswith(prefix):
            return remedy
    return "see `man squeue`, JOB REASON CODES"


def _until_over(commands: Commands, job_ids: Sequence[int], nodes: Sequence[str], timeout: float, clock: Clock) -> dict[int, View]:
    """Look until the jobs are over or the time is, and ask them again meanwhile: a batch script that has not begun yet loses a signal."""
    deadline = clock.now() + timeout
    asked = dict.fromkeys(job_ids, clock.now())
    found: dict[int, View] = {}
    for pause in backoff():
        late = clock.now() >= deadline
        for job_id in [job_id for job_id in job_ids if job_id not in found or found[job_id].ended is None]:
            seen = view(commands, job_id, nodes, ask_agents=False)
            found[job_id] = seen
            if seen.state == SetState.PENDING:
                asked[job_id] = clock.now() - TERM_AGAIN_SECONDS
            elif seen.state == SetState.STARTING:
                found[job_id] = replace(seen, state=SetState.STOPPING)
                if not late and clock.now() - asked[job_id] >= TERM_AGAIN_SECONDS:
                    terminate(commands, job_id)
                    asked[job_id] = clock.now()
        if late or all(seen.ended is not None for seen in found.values()):
            break
        clock.sleep(min(pause, max(0.0, deadline - clock.now())))
    return found


def _guests(nodes: Sequence[str], known: Mapping[str, Guest], otherwise: NodeState, lost: Optional[Guest] = None) -> dict[str, Guest]:
    # Agents answer for themselves: nodes they invent are not part of the set.
    return {name: known.get(name, lost or Guest(str(otherwise), "")) for name in nodes}


def _set_state(guests: Mapping[str, Guest]) -> SetState:
    found = {guest.state for guest in guests.values()}
    # Nodes that are only switched off keep their agents.
    if found and found <= _LEAVING and (found != {NodeState.OFF} or all(guest.ended for guest in guests.values())):
        return SetState.STOPPING
    return SetState.RUNNING if found <= _SETTLED else SetState.STARTING


def _is_hopeless(reason: str) -> bool:
    text = reason.strip("()")
    return text in _HOPELESS or text.startswith("launch failed")


def _late(item: str, job_id: int, seen: View, timeout: float, cancel: bool, hopeless: bool) -> VcError:
    tail = ", and was cancelled (on_timeout)" if cancel else ", and stays so (on_timeout: leave)"
    reason = seen.job.reason if seen.job else ""
    when = "" if hopeless else f" after {timeout:g} s"
    if seen.state == SetState.PENDING:
        detail = f"job {job_id} is pending{when}, Slurm's reason is {reason or 'not given yet'}{tail}"
        return VcError("timeout", item, "waiting for its nodes to run", detail, reason_remedy(reason))
    waiting = _not_running(seen)
    detail = f"job {job_id} is {seen.state}{when}: {_some(waiting)}{tail}" + (f"; {seen.problem}" if seen.problem else "")
    return VcError("timeout", item, "waiting for its nodes to run", detail, "wait longer with `wait_timeout`, or look at a node's console")


def _ended_early(item: str, job_id: int, seen: View, output: str) -> VcError:
    end = seen.ended
    code = f", exit code {end.exit_code}" if end is not None and end.exit_code else ""
    said = why_ended(output, job_id)
    detail = f"job {job_id} ended {end.state if end else seen.state}{code} before all nodes ran" + (
        f"; its last lines: {said}" if said else ""
    )
    return VcError("backend", item, "starting it", detail, f"read {output}" if output else "read the job's output file")


def _not_all(item: str, job_id: int, seen: View, output: str) -> VcError:
    bad = _not_running(seen)
    down = [guest for guest in seen.guests.values() if guest.state not in _RUNNING]
    held = all(guest.state == NodeState.OFF and not guest.ended for guest in down)
    remedy = "switch them on with vc_power" if held else f"terminate the set and start it again; its log is {output}"
    return VcError("backend", item, "starting it", f"in job {job_id} {_some(bad)}", remedy)


def _not_running(seen: View) -> list[str]:
    return [
        f"{name} is {guest.state}{_where(guest)}" + (f" ({guest.msg})" if guest.msg else "")
        for name, guest in seen.guests.items()
        if guest.state not in _RUNNING
    ]


def _where(guest: Guest) -> str:
    return f" on {guest.host}" if guest.host else ""


def _some(texts: Sequence[str]) -> str:
    return ", ".join(texts[:4]) + (f" and {len(texts) - 4} more" if len(texts) > 4 else "")
