# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Power switches of real guests: a compute goes off and on within its job; seen from libvirt, Slurm, the vault and the console."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.lab import in_process
from tests.lab.host import attempt, on
from tests.lab.vault import lease
from tests.lab.virtual_cluster import VirtualCluster, awaited, job_hosts

NODES = ("compute0", "compute1")


@pytest.fixture(scope="module")
def running(small: VirtualCluster) -> Iterator[int]:
    """The small cluster's two nodes on one hypervisor, in one job."""
    yield small.start(hosts=["hv1"], per_host=None)
    small.terminate()


def power(cluster: VirtualCluster, nodes: str = "compute0", check: bool = False, user: str = "labuser", **options: Any) -> dict[str, Any]:
    args = {"cluster": cluster.resolved, "nodes": nodes, "wait_timeout": 40, **options, "_ansible_check_mode": check}
    return in_process.answers("head", "vc_power", [args], user)[0]


def states(answer: dict[str, Any]) -> dict[str, str]:
    assert not answer.get("failed"), answer
    return {name: node["state"] for name, node in answer["nodes"].items()}


def boots(job: int, node: str) -> list[str]:
    """The boot ids that a guest's console tells, of its present QEMU."""
    return re.findall(r"READY .* boot_id=(\S+)", on("hv1", "cat", f"/var/lib/vc-scratch/job/{job}/{node}.console.log"))


def process(job: int, node: str) -> str:
    """The pid of a node's QEMU, empty when there is none."""
    pid = attempt("hv1", "cat", f"/run/vc/job/{job}/x/libvirt/qemu/run/{node}.pid").stdout.strip()
    return pid if pid and attempt("hv1", "test", "-d", f"/proc/{pid}").returncode == 0 else ""


def job_runs(job: int) -> bool:
    return on("head", "squeue", "-h", "-j", str(job), "-o", "%T").strip() == "RUNNING"


def test_off_and_on_within_the_job(small: VirtualCluster, running: int) -> None:
    epochs = {node: lease(small.name, node)["epoch"] for node in NODES}
    first = {node: boots(running, node)[-1] for node in NODES}
    assert states(power(small, "compute[0-1]", check=True, state="powered_off")) == dict.fromkeys(NODES, "off")
    assert all(process(running, node) for node in NODES)
    answer = power(small, "compute[0-1]", state="powered_off")
    assert states(answer) == dict.fromkeys(NODES, "off")
    assert [action["verb"] for action in answer["actions"]] == ["power_off", "power_off"]
    assert answer["diff"] == {
        "before": {f"{small.name}/{node}": {"state": "running"} for node in NODES},
        "after": {f"{small.name}/{node}": {"state": "off"} for node in NODES},
    }
    # Nobody runs, and yet the job stays, with its leases.
    assert not any(process(running, node) for node in NODES)
    awaited(lambda: all(lease(small.name, node)["state"] == "off" for node in NODES), "the vault to know")
    assert job_runs(running)
    assert {node: lease(small.name, node)["epoch"] for node in NODES} == epochs
    again = power(small, "compute[0-1]", state="powered_off")
    assert (again["changed"], again["actions"]) == (False, [])
    # A set with nodes switched off is no set that has ended, and none that is as it should be.
    seen = small.computeset(nodes="compute[0-1]", hosts=["hv1"], walltime="1h", grace="5s")
    assert seen["computeset"]["job_id"] == running
    assert seen["computeset"]["nodes"]["compute0"]["msg"] == "switched off on request"
    assert seen.get("failed")
    assert "vc_power" in seen["msg"]

    answer = power(small, "compute[0-1]", state="powered_on")
    assert answer["changed"]
    assert states(answer) == dict.fromkeys(NODES, "running")
    assert job_runs(running)
    assert all(boots(running, node) and boots(running, node)[-1] != first[node] for node in NODES)
    assert {node: lease(small.name, node)["epoch"] for node in NODES} == epochs
    assert power(small, "compute[0-1]", state="powered_on")["changed"] is False
    # What the guest had written before is there: its disk was not made anew.
    assert on("hv1", "ls", f"/var/lib/vc-scratch/job/{running}").split().count("compute0.qcow2") == 1


def test_shutdown_asks_the_guest(small: VirtualCluster, running: int) -> None:
    assert states(power(small, state="shutdown")) == {"compute0": "off"}
    assert "STOPPING" in on("hv1", "cat", f"/var/lib/vc-scratch/job/{running}/compute0.console.log")
    assert process(running, "compute1")
    assert states(power(small, state="powered_on")) == {"compute0": "running"}


def test_reboot_and_reset_boot_anew(small: VirtualCluster, running: int) -> None:
    before, pid = boots(running, "compute0"), process(running, "compute0")
    assert states(power(small, action="reset")) == {"compute0": "running"}
    # The same QEMU, another boot.
    assert process(running, "compute0") == pid
    assert boots(running, "compute0")[:-1] == before
    assert states(power(small, action="reboot")) == {"compute0": "running"}
    after = boots(running, "compute0")
    assert len(after) == 1
    assert after[0] not in before
    assert power(small, action="reboot", check=True)["changed"]


@pytest.fixture
def suspended(small: VirtualCluster, running: int) -> str:
    """A node that QEMU has stopped, as it does when its disk fails."""
    socket = f"qemu+unix:///session?socket=/run/vc/job/{running}/x/libvirt/libvirt-sock"
    virsh = ["virsh", "-q", "-c", socket]
    on("hv1", *virsh, "suspend", "compute0", user=small.owner)
    awaited(lambda: lease(small.name, "compute0")["state"] == "suspended", "the vault to know")
    return "compute0"


def test_a_suspended_guest_is_told_so_and_goes_on(small: VirtualCluster, running: int, suspended: str) -> None:
    boot = boots(running, suspended)
    answer = power(small, state="shutdown")
    assert (answer["error_code"], answer["changed"]) == ("conflict", False)
    assert answer["nodes"][suspended]["state"] == "suspended"
    assert states(power(small, state="powered_on")) == {suspended: "running"}
    assert boots(running, suspended) == boot


def test_a_guest_that_ignores_its_button(small: VirtualCluster, running: int) -> None:
    """A QEMU that hangs: it notices nothing, and holds up nobody else."""
    hanging = process(running, "compute1")
    on("hv1", "kill", "-STOP", hanging)
    answer = power(small, "compute[0-1]", state="shutdown", wait_timeout=4)
    # Else it would find the button pressed when it goes on.
    on("hv1", "kill", "-KILL", hanging)
    results = {entry["name"]: entry for entry in answer["results"]}
    assert answer["error_code"] == "timeout"
    assert results[f"{small.name}/compute0"]["state"] == "shutdown"
    assert results[f"{small.name}/compute1"]["state"] == "failed"
    assert (answer["nodes"]["compute0"]["state"], process(running, "compute0")) == ("off", "")
    # Who asks before the agent has seen it end is told that it runs.
    awaited(lambda: lease(small.name, "compute1")["state"] == "crashed", "the vault to know")
    assert states(power(small, "compute[0-1]", state="powered_on")) == dict.fromkeys(NODES, "running")


def test_force_is_for_a_guest_that_does_not_react(small: VirtualCluster, running: int) -> None:
    """While it boots it does not notice its button."""
    states(power(small, action="reset", wait=False))
    assert states(power(small, state="shutdown", wait_timeout=1, on_timeout="force")) == {"compute0": "off"}
    assert "STOPPING" not in on("hv1", "cat", f"/var/lib/vc-scratch/job/{running}/compute0.console.log")
    assert states(power(small, state="powered_on")) == {"compute0": "running"}


def test_refusals_touch_nothing(small: VirtualCluster, running: int) -> None:
    states(power(small, "compute[0-1]", state="powered_on"))
    pids = [process(running, node) for node in NODES]
    for answer, code in (
        (power(small, "compute[0-1],compute7", state="powered_off"), "unknown"),
        (power(small, state="powered_off", user="otheruser"), "forbidden"),
        (power(small, state="powered_off", user=""), "forbidden"),
    ):
        assert (answer["failed"], answer["error_code"], answer["changed"]) == (True, code, False)
    assert [process(running, node) for node in NODES] == pids


def test_a_node_that_is_killed_is_switched_on_again(small: VirtualCluster, running: int) -> None:
    on("hv1", "kill", "-KILL", process(running, "compute0"))
    awaited(lambda: lease(small.name, "compute0")["state"] == "crashed", "the vault to know")
    assert states(power(small, state="powered_on")) == {"compute0": "running"}


def test_terminating_a_set_that_is_switched_off_ends_its_job(small: VirtualCluster, running: int) -> None:
    states(power(small, "compute[0-1]", state="powered_off"))
    small.terminate()
    assert job_hosts(running) == []
    assert power(small, state="powered_on")["error_code"] == "conflict"
    assert power(small, state="powered_off")["changed"] is False
