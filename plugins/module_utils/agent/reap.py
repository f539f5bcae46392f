# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Jobs whose epilog never ran: slurmd was killed between their prolog and their end.

A slurmd that comes back without a job that the controller is just ending is not sent that job's end again, so no epilog follows.
The unit of ``vc-flush reap`` starts with slurmd, and again until a job that slurmd may have forgotten would have ended.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping

from ..command import Commands
from ..model.errors import VcError
from .epilog import settle
from .journal import Journal
from .places import Places

# slurmctld notices within this time that a node no longer has a job's batch script or step.
_SETTLING_SECONDS = 120.0
_OVER = frozenset(
    {
        "BOOT_FAIL",
        "CANCELLED",
        "COMPLETED",
        "DEADLINE",
        "FAILED",
        "NODE_FAIL",
        "OUT_OF_MEMORY",
        "PREEMPTED",
        "REVOKED",
        "SPECIAL_EXIT",
        "TIMEOUT",
    }
)
AGAIN = 75


def states(text: str) -> dict[int, str]:
    """job id -> state, of ``squeue --format=%A|%T``."""
    found = {}
    for line in text.splitlines():
        job_id, separator, state = line.strip().partition("|")
        if separator and job_id.isdecimal():
            found[int(job_id)] = state
    return found


def over(jobs: Iterable[int], known: Mapping[int, str]) -> list[int]:
    """The jobs that have ended; one that the controller does not know any more has ended long ago."""
    return sorted(job_id for job_id in jobs if known.get(job_id, "COMPLETED") in _OVER)


def reap(places: Places, commands: Commands, journal: Journal, slurmd: str) -> int:
    """Do the epilog's work for jobs of this boot that are over; 0, or AGAIN when one more look is needed.

    Parameters
    ----------
    slurmd : name of slurmd's unit; for a while after its start, jobs that it has forgotten may still count as running
    """
    # Records before queue: a job that comes meanwhile is in neither, or in the queue.
    jobs = {int(path.name.split(".")[0]) for suffix in ("json", "ending") for path in places.records.glob(f"*.{suffix}")}
    if not jobs:
        return 0
    argv = ["squeue", "--noheader", "--all", "--states=all", "--format=%A|%T"]
    known = states(commands.must(argv, "Slurm", "listing jobs", "check that slurmctld answers: `scontrol ping`", timeout=60))
    again = any(known.get(job_id) == "COMPLETING" for job_id in jobs) or _fresh(commands, slurmd)
    for job_id in over(jobs, known):
        try:
            settle(places, commands, journal, job_id)
            journal.say(f"job {job_id}: cleaned; it ended without an epilog here")
        except (VcError, OSError) as error:
            journal.warn(f"job {job_id}: {error}; it is tried again")
            again = True
    return AGAIN if again else 0


def _fresh(commands: Commands, slurmd: str) -> bool:
    argv = ["systemctl", "show", "--property=ActiveEnterTimestampMonotonic", "--value", slurmd]
    since = commands.must(argv, slurmd, "asking since when it runs").strip()
    return not since.isdecimal() or time.monotonic() - int(since) / 1e6 < _SETTLING_SECONDS
