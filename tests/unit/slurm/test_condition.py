# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What agents' answers make of a job that Slurm calls running."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Optional

import pytest
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.command import Commands, Result
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.slurm.condition import Condition, conditions
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.slurm.jobs import Job

from tests.unit.planner.computesets import job

NOW = 2000
LONG_AGO = 1000
HERE = ("hv1", "hv2")


class Agents(Commands):
    """srun, with one answer per host; None for a host that says nothing."""

    def __init__(self, *answers: Optional[dict[str, Any]]) -> None:
        super().__init__()
        self.answers = answers

    def run(self, argv: Sequence[str], stdin: str = "", timeout: float = 120.0, holding: Sequence[int] = ()) -> Result:
        assert argv[0] == "srun"
        self.count += 1
        lines = [json.dumps(answer) for answer in self.answers if answer is not None]
        return Result(0 if len(lines) == len(self.answers) else 1, "\n".join(lines), "srun: error: hv2: timed out")


def agent(state: str, number: int = 0, **changes: Any) -> dict[str, Any]:
    return {"ok": True, "host": "hv1", "nodes": {f"compute{number}": {"state": state}}, **changes}


EMPTY = {"ok": True, "nodes": {}, "msg": "no agent on hv1"}
HELD = {"ok": True, "host": "hv1", "nodes": {"compute0": {"state": "stopping", "asked": "shutdown"}}}


def found(running: Job, *answers: Optional[dict[str, Any]], now: int = NOW) -> Optional[Condition]:
    return conditions(Agents(*answers), [running], now).get(running.job_id)


@pytest.mark.parametrize(
    ("answers", "condition"),
    [
        ([agent("running"), agent("running", 1)], None),
        ([agent("booting"), EMPTY], None),
        ([agent("stopping"), agent("running", 1)], None),
        ([agent("stopping"), agent("off", 1)], Condition.GOING),
        ([agent("off", ended=True), agent("crashed", 1, ended=True)], Condition.GOING),
        # Switched off on request, and kept.
        ([agent("off"), agent("off", 1)], None),
        ([HELD, agent("off", 1)], None),
        ([EMPTY, EMPTY], Condition.DEAD),
        # Cut off, perhaps: that says nothing about its guests.
        ([EMPTY, None], None),
        ([None, None], None),
    ],
)
def test_a_job_with_all_its_hosts(answers: list[Optional[dict[str, Any]]], condition: Optional[Condition]) -> None:
    assert found(job(5, start_time=LONG_AGO, hosts=HERE, batch_host="hv1"), *answers) is condition


def test_a_job_that_has_just_begun_is_not_dead() -> None:
    for start in (NOW - 30, 0):
        assert found(job(5, start_time=start, hosts=HERE, batch_host="hv1"), EMPTY, EMPTY) is None


@pytest.mark.parametrize(
    ("answer", "condition"),
    [
        (agent("running"), Condition.BROKEN),
        (agent("booting"), Condition.BROKEN),
        (agent("crashed", ended=True), Condition.DEAD),
        (EMPTY, Condition.DEAD),
        (None, Condition.DEAD),
    ],
)
def test_a_job_that_lost_the_host_of_its_batch_script(answer: Optional[dict[str, Any]], condition: Condition) -> None:
    assert found(job(5, start_time=NOW - 5, hosts=("hv2",), batch_host="hv1"), answer) is condition


@pytest.mark.parametrize(
    "changes",
    [
        {"states": frozenset({"PENDING"}), "hosts": ()},
        {"states": frozenset({"COMPLETING"})},
        {"states": frozenset({"COMPLETED"})},
        {"reason": "Prolog"},
        {"states": frozenset({"RUNNING", "CONFIGURING"})},
    ],
)
def test_only_what_runs_is_asked(changes: dict[str, Any]) -> None:
    commands = Agents(EMPTY)
    given: dict[str, Any] = {"hosts": ("hv2",), "batch_host": "hv1", "start_time": LONG_AGO, **changes}
    assert conditions(commands, [job(5, **given)], NOW) == {}
    assert commands.count == 0
