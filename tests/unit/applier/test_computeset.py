# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What vc_computeset decides and answers, with a queue that is given."""

from __future__ import annotations

import base64
import itertools
from collections.abc import Sequence
from typing import Any

from ansible_collections.hpc.virtual_cluster.plugins.module_utils.applier.computeset import ComputesetActions
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.command import Commands, Result
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.model.errors import VcError

from tests.unit.planner.computesets import cluster_dict, flood, node_dict, options


class Queue(Commands):
    """Answers with this queue, and to nothing else."""

    def __init__(self, listing: str) -> None:
        super().__init__()
        self.listing = listing

    def run(self, argv: Sequence[str], stdin: str = "", timeout: float = 120.0, holding: Sequence[int] = ()) -> Result:
        assert argv[:2] == ["squeue", "--json"]
        return Result(0, self.listing, "")


def predicted(listing: str, **changes: Any) -> dict[str, Any]:
    computeset = ComputesetActions(Queue(listing), options(**changes), "labuser", "/home/labuser")
    seen, error = computeset.answer(computeset.plan(), predicted=True)
    assert error is None
    return seen


def test_a_flooded_queue_does_not_flood_the_answer() -> None:
    seen = predicted(flood(300), nodes="compute[0-1]")
    assert (seen["state"], len(seen["rejected_jobs"])) == ("running", 100)
    assert seen["rejected_jobs"][0] == {"job_id": 1, "user": "otheruser", "computeset": "sim"}


def planned(**changes: Any) -> VcError:
    """Why nothing is planned, which a check says as a run does."""
    computeset = ComputesetActions(Queue('{"jobs": []}'), options(**changes), "labuser", "/home/labuser")
    plan = computeset.plan()
    assert not plan.actions
    (error,) = plan.errors
    return error


def test_what_slurm_or_the_kernel_would_not_take_is_refused_before_anything_is_submitted() -> None:
    names = ["".join(letters) + "x" * 25 for letters in itertools.product("ab", repeat=6)]
    cluster = cluster_dict(nodes=[node_dict(name, "compute", number) for number, name in enumerate(names)])
    error = planned(cluster=cluster, count=len(names))
    assert (error.code, error.item, error.tried) == ("invalid", "vc1/sim", "writing the job's comment")
    images = ",".join(f"image{number}-{'x' * 20}:1" for number in range(40))
    error = planned(cluster=None, vms=images)
    assert (error.code, error.item, error.tried) == ("invalid", "vms/sim", "writing the job's comment")
    assert "fewer images" in error.remedy
    blobs = [b"\0\0\0\x0bssh-ed25519\0\0\0\x20" + bytes([number]) * 32 for number in range(17)]
    keys = [f"ssh-ed25519 {base64.b64encode(blob).decode()} {'x' * 8000}" for blob in blobs]
    error = planned(cluster=None, vms="tiny:2", ssh_authorized_keys=keys)
    assert (error.code, error.item, error.tried) == ("invalid", "vms/sim", "writing the batch script")
    assert "fewer keys" in error.remedy
