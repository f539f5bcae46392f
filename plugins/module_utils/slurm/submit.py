# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Everything that changes a job: submit, stop, pull the plug, change its walltime.  Also the one call that reaches its agents."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Optional

from ..command import Commands
from ..model.errors import VcError
from .jobs import Job, look
from .script import Spec, comment, headline, render

AGENT = "/usr/lib/hpc-virtual-cluster/bin/vc-agent"


@dataclass(frozen=True)
class Request:
    """One submission.

    Parameters
    ----------
    spec : what the job runs
    account : Slurm account; empty means the user's default
    cpus : CPUs of each guest (the largest of the set)
    memory_mib : memory of each guest with its overhead (the largest of the set)
    walltime_minutes : 0 means the partition's default
    lead_seconds : how long before the walltime the guests are told to stop
    home : the user's home directory, where the output file goes
    per_host : guests per hypervisor, 0 leaves it to Slurm
    on_hosts : run on exactly these hypervisors, in any order
    exclude_hosts : never run on these
    partition, reservation, qos : empty means Slurm's default
    after : jobs that still hold hosts or leases of these nodes; Slurm waits for them
    """

    spec: Spec
    account: str
    cpus: int
    memory_mib: int
    walltime_minutes: int
    lead_seconds: int
    home: str
    per_host: int = 0
    on_hosts: tuple[str, ...] = ()
    exclude_hosts: tuple[str, ...] = ()
    partition: str = ""
    reservation: str = ""
    qos: str = ""
    after: tuple[int, ...] = ()


def output_path(home: str, cluster: str, name: str) -> str:
    """Where a set's job writes its log: one file for all jobs of the set, so that they do not pile up.

    In the home itself: a directory of ours would have to exist on all hypervisors before the job does.
    """
    return f"{home}/.vc-{cluster}-{name}.log"


def sbatch_argv(request: Request) -> list[str]:
    """The command line; the script itself goes to stdin."""
    spec = request.spec
    count = len(spec.nodes)
    argv = [
        "sbatch",
        "--parsable",
        "--no-requeue",
        "--no-kill",
        f"--signal=B:TERM@{request.lead_seconds}",
        f"--job-name=vc-{spec.label}-{spec.computeset}",
        f"--comment={comment(spec)}",
        *([f"--account={request.account}"] if request.account else []),
        f"--ntasks={count}",
        f"--cpus-per-task={request.cpus}",
        # Rounded up, so that cpus times this always holds the guest and its overhead, wherever Slurm puts it.
        f"--mem-per-cpu={-(-request.memory_mib // request.cpus)}M",
        "--distribution=block:block",
        # A login shell's memlock or nproc limit must not follow the guests.
        "--propagate=NONE",
        f"--chdir={request.home}",
        f"--output={output_path(request.home, spec.label, spec.computeset)}",
        "--open-mode=truncate",
    ]
    if request.walltime_minutes:
        argv.append(f"--time={request.walltime_minutes}")
    if request.per_host:
        argv.append(f"--ntasks-per-node={request.per_host}")
    number = len(request.on_hosts) or (-(-count // request.per_host) if request.per_host else 0)
    if number:
        argv.append(f"--nodes={number}-{number}")
    if request.on_hosts:
        argv.append(f"--nodelist={','.join(request.on_hosts)}")
    if request.exclude_hosts:
        argv.append(f"--exclude={','.join(request.exclude_hosts)}")
    for option in ("partition", "reservation", "qos"):
        if getattr(request, option):
            argv.append(f"--{option}={getattr(request, option)}")
    if request.after:
        argv.append(f"--dependency={','.join(f'afterany:{job}' for job in request.after)}")
    return argv


def sbatch(commands: Commands, request: Request) -> int:
    """Submit; the job id.  Raises VcError ``backend`` with what sbatch said."""
    item = request.spec.computeset
    text = commands.must(
        sbatch_argv(request),
        item,
        f"submitting it as a Slurm job of account {request.account or 'their own'}",
        "correct what Slurm complains about (account, partition, walltime, size), then run again",
        stdin=render(request.spec),
    )
    # --parsable prints "id" or "id;cluster".
    job_id = text.strip().splitlines()[-1].partition(";")[0] if text.strip() else ""
    if not job_id.isdigit():
        raise VcError("backend", item, "reading the job id", f"sbatch answered {text.strip()[:80]!r}", "look at `squeue --me`")
    return int(job_id)


def terminate(commands: Commands, job_id: int) -> None:
    """Ask a running job to shut its guests down.  A job that is already gone is no error."""
    _scancel(commands, ["scancel", "--batch", "--signal=TERM", str(job_id)], job_id, "asking it to stop")


def withdraw(commands: Commands, job_id: int) -> None:
    """Take a job out of the queue if it has not started; one that has started in the meantime is left alone."""
    _scancel(commands, ["scancel", "--state=PENDING", str(job_id)], job_id, "withdrawing it")


def power_cord(commands: Commands, job_id: int) -> None:
    """Cancel a job whatever it does: guests are killed after the site's KillWait."""
    _scancel(commands, ["scancel", str(job_id)], job_id, "cancelling it")


def set_walltime(commands: Commands, item: str, job_id: int, minutes: int) -> None:
    """Change the time limit.  Slurm lets only operators raise that of a running job."""
    commands.must(
        ["scontrol", "update", f"JobId={job_id}", f"TimeLimit={minutes}"],
        item,
        f"setting the walltime of job {job_id} to {minutes} min",
        "ask a Slurm operator to extend it, or terminate the set and start it again",
    )


def may_extend(commands: Commands, user: str) -> bool:
    """Whether Slurm lets this user raise the limit of a running job: operators only; 22.05 refuses even an account's coordinators."""
    result = commands.run(["sacctmgr", "--noheader", "--parsable2", "show", "user", f"name={user}", "format=adminlevel"])
    return result.status == 0 and result.out.strip() not in ("", "None")


@dataclass(frozen=True)
class Guest:
    """One node as its agent sees it.

    Parameters
    ----------
    state, host : its node state, and where it is
    msg : why, when it is not well
    asked : the verb that its power switch is still at work on, or ""
    failed : why the last such verb came to nothing, or ""
    error : why the request at hand was refused
    ended : its agent has ended: nobody is there to switch it on
    """

    state: str
    host: str
    msg: str = ""
    asked: str = ""
    failed: str = ""
    error: Optional[VcError] = None
    ended: bool = False


@dataclass(frozen=True)
class Answer:
    """All agents' answers: guests by node name; ``problem`` is what srun said when some agent did not answer.

    ``empty`` counts the hosts that say themselves that no agent is on them.
    """

    guests: Mapping[str, Guest] = field(default_factory=dict)
    problem: str = ""
    empty: int = 0


def agents(commands: Commands, job: Job, *request: str, timeout: float = 30.0) -> Answer:
    """Ask every agent of a running job, in one srun whatever the number of nodes.  Agents that are not up yet are simply missing.

    Parameters
    ----------
    request : the words after ``vc-agent call``; none asks for the status
    """
    count = len(job.hosts)
    if not count:
        return Answer(problem="the job has no hosts")
    argv = [
        "srun",
        "--quiet",
        "--overlap",
        f"--jobid={job.job_id}",
        f"--nodes={count}-{count}",
        f"--ntasks={count}",
        "--ntasks-per-node=1",
        "--cpus-per-task=1",
        "--cpu-bind=none",
        "--mem-bind=none",
        "--propagate=NONE",
        "--input=none",
        # Neither the caller's directory nor his home has to exist on a hypervisor.
        "--chdir=/",
        AGENT,
        "call",
        *(request or ("status",)),
    ]
    try:
        result = commands.run(argv, timeout=timeout)
    except VcError as error:
        if error.code != "timeout":
            raise
        return Answer(problem=error.detail)
    return Answer(answers(result.out), "" if result.status == 0 else result.last_line, empty_hosts(result.out))


def answers(text: str) -> dict[str, Guest]:
    """The guests in the agents' answers, one JSON line per host; lines that are something else are skipped."""
    found: dict[str, Guest] = {}
    for line in text.splitlines():
        try:
            data = json.loads(line)
            for name, node in data["nodes"].items():
                found[str(name)] = _guest(node, str(data["host"]), bool(data.get("ended")))
        except (ValueError, KeyError, TypeError, AttributeError):
            continue
    return found


def _guest(node: Mapping[str, Any], host: str, ended: bool) -> Guest:
    said = {key: str(node.get(key, "")) for key in ("msg", "asked", "failed")}
    error = VcError.from_dict(node["error"]) if isinstance(node.get("error"), Mapping) else None
    return Guest(str(node["state"]), host, **said, error=error, ended=ended)


def empty_hosts(text: str) -> int:
    """On how many hosts ``vc-agent call`` found no agent."""
    empty = 0
    for line in text.splitlines():
        with contextlib.suppress(ValueError, AttributeError):
            empty += json.loads(line).get("nodes") == {}
    return empty


def why_ended(path: str, job_id: int) -> str:
    """The last lines a job wrote, for an error message; empty when the file is not visible here, or still that of an earlier job."""
    try:
        with open(path, "rb") as file:
            if file.readline(64).decode("utf-8", "replace").strip() != headline(str(job_id)):
                return ""
            file.seek(0, 2)
            file.seek(max(0, file.tell() - 4096))
            tail = file.read().decode("utf-8", "replace")
    except OSError:
        return ""
    lines = ["".join(char if char.isprintable() else " " for char in line).strip() for line in tail.splitlines()]
    return " / ".join([line for line in lines if line][-5:])


def _scancel(commands: Commands, argv: list[str], job_id: int, tried: str) -> None:
    result = commands.run(argv)
    if result.status != 0 and look_alive(commands, job_id):
        raise VcError("backend", f"job {job_id}", tried, result.last_line, "look at `squeue --me`")


def look_alive(commands: Commands, job_id: int) -> bool:
    """Whether the job is still queued or running."""
    job = look(commands, job_id)
    return job is not None and job.live
