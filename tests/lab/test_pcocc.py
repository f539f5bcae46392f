# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Throw-away machines of a plain user: no cluster, no admin, a network that only they are in, and nothing left when their job is gone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.lab import in_process, snapshot, vault
from tests.lab.frames import PING
from tests.lab.host import on, play, python
from tests.lab.test_inventory import listed
from tests.lab.test_pinning import call
from tests.lab.virtual_cluster import awaited, cancel

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f labuser's"
WANTED = {
    "name": "pcocc",
    "vms": "tiny:2",
    "cpus": 1,
    "memory": "128MiB",
    "ssh_authorized_keys": [KEY],
    "per_host": 1,
    "walltime": "1h",
    "grace": "5s",
}
# A node of the same network that is none of the machines: index 9, address .10.
PROBE = 9


def machines(user: str = "labuser", **changes: Any) -> dict[str, Any]:
    """One call of vc_computeset; its answer, failed or not."""
    return in_process.answers("head", "vc_computeset", [{**WANTED, **changes}], user)[0]


@pytest.fixture(scope="module")
def before(demo: None) -> snapshot.Snapshot:
    return snapshot.take_quiet()


@pytest.fixture(scope="module")
def started(before: snapshot.Snapshot) -> Iterator[dict[str, Any]]:
    answer = machines()
    assert not answer.get("failed"), answer["msg"]
    assert answer["changed"]
    yield answer["computeset"]
    cancel(answer["computeset"]["job_id"])


def registered(name: str) -> dict[str, Any]:
    status = json.loads(on(vault.HOST, vault.COMMAND, "status"))
    found: dict[str, Any] = status["clusters"].get(name, {})
    return found


def test_they_run_as_the_job_of_whoever_asked(started: dict[str, Any]) -> None:
    assert started["cluster"] == f"job{started['job_id']}"
    assert {name: (node["state"], node["address"]) for name, node in started["nodes"].items()} == {
        "vm0": ("running", "10.11.0.2"),
        "vm1": ("running", "10.11.0.3"),
    }
    assert {node["host"] for node in started["nodes"].values()} == {"hv1", "hv2"}
    for host in ("hv1", "hv2"):
        owners = on(host, "ps", "-C", "qemu-system-x86_64", "-o", "user=,args=").splitlines()
        assert [line.split()[0] for line in owners if f"/vc/job/{started['job_id']}/" in line] == ["labuser"], owners
    cluster = registered(started["cluster"])["cluster"]
    assert (cluster["owner"], cluster["account"], cluster["ssh_authorized_keys"]) == ("labuser", "physics", [KEY])
    # The two hosts have agreed on one network, which only it has.
    vnis = [host["cluster"]["network"]["vni"] for host in json.loads(on(vault.HOST, vault.COMMAND, "status"))["clusters"].values()]
    assert vnis.count(cluster["network"]["vni"]) == 1


def console(started: dict[str, Any], name: str) -> str:
    return on(started["nodes"][name]["host"], "cat", f"/var/lib/vc-scratch/job/{started['job_id']}/{name}.console.log")


def test_they_see_each_other_and_no_other_network(started: dict[str, Any]) -> None:
    # Each of them looks for the others when it has booted, and says whom it has reached.
    for name, other in (("vm0", "10.11.0.3"), ("vm1", "10.11.0.2")):
        awaited(lambda name=name, other=other: f"REACHED {other}" in console(started, name), f"{name} to reach {other}")
    cluster = registered(started["cluster"])["cluster"]
    vni, macs = cluster["network"]["vni"], {node["address"]: node["mac"] for node in cluster["nodes"]}
    me = {"tap": f"t{vni:06x}n{PROBE}", "mac": f"02:{vni >> 16:02x}:{vni >> 8 & 255:02x}:{vni & 255:02x}:00:{PROBE:02x}"}
    port = {**me, "vni": vni, "address": "10.11.0.10", "mtu": 1450, "user_id": 0, "cluster": cluster["name"], "holder": "job:4000000000.0"}
    call("hv1", "attach", [port])
    try:
        # vc1 has the same addresses: its frontend is 10.11.0.1, its computes are where vm0 and vm1 are.
        seen = python("hv1", PING, json.dumps([port["tap"], port["mac"], port["address"], "10.11.0.1", *macs]))
    finally:
        call("hv1", "detach", [port["tap"]])
    assert seen == {"10.11.0.1": "", **macs}


def test_a_second_run_changes_nothing_and_other_machines_are_refused(started: dict[str, Any]) -> None:
    again = machines()
    assert not again["changed"]
    assert again["computeset"]["job_id"] == started["job_id"]
    assert machines(_ansible_check_mode=True)["changed"] is False
    for other in ({"vms": "tiny:3"}, {"vms": "debian12:2"}, {"memory": "256MiB"}):
        refused = machines(**other)
        assert refused["error_code"] == "conflict"
        assert "tiny:2" in refused["msg"]
    # By its name: the same name of somebody else is another set.
    assert machines("otheruser", state="absent", vms=None, cpus=None, memory=None, ssh_authorized_keys=None)["changed"] is False


def test_they_are_in_the_inventory_and_in_the_table(started: dict[str, Any]) -> None:
    found = listed()
    own = started["cluster"]
    assert found[f"{own}__pcocc"]["hosts"] == [f"vm0.{own}", f"vm1.{own}"]
    variables = found["_meta"]["hostvars"][f"vm1.{own}"]
    assert (variables["vc_address"], variables["vc_owner"], variables["vc_state"]) == ("10.11.0.3", "labuser", "running")
    shown = play("status.yml").stdout
    assert any(line.split()[:4] == [own, "vm0", "compute", "running"] for line in shown.replace('"', "").splitlines()), shown


def test_somebody_elses_image_is_refused_by_name(before: snapshot.Snapshot) -> None:
    refused = machines("otheruser", wait_timeout=60)
    job = refused["computeset"]["job_id"]
    try:
        assert refused.get("failed")
        assert "otheruser may not start machines from it" in refused["msg"]
        assert "tiny" in refused["msg"]
        assert registered(f"job{job}") == {}
    finally:
        cancel(job)


def test_scancel_leaves_nothing(before: snapshot.Snapshot, started: dict[str, Any]) -> None:
    own = started["cluster"]
    on("head", "scancel", str(started["job_id"]))
    awaited(lambda: registered(own) == {}, f"{own} to be forgotten")
    snapshot.unchanged(before)
