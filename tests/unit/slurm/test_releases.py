# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The same jobs, as Slurm 22.05 (Debian 12) and Slurm 24.11 (Debian 13) listed them: every reader says of them what was done to them."""

from __future__ import annotations

import json

import pytest
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.slurm import jobs

from tests.unit.slurm.transcript import ACCOUNTS, SAMPLE, Replay

HOSTS = {"22.05": ("hv1", "hv2"), "24.11": ("trixie",)}
# State, reason, time limit, and how accounting says it ended.
EXPECTED = {
    "vc-vc1-sim": ("RUNNING", "", 3600, None),
    "slow": ("TIMEOUT", "TimeLimit", 60, jobs.Ended("TIMEOUT", 0, 0)),
    "done": ("COMPLETED", "", 300, jobs.Ended("COMPLETED", 0, 0)),
    "fails": ("FAILED", "NonZeroExitCode", 300, jobs.Ended("FAILED", 3, 0)),
    "held": ("PENDING", "JobHeldUser", 5 * 86400, None),
    "killed": ("CANCELLED", "", 300, jobs.Ended("CANCELLED", 0, 0)),
    "odd name|x": ("CANCELLED", "", 300, jobs.Ended("CANCELLED", 0, 0)),
}
releases = pytest.mark.parametrize("release", HOSTS)


def listing(release: str) -> dict[str, jobs.Job]:
    return {job.name: job for job in jobs.read(Replay(release))}


@releases
def test_the_recording_is_of_that_release(release: str) -> None:
    said = json.loads(jobs_text(release))
    version = said["meta"].get("slurm") or said["meta"]["Slurm"]
    assert version["release"].startswith(f"{release}.")


def jobs_text(release: str) -> str:
    return str(next(entry["out"] for argv, entry in Replay(release).said.items() if "--json" in argv))


@releases
def test_the_listing(release: str) -> None:
    found = listing(release)
    assert found.keys() == SAMPLE.keys() == EXPECTED.keys()
    for name, (state, reason, limit, _ended) in EXPECTED.items():
        job = found[name]
        assert (job.state, job.reason, job.time_limit_seconds) == (state, reason, limit), name
        assert job.user_name == SAMPLE[name][0]
        assert job.account == ACCOUNTS[job.user_name]
        assert job.restart_count == 0
        assert job.partition == "vc"
        if state == "PENDING":
            assert (job.hosts, job.pending, job.ended) == ((), True, False)
        else:
            assert job.hosts[0] in HOSTS[release]
            assert not job.pending
            assert job.start_time > 1_700_000_000
            assert job.ended is (state != "RUNNING")
    ours = found["vc-vc1-sim"]
    assert ours.hosts == HOSTS[release]
    assert ours.end_time == ours.start_time + 3600
    assert ours.claim is not None
    assert (ours.claim.cluster, ours.claim.computeset, ours.claim.nodes) == ("vc1", "sim", ("compute0", "compute1"))
    assert found["odd name|x"].claim is None


@releases
def test_the_cheap_look_agrees_with_the_listing(release: str) -> None:
    slurm = Replay(release)
    for job in listing(release).values():
        seen = jobs.look(slurm, job.job_id)
        assert seen is not None
        for field in ("job_id", "user_name", "account", "name", "states", "reason", "hosts", "time_limit_seconds", "batch_host"):
            assert getattr(seen, field) == getattr(job, field), (job.name, field)
    assert jobs.look(slurm, 999999) is None


@releases
def test_accounting(release: str) -> None:
    slurm = Replay(release)
    for name, job in listing(release).items():
        assert jobs.ended(slurm, job.job_id) == EXPECTED[name][3], name
    assert jobs.ended(slurm, 999999) is None
