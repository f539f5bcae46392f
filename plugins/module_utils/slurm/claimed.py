# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The jobs that claim to be computesets, as vc_info and the inventory hand them to the planner's view."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Optional

from . import watch
from .jobs import Job


def claimed(listed: Iterable[Job], now: int) -> list[dict[str, Any]]:
    """Every job that claims a cluster and has not ended; `now` in epoch seconds.  A claim is the job's own word.

    Its nodes stay the range that the job wrote, so that what thousands of jobs claim is no longer than what they said.
    """
    described = [_describe(job, now) for job in listed if not job.ended]
    return [job for job in described if job is not None]


def _describe(job: Job, now: int) -> Optional[dict[str, Any]]:
    if job.claim is None:
        return None
    left = max(0, job.end_time - now) if job.end_time and job.time_limit_seconds is not None else None
    return {
        "job_id": job.job_id,
        "restart_count": job.restart_count,
        "user": job.user_name,
        "account": job.account,
        "partition": job.partition,
        "state": watch.state_of(job),
        "reason": job.reason,
        "cluster": job.claim.cluster,
        "computeset": job.claim.computeset,
        "nodes": job.claim.node_range,
        "vms": job.claim.vms,
        "hosts": list(job.hosts),
        "walltime_seconds": job.time_limit_seconds,
        "remaining_seconds": job.time_limit_seconds if job.pending else left,
    }
