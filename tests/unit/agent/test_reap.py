# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which jobs this host is no part of any more; that they are cleaned is proved in the lab."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Optional

import pytest
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.agent import reap
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.agent.journal import Journal
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.agent.record import JobRecord, Records
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.command import Commands, Result
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.model.errors import VcError

from tests.unit.agent.hosts import job, places
from tests.unit.agent.test_flush import one_fails

HERE = "hv1"


def here(job_id: int = 7) -> JobRecord:
    return dataclasses.replace(job(job_id), slurm_node=HERE)


def test_jobs_are_read_from_the_queue() -> None:
    assert reap.seen("8|COMPLETING|hv2\n 11|RUNNING|hv[1-2] \n12|PENDING|\n\nslurm: warning\nx|FAILED|hv1\n") == {
        8: reap.Seen("COMPLETING", ("hv2",)),
        11: reap.Seen("RUNNING", ("hv1", "hv2")),
        12: reap.Seen("PENDING", ()),
    }


@pytest.mark.parametrize(
    ("state", "hosts", "expected"),
    [
        ("RUNNING", ("hv1", "hv2"), False),
        ("SUSPENDED", ("hv1",), False),
        ("COMPLETING", ("hv1",), False),
        ("PENDING", (), False),
        # Nothing that can be compared.
        ("RUNNING", (), False),
        ("CANCELLED", (), True),
        ("NODE_FAIL", ("hv1",), True),
        # Taken out of a job that goes on, or ends, elsewhere.
        ("RUNNING", ("hv2",), True),
        ("COMPLETING", ("hv2",), True),
    ],
)
def test_what_the_queue_says_decides(state: str, hosts: tuple[str, ...], expected: bool) -> None:
    for age in (0.0, 1000.0):
        assert reap.over([(here(), age)], {7: reap.Seen(state, hosts)}) == ([7] if expected else [])


def test_a_record_of_an_earlier_release_does_not_know_what_slurm_calls_its_host() -> None:
    assert reap.over([(job(), 1000.0)], {7: reap.Seen("RUNNING", ("hv2",))}) == []


def test_a_job_that_is_not_in_the_queue_is_over_unless_it_is_new() -> None:
    assert reap.over([(here(7), 10.0), (here(9), 1000.0)], {}) == [9]


class Queue(Commands):
    """squeue."""

    def __init__(self, text: Optional[str]) -> None:
        super().__init__()
        self.text = text

    def run(self, argv: Sequence[str], stdin: str = "", timeout: float = 120.0, holding: Sequence[int] = ()) -> Result:
        assert argv[0] == "squeue"
        self.count += 1
        return Result(1, "", "slurm_load_jobs error: Unable to contact slurm controller") if self.text is None else Result(0, self.text, "")


def test_only_what_is_over_is_settled(tmp_path: Path) -> None:
    where = places(tmp_path)
    records = Records(where)
    for job_id in (7, 8):
        records.add(here(job_id))
    queue = Queue("7|RUNNING|hv[1-2]\n8|CANCELLED|\n")
    assert reap.reap(where, queue, Journal("test"))
    assert [found.job_id for found in records.all_jobs()] == [7]
    assert not reap.reap(where, queue, Journal("test"))


def test_a_job_that_cannot_be_settled_keeps_no_other_from_being(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    where = places(tmp_path)
    records = Records(where)
    for job_id in (7, 8):
        records.add(here(job_id))
    monkeypatch.setattr(reap, "settle", one_fails(7, reap.settle))
    assert reap.reap(where, Queue("7|CANCELLED|\n8|CANCELLED|\n"), Journal("test"))
    assert [found.job_id for found in records.all_jobs()] == [7]


def test_without_jobs_slurm_is_not_asked(tmp_path: Path) -> None:
    queue = Queue("")
    assert not reap.reap(places(tmp_path), queue, Journal("test"))
    assert queue.count == 0


def test_a_controller_that_does_not_answer_ends_nothing(tmp_path: Path) -> None:
    where = places(tmp_path)
    Records(where).add(here())
    with pytest.raises(VcError):
        reap.reap(where, Queue(None), Journal("test"))
    assert Records(where).of_job(7) == [here()]


def test_the_record_of_an_earlier_release_is_read(tmp_path: Path) -> None:
    where = places(tmp_path)
    Records(where).add(job())
    path = where.records / "7.0.json"
    data = json.loads(path.read_text())
    del data["slurm_node"]
    path.write_text(json.dumps(data))
    assert Records(where).of_job(7) == [job()]
