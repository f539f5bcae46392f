# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What Slurm says about jobs: one squeue call for all of them, a cheap look at one, accounting for those that left the queue.

The JSON of squeue changed its shapes in nearly every release from 22.05 to 24.11, so every field goes through a tolerant reader.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import Any, Optional

from ..command import PATH, Commands
from ..model.definition import MOST_NODES
from ..model.errors import VcError
from ..model.names import OWN_CLUSTER, claimed_cluster, computeset_name, is_own_cluster
from ..model.noderange import expand

ENDED = frozenset(
    {"BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED", "TIMEOUT", "REVOKED"}
)
WAITING = frozenset({"PENDING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "SPECIAL_EXIT", "RESV_DEL_HOLD"})

_ITEM = re.compile(r"(?:[^,\[\]]|\[[^\]]*\])+")
_PIECE = re.compile(r"\[[^\]]*\]|[^\[\]]+")
# What they are made of; whether a range is one shows when its names are asked for.
_RANGE = re.compile(r"[a-z0-9,\[\]-]+")
_MACHINES = re.compile(r"[a-z0-9][a-z0-9._@-]*(?::[1-9][0-9]{0,4})?(?:,[a-z0-9][a-z0-9._@-]*(?::[1-9][0-9]{0,4})?)*")
# Of bytes: slurmctld refuses a longer one.
MOST_COMMENT = 1024
_UNSET = frozenset({"", "(null)", "None"})
# Older releases write these sentinels as plain numbers.
_NO_VALUE = frozenset({0xFFFFFFFE, 0xFFFFFFFFFFFFFFFE})
_INFINITE = frozenset({0xFFFFFFFF, 0xFFFFFFFFFFFFFFFF})


@dataclass(frozen=True)
class Claim:
    """What a job says about itself in its comment.  The job's user wrote it: identity among his own jobs, never a right.

    ``vms``, ``cpus`` and ``memory_mib`` are of throw-away machines, empty and 0 for the nodes of a defined cluster.
    """

    cluster: str
    computeset: str
    node_range: str
    images: tuple[str, ...] = ()
    version: int = 1
    vms: str = ""
    cpus: int = 0
    memory_mib: int = 0

    @cached_property
    def nodes(self) -> tuple[str, ...]:
        """The names in the range, none of one that cannot be read.

        Only asked for of jobs whose user matters: anybody can queue thousands of jobs that claim thousands of nodes in 60 bytes each.
        """
        try:
            return tuple(expand(self.node_range, MOST_NODES))
        except VcError:
            return ()


@dataclass(frozen=True)
class Job:
    """One job.  Times are epoch seconds, 0 when unknown; ``time_limit_seconds`` is None when the job has no limit."""

    job_id: int
    user_name: str
    account: str
    name: str
    states: frozenset[str]
    reason: str = ""
    claim: Optional[Claim] = None
    hosts: tuple[str, ...] = ()
    start_time: int = 0
    end_time: int = 0
    time_limit_seconds: Optional[int] = None
    partition: str = ""
    restart_count: int = 0
    batch_host: str = ""

    @property
    def ended(self) -> bool:
        """Over and cleaned up: nothing of it is on any host."""
        return bool(self.states & ENDED) and "COMPLETING" not in self.states

    @property
    def stopping(self) -> bool:
        """Its processes were told to go, epilogs may still run."""
        return "COMPLETING" in self.states

    @property
    def pending(self) -> bool:
        return bool(self.states & WAITING) and not self.stopping

    @property
    def live(self) -> bool:
        """It has, or may still get, hosts."""
        return not self.ended and not self.stopping

    @property
    def preparing(self) -> bool:
        """Its prologs run: it has hosts, but nothing of it does anything on them yet."""
        return self.live and not self.pending and (self.reason == "Prolog" or "CONFIGURING" in self.states)

    @property
    def headless(self) -> bool:
        """It goes on without the host that its batch script ran on, so nobody is left there to end it.

        Slurm takes a host that went down out of such a job (``--no-kill``), even this one.
        """
        return self.live and not self.pending and bool(self.batch_host and self.hosts) and self.batch_host not in self.hosts

    @property
    def state(self) -> str:
        """The one word that says most, e.g. ``RUNNING`` of ``{RUNNING, CONFIGURING}``."""
        if self.stopping:
            return "COMPLETING"
        for known in (ENDED, WAITING):
            if self.states & known:
                return min(self.states & known)
        return "RUNNING" if "RUNNING" in self.states else min(self.states, default="UNKNOWN")


def environment(given: Mapping[str, str]) -> dict[str, str]:
    """What Slurm's commands need of the caller's environment: where a site keeps them, and its slurm.conf."""
    found = {"PATH": f"{PATH}:{given['PATH']}" if given.get("PATH") else PATH}
    if given.get("SLURM_CONF"):
        found["SLURM_CONF"] = given["SLURM_CONF"]
    return found


def read(commands: Commands) -> list[Job]:
    """All jobs the controller still remembers, in one call; filtering is the caller's because squeue 22.05 filters nothing in JSON.

    Raises VcError ``backend`` when squeue fails or answers something that is not its JSON.
    """
    text = commands.must(["squeue", "--json", "--states=all"], "Slurm", "listing jobs", "check that slurmctld answers: `scontrol ping`")
    return parse(text)


def parse(text: str) -> list[Job]:
    """The jobs in the output of ``squeue --json`` of any release from 22.05 on."""
    try:
        data = json.loads(text)
        listed = data["jobs"]
        return [_job(item) for item in listed if isinstance(item, Mapping)]
    except (ValueError, KeyError, TypeError) as error:
        raise VcError(
            "backend", "Slurm", "reading the list of jobs", f"not the JSON of squeue: {error}", "look at `squeue --json`"
        ) from None


def look(commands: Commands, job_id: int) -> Optional[Job]:
    """State, reason, hosts and times of one job as text: what a waiting caller can afford to ask again and again.

    None when the controller has forgotten the job.  The claim is not filled in.
    """
    form = "%i|%T|%r|%N|%l|%L|%u|%a|%B|%j"
    argv = ["squeue", "--noheader", "--states=all", f"--jobs={job_id}", f"--format={form}"]
    result = commands.run(argv)
    if result.status != 0:
        if "Invalid job id" in result.err:
            return None
        raise VcError("backend", f"job {job_id}", "asking for its state", result.last_line, "check that slurmctld answers: `scontrol ping`")
    for line in result.out.splitlines():
        field = line.strip().split("|", 9)
        if len(field) == 10 and field[0] == str(job_id):
            left = _seconds(field[5])
            return Job(
                job_id=job_id,
                user_name=field[6],
                account=field[7],
                name=field[9],
                states=frozenset({field[1]}),
                reason=_text(field[2]),
                hosts=hosts(field[3]),
                end_time=0 if left is None else int(time.time()) + left,
                time_limit_seconds=_seconds(field[4]),
                batch_host="" if field[8] == "n/a" else field[8],
            )
    return None


@dataclass(frozen=True)
class Ended:
    """How a job ended, from accounting; ``state`` as Slurm writes it, ``exit_code`` and ``signal`` of its batch script."""

    state: str
    exit_code: int
    signal: int


def ended(commands: Commands, job_id: int) -> Optional[Ended]:
    """How a job ended, also after the controller forgot it.  None without accounting, or while accounting has not heard of it."""
    argv = ["sacct", "--noheader", "--parsable2", "--allocations", f"--jobs={job_id}", "--format=JobIDRaw,State,ExitCode"]
    result = commands.run(argv)
    for line in result.out.splitlines() if result.status == 0 else []:
        field = line.strip().split("|")
        if len(field) == 3 and field[0] == str(job_id):
            code, colon, signal = field[2].partition(":")
            # "CANCELLED by 2001": the word is the state, the rest names who did it.
            state = field[1].split(" ")[0]
            if state not in ENDED:
                # Accounting hears of an end a moment later than the controller.
                return None
            return Ended(state, int(code) if code.isdigit() else 0, int(signal) if signal.isdigit() else 0)
    return None


def num(value: Any, default: Optional[int] = 0) -> Optional[int]:
    """A number in any release's shape: int, null, or ``{set, infinite, number}``.  Unset is `default`, infinite is None."""
    if isinstance(value, Mapping):
        if value.get("infinite"):
            return None
        return num(value.get("number"), default) if value.get("set", True) else default
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return default
    number = int(value)
    if number in _INFINITE:
        return None
    return default if number in _NO_VALUE else number


def states(value: Any) -> frozenset[str]:
    """Base state and flags; up to 23.02 one string, later a list."""
    listed: Sequence[Any] = [value] if isinstance(value, str) else value if isinstance(value, list) else []
    return frozenset(item.upper() for item in listed if isinstance(item, str) and item)


def nodes(item: Mapping[str, Any]) -> tuple[str, ...]:
    """The hosts of a job: the range at the top level, else whatever ``job_resources`` holds in that release."""
    resources = item.get("job_resources")
    if not isinstance(resources, Mapping):
        resources = {}
    inner = resources.get("nodes")
    if isinstance(inner, Mapping):
        inner = inner.get("list")
    for text in (item.get("nodes"), inner):
        if isinstance(text, str) and text not in _UNSET:
            return hosts(text)
    return ()


def hosts(text: str) -> tuple[str, ...]:
    """Expand a host range as Slurm prints it: groups anywhere, any case, underscores.  Wider than what users may write; never fails."""
    if text in _UNSET:
        return ()
    found: list[str] = []
    for item in _ITEM.findall(text):
        parts = [_numbers(piece[1:-1]) if piece.startswith("[") else [piece] for piece in _PIECE.findall(item)]
        found.extend("".join(choice) for choice in product(*parts))
    return tuple(found)


def _numbers(group: str) -> list[str]:
    numbers: list[str] = []
    for span in group.split(","):
        first, dash, last = span.partition("-")
        if first.isdigit() and (last or first).isdigit():
            numbers.extend(f"{number:0{len(first)}d}" for number in range(int(first), int(last or first) + 1))
        else:
            numbers.append(span)
    return numbers


def claim(comment: Any, job_id: int, restart_count: int) -> Optional[Claim]:
    """What a comment claims, or None when it is not ours or not well formed.

    Hostile input, and as much of it as anybody likes to queue: every part is validated, but nodes and machines as texts only.
    """
    if isinstance(comment, Mapping):
        comment = comment.get("job")
    if not isinstance(comment, str) or not comment.startswith("{") or len(comment) > MOST_COMMENT:
        return None
    try:
        data = json.loads(comment)
        version = data["v"]
        if isinstance(version, bool) or not isinstance(version, int) or version < 1:
            return None
        images = data.get("images", "")
        if is_own_cluster(data["vc"]):
            # It cannot claim another job's.
            return None
        found = _vms(data) if data["vc"] == OWN_CLUSTER else {}
        return Claim(
            cluster=claimed_cluster(data["vc"], job_id, restart_count),
            computeset=computeset_name(data["set"]),
            node_range=_matching(_RANGE, data["nodes"]),
            images=tuple(images.split(",")) if isinstance(images, str) and images else (),
            version=version,
            **found,
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, VcError):
        return None


def _vms(data: Mapping[str, Any]) -> dict[str, Any]:
    numbers = {key: data[key] for key in ("cpus", "memory_mib")}
    if not all(isinstance(number, int) and not isinstance(number, bool) and number > 0 for number in numbers.values()):
        raise ValueError("cpus or memory_mib")
    return {"vms": _matching(_MACHINES, data["vms"]), **numbers}


def _matching(pattern: re.Pattern[str], text: Any) -> str:
    if not isinstance(text, str) or not pattern.fullmatch(text):
        raise ValueError(pattern.pattern)
    return text


def _job(item: Mapping[str, Any]) -> Job:
    minutes = num(item.get("time_limit"), None)
    job_id, restart_count = num(item.get("job_id")) or 0, num(item.get("restart_cnt")) or 0
    return Job(
        job_id=job_id,
        user_name=_text(item.get("user_name")),
        account=_text(item.get("account")),
        name=_text(item.get("name")),
        states=states(item.get("job_state")),
        reason=_text(item.get("state_reason")),
        claim=claim(item.get("comment"), job_id, restart_count),
        hosts=nodes(item),
        start_time=num(item.get("start_time")) or 0,
        end_time=num(item.get("end_time")) or 0,
        time_limit_seconds=None if minutes is None else minutes * 60,
        partition=_text(item.get("partition")),
        restart_count=restart_count,
        batch_host=_text(item.get("batch_host")),
    )


def _text(value: Any) -> str:
    return value if isinstance(value, str) and value not in _UNSET else ""


def _seconds(text: str) -> Optional[int]:
    """Slurm's ``[days-]hours:minutes:seconds`` in seconds; None for UNLIMITED and for anything else."""
    days, dash, clock = text.rpartition("-")
    parts = clock.split(":")
    if not all(part.isdigit() for part in parts) or (dash and not days.isdigit()):
        return None
    seconds = 0
    for part in parts:
        seconds = seconds * 60 + int(part)
    return seconds + 86400 * int(days or 0)
