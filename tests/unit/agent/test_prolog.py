# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whose job it is, what its comment claims, and whether the host is fit."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.agent import prolog
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.agent.record import Records

from tests.unit.agent.hosts import BOOT, USER, job, node, places
from tests.unit.hostile import HOSTILE, NOT_TEXT
from tests.unit.refusal import refused

_ENV = {
    "SLURM_JOB_ID": "7",
    "SLURM_JOB_UID": str(USER),
    "SLURM_JOB_USER": "labuser",
    "SLURM_JOB_ACCOUNT": "physics",
    "SLURM_JOB_COMMENT": '{"vc":"vc1","set":"sim","nodes":"compute[0-1]","v":1}',
}


def test_the_record_of_a_job_that_claims_a_cluster() -> None:
    assert prolog.job_record(_ENV, BOOT) == job()
    there = prolog.job_record({**_ENV, "SLURMD_NODENAME": "hv1"}, BOOT)
    assert there is not None
    assert there.slurm_node == "hv1"
    again = prolog.job_record({**_ENV, "SLURM_RESTART_COUNT": "2"}, BOOT)
    assert again is not None
    assert again.stem == "7.2"


@pytest.mark.parametrize("comment", ["", "hello", "[]", "{}", '"vc"', '{"vc":', "null", "1", '{"vc":' + "[" * 100_000])
def test_jobs_without_a_claim_are_none_of_ours(comment: str) -> None:
    assert prolog.job_record({**_ENV, "SLURM_JOB_COMMENT": comment}, BOOT) is None


@pytest.mark.parametrize("name", [*HOSTILE.values(), *(value for value in NOT_TEXT.values() if not isinstance(value, bytes))])
def test_a_claim_that_is_no_name_claims_nothing(name: object) -> None:
    assert prolog.claimed_cluster(json.dumps({"vc": name}), 7, 0) == ""


def test_a_job_claims_its_own_cluster_and_nobody_elses() -> None:
    own = {**_ENV, "SLURM_JOB_COMMENT": json.dumps({"vc": "job%j"})}
    for env, cluster in ((own, "job7"), ({**own, "SLURM_RESTART_COUNT": "2"}, "job7-2")):
        record = prolog.job_record(env, BOOT)
        assert record is not None
        assert record.cluster == cluster
    for other in ("job8", "job7"):
        assert prolog.job_record({**_ENV, "SLURM_JOB_COMMENT": json.dumps({"vc": other})}, BOOT) is None


def test_what_an_earlier_run_has_left_is_not_thrown_away(tmp_path: Path) -> None:
    where = places(tmp_path)
    prolog.check_leftovers(where, 7)
    records = Records(where)
    records.add(job())
    records.add_node(node())
    refused("in_use", prolog.check_leftovers, where, 7)
    prolog.check_leftovers(where, 8)


def test_the_jobs_directories_are_new_and_its_users(tmp_path: Path) -> None:
    where = places(tmp_path)
    for left in (where.job_directory(7), where.overlay_directory(7)):
        left.mkdir()
        (left / "of a job before").touch()
    prolog.make_directories(where, job())
    for made in (where.job_directory(7), where.overlay_directory(7)):
        assert list(made.iterdir()) == []
        assert (made.stat().st_uid, made.stat().st_mode & 0o777) == (USER, 0o700)


def test_an_unfit_host_says_why(tmp_path: Path) -> None:
    where = places(tmp_path)
    host = tmp_path / "host.json"
    assert "host.json" in str(refused("backend", prolog.check_fitness, where, host))
    host.write_text('{"schema": 1, "overlay": null}')
    assert "vc-host.socket" in str(refused("backend", prolog.check_fitness, where, host))
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(where.host_socket))
        prolog.check_fitness(where, host)


def test_records_are_written_found_withdrawn_and_removed(tmp_path: Path) -> None:
    records = Records(places(tmp_path))
    records.add(job())
    records.add_node(node())
    assert records.find(7, 0) == job()
    assert records.node(job(), "compute0") == node()
    assert records.nodes(7) == [node()]
    records.withdraw(job())
    refused("unknown", records.find, 7, 0)
    assert records.of_job(7) == [job()]
    assert records.of_job(70) == []
    records.remove_node(node())
    records.remove(job())
    assert [str(path) for path in tmp_path.rglob("*") if not path.is_dir()] == []
    assert not records.directory(job()).exists()


def test_node_records_outlive_a_reboot(tmp_path: Path) -> None:
    where = places(tmp_path)
    Records(where).add(job())
    records = Records(where)
    records.add(job())
    records.add_node(node())
    for path in sorted(where.run.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    assert Records(where).all_nodes() == [node()]


def test_one_call_of_a_job_at_a_time(tmp_path: Path) -> None:
    records = Records(places(tmp_path))
    records.add(job())
    with records.lock(job(), 0.1) as first, records.lock(job(), 0.1) as second:
        assert (first, second) == (True, False)
    with records.lock(job(), 0.1) as third:
        assert third
