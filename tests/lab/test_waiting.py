# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A set that cannot start says why, and the wait ends as it was told to; a set of any size costs the same number of processes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.lab.host import attempt, on
from tests.lab.virtual_cluster import VirtualCluster, cancel, define, forget

COUNTED = ("sbatch", "squeue", "scontrol", "sacct", "scancel", "srun", "sacctmgr", "sinfo", "sprio")
LOG = "/tmp/vc-proof-executed"


@pytest.fixture
def closed_partition(demo: None) -> Iterator[None]:
    """Nothing starts: what is submitted stays pending, with a reason."""
    partition = on("head", "sinfo", "-h", "-o", "%R").split()[0]
    on("head", "scontrol", "update", f"partition={partition}", "state=down")
    yield
    on("head", "scontrol", "update", f"partition={partition}", "state=up")


@pytest.mark.usefixtures("closed_partition")
@pytest.mark.parametrize("on_timeout", ["leave", "cancel"])
def test_a_set_that_cannot_start_is_told_with_slurms_reason(small: VirtualCluster, on_timeout: str) -> None:
    answer = small.computeset(nodes="compute0", walltime="1h", wait_timeout=3, on_timeout=on_timeout)
    job = int(answer["computeset"]["job_id"])
    try:
        assert answer.get("failed")
        assert answer["error_code"] == "timeout"
        assert "PartitionDown" in answer["msg"]
        assert f"{small.name}/set" in answer["msg"]
        assert answer["computeset"]["reason"] == "PartitionDown"
        queued = attempt("head", "squeue", "-h", "-j", str(job), "-t", "PD", "-o", "%T").stdout.split()
        assert queued == (["PENDING"] if on_timeout == "leave" else [])
        assert answer["computeset"]["state"] == ("pending" if on_timeout == "leave" else "cancelled")
    finally:
        cancel(job)


def test_a_used_up_allocation_is_told(small: VirtualCluster) -> None:
    on("head", "sacctmgr", "-i", "modify", "account", "physics", "set", "GrpTRES=cpu=0")
    try:
        answer = small.computeset(nodes="compute0", walltime="1h", wait_timeout=3, on_timeout="cancel")
        assert answer.get("failed")
        assert "AssocGrp" in answer["msg"]
        assert "Remedy:" in answer["msg"]
    finally:
        on("head", "sacctmgr", "-i", "modify", "account", "physics", "set", "GrpTRES=cpu=-1")


@pytest.fixture
def counting(demo: None) -> Iterator[None]:
    """Every Slurm command on the submit host leaves a line before it runs; the collection's own PATH begins where these are put."""
    for name in COUNTED:
        real = on("head", "sh", "-c", f"command -v {name}").strip()
        script = f'#!/bin/sh\necho "$(id -un) {name} $*" >> {LOG}\nexec {real} "$@"\n'
        on("head", "sh", "-c", f"cat > /usr/local/sbin/{name} && chmod 755 /usr/local/sbin/{name}", stdin=script)
    on("head", "sh", "-c", f": > {LOG} && chmod 666 {LOG}")
    yield
    on("head", "rm", "-f", LOG, *(f"/usr/local/sbin/{name}" for name in COUNTED))


@pytest.fixture(scope="module")
def large(demo: None) -> Iterator[VirtualCluster]:
    cluster = define("large", 64, "10.13.0.0/24")
    yield cluster
    forget(cluster)


def executed() -> list[str]:
    lines = on("head", "cat", LOG).splitlines()
    on("head", "sh", "-c", f": > {LOG}")
    return [line.split()[1] for line in lines if line.startswith("labuser ")]


@pytest.mark.usefixtures("closed_partition", "counting")
def test_the_same_number_of_processes_for_1_8_and_64_nodes(large: VirtualCluster) -> None:
    started, found, removed = {}, {}, {}
    for size in (1, 8, 64):
        options: dict[str, Any] = {"nodes": f"compute[0-{size - 1}]" if size > 1 else "compute0", "walltime": "1h", "wait": False}
        first = large.computeset(**options)
        started[size] = executed()
        assert first.get("computeset", {}).get("state") == "pending", first
        second = large.computeset(**options)
        found[size] = executed()
        assert second["changed"] is False
        large.computeset(state="absent", wait=False)
        removed[size] = executed()
    for counted in (started, found, removed):
        assert counted[1], "the count sees nothing, so it proves nothing"
        assert counted[1] == counted[8] == counted[64]
