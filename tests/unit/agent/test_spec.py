# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which node runs where, as every agent of a job works it out by itself."""

from __future__ import annotations

import json

import pytest
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.agent import job, spec
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.model.version import VERSION
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.slurm import script
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.refusal import refused

_SUBMITTED = script.Spec(VERSION, "vc1", "sim", ("compute0", "compute1", "compute2"), 20)


def read(**changes: object) -> spec.JobSpec:
    return spec.read_spec({"VC_SPEC": json.dumps({**_SUBMITTED.to_dict(), **changes})})


def test_what_is_submitted_is_what_is_read() -> None:
    assert read() == spec.JobSpec("vc1", "sim", ("compute0", "compute1", "compute2"), 20)


def test_a_jobs_own_cluster_is_named_after_it() -> None:
    vms = {"images": "tiny:2", "cpus": 1, "memory_mib": 128, "ssh_authorized_keys": []}
    own = {**_SUBMITTED.to_dict(), "cluster": "job%j", "nodes": ["vm0", "vm1"], "vms": vms}
    found = spec.read_spec({"VC_SPEC": json.dumps(own), "SLURM_JOB_ID": "7", "SLURM_RESTART_COUNT": "1"})
    assert (found.cluster, found.nodes) == ("job7-1", ("vm0", "vm1"))
    assert found.vms is not None
    assert found.vms.to_dict() == vms
    refused("invalid", read, vms=vms)
    refused("invalid", read, nodes=["vm0", "vm1"], vms={**vms, "images": "tiny:3"})
    refused("invalid", read, nodes=["vm0", "vm1"], vms="tiny:2")


def test_another_release_is_told_what_to_do() -> None:
    assert VERSION in str(refused("version", read, version="9.9.9"))


@pytest.mark.parametrize(
    "wrong", [{"nodes": []}, {"nodes": ["a b"]}, {"nodes": 5}, {"grace_seconds": 0}, {"grace_seconds": True}, {"cluster": "../x"}]
)
def test_nonsense_is_refused(wrong: dict[str, object]) -> None:
    refused("invalid", read, **wrong)
    refused("duplicate", read, nodes=["compute0", "compute0"])
    refused("invalid", spec.read_spec, {})


def folded(counts: list[int]) -> str:
    """As Slurm writes it."""
    parts: list[list[int]] = []
    for count in counts:
        if parts and parts[-1][0] == count:
            parts[-1][1] += 1
        else:
            parts.append([count, 1])
    return ",".join(f"{count}(x{times})" if times > 1 else str(count) for count, times in parts)


@given(st.lists(st.integers(1, 9), min_size=1, max_size=12))
def test_every_node_runs_on_exactly_one_host(counts: list[int]) -> None:
    assert spec.tasks_per_host(folded(counts)) == counts
    wanted = spec.JobSpec("vc1", "sim", tuple(f"n{number}" for number in range(sum(counts))), 20)
    placed = [spec.nodes_of_host(wanted, counts, host) for host in range(len(counts))]
    assert [name for names in placed for name in names] == list(wanted.nodes)
    assert [len(names) for names in placed] == counts


@pytest.mark.parametrize("text", ["", "0", "2(x0)", "2(x", "a", "1,,2", "-1", "1 ,2"])
def test_a_layout_that_slurm_does_not_write(text: str) -> None:
    refused("invalid", spec.tasks_per_host, text)


def test_more_nodes_than_tasks_and_hosts_that_are_none_of_the_job() -> None:
    refused("invalid", spec.nodes_of_host, read(), [1, 1], 0)
    refused("invalid", spec.nodes_of_host, read(), [2, 1], 2)


def test_hosts_beyond_the_nodes_have_nothing_to_do() -> None:
    assert spec.nodes_of_host(read(), [3, 2], 1) == ()


def test_a_step_has_one_task_per_host_whatever_the_number_of_guests() -> None:
    argv = job.step_argv(64, True, job.AGENT, "run")
    assert "--ntasks=64" in argv
    assert "--ntasks-per-node=1" in argv
    assert "--cpu-bind=none" in argv
    assert "--cpu-bind=none" not in job.step_argv(64, False, job.AGENT, "run")
    assert argv[-2:] == [job.AGENT, "run"]


def test_what_is_read_of_a_sites_configuration() -> None:
    lines = [
        "KillOnBadExit   = 0",
        "KillWait        = 30 sec",
        "TaskPlugin      = task/cgroup,task/affinity",
        "TaskPluginParam = (null type)",
    ]
    text = "\n".join(lines)
    assert job.Site.from_config(text) == job.Site(binds=True, kill_wait=30)
    assert job.Site.from_config(text.replace("task/cgroup,task/affinity", "task/none")) == job.Site(binds=False, kill_wait=30)
    assert job.Site.from_config("slurm_load_ctl_conf error: Unable to contact slurm controller") == job.Site()
