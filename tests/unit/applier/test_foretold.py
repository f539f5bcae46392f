# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Check mode of vc_computeset where the set is there already: it says what a run then answers, which may have waited."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.applier.computeset import ComputesetActions
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.command import Commands, Result

from tests.unit.planner.computesets import options

PENDING, RUNNING, COMPLETING, GONE = "PENDING", "RUNNING", "COMPLETING", "GONE"
# As docs/contract.md has it.
UNPREDICTED = ("reason", "remaining_seconds")


class Queue(Commands):
    """One job of the set, in this state of Slurm's; `guest` is that of its second node."""

    def __init__(self, state: str, guest: str = "running", reason: str = "None") -> None:
        super().__init__()
        self.state, self.guest, self.reason, self.limit, self.first = state, guest, reason, "1:00:00", "running"

    def run(self, argv: Sequence[str], stdin: str = "", timeout: float = 120.0, holding: Sequence[int] = ()) -> Result:
        hosts = "" if self.state == PENDING else "hv1"
        if argv[0] == "squeue" and "--json" in argv:
            comment = json.dumps({"vc": "vc1", "set": "sim", "nodes": "compute[0-1]", "v": 1})
            job = {"job_id": 7, "user_name": "labuser", "account": "physics", "job_state": self.state, "nodes": hosts, "time_limit": 60}
            return Result(0, json.dumps({"jobs": [{**job, "comment": comment}]}), "")
        if argv[0] == "squeue":
            line = f"7|{self.state}|{self.reason}|{hosts}|{self.limit}|{self.limit}|labuser|physics|{hosts}|vc-vc1-sim\n"
            return Result(1, "", "slurm_load_jobs error: Invalid job id specified") if self.state == GONE else Result(0, line, "")
        if argv[0] == "srun":
            nodes = {"compute0": {"state": self.first}, "compute1": {"state": self.guest}}
            return Result(0, json.dumps({"host": "hv1", "nodes": nodes}), "")
        if argv[0] == "sacct":
            return Result(0, "7|COMPLETED|0:0\n", "")
        assert argv[:3] == ["scontrol", "update", "JobId=7"]
        self.limit = "2:00:00"
        return Result(0, "", "")


def answer(queue: Queue, check: bool, becomes: Queue, **changes: Any) -> dict[str, Any]:
    """Of a call that finds `queue`, which is `becomes` by the time it has waited."""
    computeset = ComputesetActions(queue, {**options(nodes="compute[0-1]"), **changes}, "labuser", "/home/labuser")
    plan = computeset.plan()
    assert not plan.errors
    if not check:
        if plan.actions:
            computeset.apply(plan.actions, lambda _action: None)
        queue.state, queue.guest, queue.reason = becomes.state, becomes.guest, becomes.reason
    seen, error = computeset.answer(plan, check)
    assert error is None
    for node in seen["nodes"].values():
        node["host"] = ""
    return {key: value for key, value in seen.items() if key not in UNPREDICTED}


UP = Queue(RUNNING)


@pytest.mark.parametrize(
    ("changes", "found", "becomes", "state"),
    [
        ({}, Queue(PENDING, reason="Resources"), UP, "running"),
        ({}, Queue(RUNNING, "booting"), UP, "running"),
        ({}, Queue(RUNNING, reason="Prolog"), UP, "running"),
        ({}, UP, UP, "running"),
        ({"wait": False}, Queue(PENDING, reason="Resources"), Queue(PENDING), "pending"),
        ({"wait": False}, Queue(RUNNING, "booting"), Queue(RUNNING, "booting"), "starting"),
        ({"walltime": "2h"}, Queue(PENDING), UP, "running"),
        ({"walltime": "2h", "wait": False}, Queue(PENDING), Queue(PENDING), "pending"),
        ({"state": "absent", "nodes": None}, Queue(COMPLETING), Queue(GONE), "absent"),
        ({"state": "absent", "nodes": None, "wait": False}, Queue(COMPLETING), Queue(COMPLETING), "stopping"),
    ],
)
def test_check_mode_says_what_a_run_answers(changes: dict[str, Any], found: Queue, becomes: Queue, state: str) -> None:
    foretold, answered = (answer(Queue(found.state, found.guest, found.reason), check, becomes, **changes) for check in (True, False))
    assert foretold["state"] == state
    assert foretold == answered


@pytest.mark.parametrize(
    ("found", "state", "node"),
    [
        (Queue(PENDING, reason="BadConstraints"), "pending", "queued"),
        (Queue(RUNNING, "crashed"), "running", "crashed"),
        (Queue(RUNNING, "off"), "running", "off"),
    ],
)
def test_what_no_waiting_cures_is_not_called_running(found: Queue, state: str, node: str) -> None:
    seen = answer(found, True, found)
    assert (seen["state"], seen["nodes"]["compute1"]["state"]) == (state, node)


def test_a_running_set_with_another_walltime_is_told_as_one() -> None:
    queue = Queue(RUNNING)
    computeset = ComputesetActions(queue, options(nodes="compute[0-1]", walltime="30m", wait=False), "labuser", "/home/labuser")
    seen, _error = computeset.answer(computeset.plan(), True)
    assert (seen["state"], seen["walltime_seconds"], seen["nodes"]["compute0"]["host"]) == ("running", 1800, "hv1")
    assert 1790 <= seen["remaining_seconds"] <= 1800


def test_a_set_whose_agents_are_stopping_is_not_asked_again() -> None:
    """To Slurm its job runs."""
    queue = Queue(RUNNING, "stopping")
    queue.first = "stopping"
    computeset = ComputesetActions(queue, {**options(), "state": "absent", "nodes": None, "wait": False}, "labuser", "/home/labuser")
    plan = computeset.plan()
    assert not plan.actions
    seen, error = computeset.answer(plan, False)
    assert (seen["state"], error) == ("stopping", None)
