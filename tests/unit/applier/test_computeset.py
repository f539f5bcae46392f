# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What vc_computeset decides and answers, with a queue that is given."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ansible_collections.hpc.virtual_cluster.plugins.module_utils.applier.computeset import ComputesetActions
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.command import Commands, Result

from tests.unit.planner.computesets import flood, options


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
