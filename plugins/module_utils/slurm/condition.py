# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a job that Slurm calls running really is: only its agents know whether its guests run, are just going, or are gone."""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from typing import Optional

from ..command import Commands
from ..model.states import NodeState
from .jobs import Job
from .submit import agents

# An agent begins to answer within a second or two of its prologs' end.
_STARTING_SECONDS = 60
_LEAVING = frozenset({NodeState.STOPPING, NodeState.FLUSHING, NodeState.OFF, NodeState.CRASHED})


class Condition(Enum):
    """Of a running job.

    GOING : it was told to stop, or its guests have ended; it ends by itself
    DEAD : nothing of it runs anywhere, and nobody is left to end it
    BROKEN : it has lost the host of its batch script, and guests of it go on elsewhere
    """

    GOING = "going"
    DEAD = "dead"
    BROKEN = "broken"


def conditions(commands: Commands, jobs: Iterable[Job], now: int) -> dict[int, Condition]:
    """Ask the agents of these jobs, in one srun for each; those that run as they should are left out.  `now` in epoch seconds."""
    found = {}
    for job in jobs:
        if job.live and not job.pending and not job.preparing:
            condition = _condition(commands, job, now)
            if condition is not None:
                found[job.job_id] = condition
    return found


def _condition(commands: Commands, job: Job, now: int) -> Optional[Condition]:
    answer = agents(commands, job)
    living = [guest for guest in answer.guests.values() if not guest.ended]
    if job.headless:
        return Condition.BROKEN if living else Condition.DEAD
    if answer.guests and all(guest.state in _LEAVING for guest in answer.guests.values()):
        # Not those that somebody has switched off: their agent waits for them to be switched on again.
        going = not living or any(guest.state == NodeState.STOPPING and not guest.asked for guest in living)
        return Condition.GOING if going else None
    # Every host has said so itself: one that is only cut off for a moment says nothing.
    silent = answer.empty == len(job.hosts) and 0 < job.start_time <= now - _STARTING_SECONDS
    return Condition.DEAD if silent else None
