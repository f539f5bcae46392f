# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Jobs whose epilog never runs: Slurm has taken this host out of them while it was down, or was said to be.

A job ends on a host that is down without a word to it, or goes on without it (``--no-kill``).  Slurm catches up when the host registers
again, but only with jobs of which slurmd still has a step; guests whose agents have died with their step are forgotten.  So a timer looks.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Optional

from ..command import Commands
from ..slurm.jobs import ENDED, WAITING, hosts
from .epilog import settle, told
from .journal import Journal
from .places import Places
from .record import JobRecord, Records

# A controller that has just taken over may not know the newest jobs yet.
_UNKNOWN_SECONDS = 120.0


@dataclass(frozen=True)
class Seen:
    """A job as squeue shows it."""

    state: str
    hosts: tuple[str, ...]


def seen(text: str) -> dict[int, Seen]:
    """By job id, of ``squeue --format=%A|%T|%N``."""
    found = {}
    for line in text.splitlines():
        field = line.strip().split("|")
        if len(field) == 3 and field[0].isdecimal():
            found[int(field[0])] = Seen(field[1], hosts(field[2]))
    return found


def over(jobs: Iterable[tuple[JobRecord, float]], known: Mapping[int, Seen]) -> list[int]:
    """The jobs, each given with its age in seconds, that have ended or go on without this host."""
    return sorted({job.job_id for job, age in jobs if _is_over(job, age, known.get(job.job_id))})


def _is_over(job: JobRecord, age: float, found: Optional[Seen]) -> bool:
    if found is None:
        return age >= _UNKNOWN_SECONDS
    if found.state in ENDED:
        return True
    return found.state not in WAITING and bool(found.hosts and job.slurm_node) and job.slurm_node not in found.hosts


def reap(places: Places, commands: Commands, journal: Journal) -> bool:
    """Do the epilog's work for jobs of this boot that are over; whether there were any."""
    records = Records(places)
    # Records before queue: a job that comes meanwhile is in neither, or in the queue.
    jobs = [(job, records.age(job)) for job in records.all_jobs()]
    if not jobs:
        return False
    argv = ["squeue", "--noheader", "--all", "--states=all", "--format=%A|%T|%N"]
    known = seen(commands.must(argv, "Slurm", "listing jobs", "check that slurmctld answers: `scontrol ping`", timeout=60))
    found = over(jobs, known)
    for job_id in found:
        try:
            settle(places, commands, journal, job_id)
            journal.say(f"job {job_id}: cleaned; it ended without an epilog here")
        except Exception as error:  # whatever it is, it is this job's alone
            journal.warn(f"job {job_id}: {told(error)}; it is tried again")
    return bool(found)
