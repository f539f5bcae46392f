# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Guests as Slurm jobs on Debian 13, whose Slurm lists jobs and its configuration in other shapes than Debian 12's."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from tests.debian13.conftest import HOST
from tests.lab import forgery, snapshot, versions
from tests.lab.guest import QEMUS
from tests.lab.host import DEBIAN13, UIDS, on, play, python
from tests.lab.recap import changes, totals
from tests.lab.virtual_cluster import VirtualCluster, awaited, cancel

ONE = {"nodes": "compute0", "per_host": None}


@pytest.mark.usefixtures("site")
def test_it_is_another_slurm() -> None:
    assert versions.differing("13", HOST) == {}
    assert on(HOST, "scontrol", "--version").split()[1].startswith("24.11.")
    assert on(HOST, "scontrol", "show", "config").count("Prolog[0]") == 1


@pytest.mark.usefixtures("site")
def test_a_second_run_changes_nothing() -> None:
    for playbook in ("site.yml", "comet.yml"):
        said = play(playbook, inventory=DEBIAN13).stdout
        assert changes(said) == []
        assert totals(said) == {"changed": 0, "unreachable": 0, "failed": 0}


@pytest.mark.usefixtures("site")
def test_settings_that_are_missing_are_told_as_lines_for_slurm_conf() -> None:
    wrong = {"slurm_integration_prolog_dir": "/etc/slurm/elsewhere.d"}
    done = play("site.yml", "--tags=slurm", "--check", check=False, inventory=DEBIAN13, **wrong)
    assert done.returncode != 0
    assert "Prolog=/etc/slurm/elsewhere.d/*" in done.stdout
    assert "PrologFlags=" not in done.stdout.split("Put these lines")[1]


@pytest.mark.usefixtures("site")
def test_guests_run_as_the_owner_in_the_job() -> None:
    job = on(HOST, "squeue", "-h", "-n", "vc-next-sim", "-t", "R", "-o", "%i %u %a").split()
    assert job[1:] == ["labuser", "physics"]
    found = python(HOST, QEMUS)
    assert len(found) == 2
    for process in found:
        assert set(process["uids"]) == {str(UIDS["labuser"])}
        assert f"job-{job[0]}" in process["cgroup"]
    for name in ("compute0", "compute1"):
        console = on(HOST, "cat", f"/var/lib/vc-scratch/job/{job[0]}/{name}.console.log")
        assert f"READY {name} " in console


@pytest.mark.usefixtures("site")
def test_status_reads_this_releases_listing() -> None:
    said = play("status.yml", inventory=DEBIAN13).stdout
    for name in ("compute0", "compute1"):
        assert re.search(rf"next +{name} +compute +running +sim +{HOST} .* [0-9]+m", said), said


ENDS: dict[str, Callable[[VirtualCluster, int], None]] = {
    "terminate": lambda cluster, job: cluster.terminate(),
    "scancel": lambda cluster, job: cancel(job, HOST),
}


@pytest.mark.parametrize("end", ENDS)
def test_nothing_is_left_of_a_set_that_ended(small: VirtualCluster, end: str) -> None:
    before = snapshot.take((HOST,))
    job = small.start(**ONE)
    assert snapshot.take((HOST,)).changes_since(before)
    ENDS[end](small, job)
    snapshot.unchanged(before, hosts=(HOST,))
    state = awaited(lambda: accounted(job), "the job's end in accounting")
    assert state == {"terminate": "COMPLETED", "scancel": "CANCELLED"}[end]


def accounted(job: int) -> str:
    state = on(HOST, "sacct", "-n", "-X", "-P", "-j", str(job), "-o", "State").split()
    return state[0] if state and state[0] not in {"RUNNING", "COMPLETING"} else ""


def test_a_set_that_runs_is_found_again(small: VirtualCluster) -> None:
    job = small.start(**ONE)
    try:
        again: dict[str, Any] = small.computeset(nodes="compute0", walltime="1h")
        assert again["changed"] is False
        assert again["computeset"]["job_id"] == job
        assert again["computeset"]["nodes"]["compute0"]["state"] == "running"
        assert again["computeset"]["nodes"]["compute0"]["host"] == HOST
        with forgery.forged(small, job, HOST) as (rejected, answers):
            forgery.got_nothing(answers)
            listed = small.computeset(nodes="compute0", walltime="1h")["computeset"]
            assert listed["job_id"] == job
            assert [entry["job_id"] for entry in listed["rejected_jobs"]] == [rejected]
    finally:
        small.terminate()
