# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which jobs count, what a node's row says, and what does not fit together."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.hpc.virtual_cluster.plugins.filter import vc_table as vc_table_plugin
from ansible_collections.hpc.virtual_cluster.plugins.filter import vc_view as vc_view_plugin

from tests.unit.planner.computesets import cluster_dict

vc_view = vc_view_plugin.FilterModule().filters()["vc_view"]
vc_table = vc_table_plugin.FilterModule().filters()["vc_table"]


def lease(node: str, job_id: int = 42, state: str = "running", host: str = "hv1", **changes: Any) -> dict[str, Any]:
    holder = {"kind": "job", "host": host, "job_id": job_id, "restart_count": 0, "user": "labuser", "account": "physics", "since": "then"}
    return {"cluster": "vc1", "node": node, "epoch": 3, "state": state, "holder": {**holder, **changes}}


def vault(*leases: dict[str, Any], **changes: Any) -> dict[str, Any]:
    cluster = cluster_dict(3, **changes)
    held = {held["node"]: held for held in leases}
    free = {node["name"]: {"epoch": 0, "state": "off", "holder": None} for node in cluster["nodes"]}
    return {"changed": False, "vault": {"clusters": {cluster["name"]: {"cluster": cluster, "leases": {**free, **held}, "disks": {}}}}}


def job(job_id: int = 42, **changes: Any) -> dict[str, Any]:
    given = {
        "job_id": job_id,
        "user": "labuser",
        "account": "physics",
        "partition": "vc",
        "state": "running",
        "reason": "",
        "cluster": "vc1",
        "computeset": "sim",
        "nodes": ["compute0", "compute1"],
        "hosts": ["hv1", "hv2"],
        "walltime_seconds": 21600,
        "remaining_seconds": 21570,
    }
    return {**given, **changes, "nodes": ",".join(changes.get("nodes", given["nodes"]))}


def slurm(*jobs: dict[str, Any]) -> dict[str, Any]:
    return {"changed": False, "slurm": {"jobs": list(jobs)}}


def libvirt(**changes: Any) -> dict[str, Any]:
    domain = {"cluster": "vc1", "node": "frontend", "domain": "vc1.frontend", "state": "running", "autostart": True, "host": "fe1"}
    return {"libvirt": {"frontends": [{**domain, **changes}]}}


def row(view: dict[str, Any], name: str) -> dict[str, Any]:
    return next(row for row in view["rows"] if row["name"] == name)


def test_a_running_set() -> None:
    view = vc_view([vault(lease("compute0"), lease("compute1", host="hv2")), slurm(job()), libvirt()])
    assert [row["name"] for row in view["rows"]] == ["frontend", "compute0", "compute1", "compute2"]
    assert row(view, "compute1") == {
        "cluster": "vc1",
        "name": "compute1",
        "role": "compute",
        "state": "running",
        "computeset": "sim",
        "host": "hv2",
        "mac": "02:00:27:11:00:02",
        "address": "10.11.0.3",
        "account": "physics",
        "job_id": 42,
        "left_seconds": 21570,
        "left": "5h59m",
    }
    assert row(view, "frontend")["state"] == "running"
    assert row(view, "frontend")["host"] == "fe1"
    assert (row(view, "compute2")["state"], row(view, "compute2")["host"]) == ("off", "")
    assert view["rejected"] == []
    assert view["drift"] == []
    assert [(entry["name"], entry["nodes"]) for entry in view["computesets"]] == [("sim", ["compute0", "compute1"])]


def test_the_order_of_results_does_not_matter() -> None:
    infos = [vault(lease("compute0"), lease("compute1")), slurm(job()), libvirt(), {"skipped": True}]
    assert vc_view(infos) == vc_view(infos[::-1])


def test_a_pending_set_is_queued() -> None:
    view = vc_view([vault(), slurm(job(state="pending", remaining_seconds=21600, reason="Resources"))])
    assert (row(view, "compute0")["state"], row(view, "compute0")["computeset"], row(view, "compute0")["left"]) == ("queued", "sim", "")
    assert view["computesets"][0]["reason"] == "Resources"


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"user": "otheruser", "account": "chemistry"}, "otheruser is neither owner nor member"),
        ({"user": "otheruser", "account": "physics"}, "otheruser is neither owner nor member"),
        ({"account": "chemistry"}, "account chemistry is not authorized"),
        ({"cluster": "vc9"}, "the registry has no cluster vc9"),
        ({}, "it holds no lease of its nodes"),
        ({"state": "pending", "nodes": ["frontend"]}, "frontend is no compute of vc1"),
        ({"state": "pending", "nodes": ["compute77"]}, "compute77 is no compute of vc1"),
    ],
)
def test_a_forged_job_is_rejected_and_in_no_row(changes: dict[str, Any], says: str) -> None:
    forged = job(66, **{"nodes": ["compute2"], "computeset": "evil", **changes})
    view = vc_view([vault(lease("compute0"), lease("compute1")), slurm(job(), forged)])
    assert [entry["job_id"] for entry in view["computesets"]] == [42]
    assert [entry["job_id"] for entry in view["rejected"]] == [66]
    assert says in view["rejected"][0]["reason"]
    assert "evil" not in {row["computeset"] for row in view["rows"]}


@pytest.mark.parametrize("user", ["labuser", "helper"])
@pytest.mark.parametrize("state", ["running", "stopping"])
def test_a_job_that_waits_takes_no_node_from_the_one_that_has_it(user: str, state: str) -> None:
    leases = (lease("compute0"), lease("compute1", state="flushing", job_id=41))
    waiting = [job(number, state="pending", user=user, computeset="next", nodes=["compute0", "compute1", "compute2"]) for number in (7, 66)]
    alone, view = (vc_view([vault(*leases), slurm(job(state=state), *more)]) for more in ([], waiting))
    assert [row(view, node) for node in ("compute0", "compute1")] == [row(alone, node) for node in ("compute0", "compute1")]
    assert (row(view, "compute0")["computeset"], row(view, "compute0")["state"]) == ("sim", state)
    assert (row(view, "compute2")["state"], row(view, "compute2")["job_id"]) == ("queued", 7)
    assert view["drift"] == alone["drift"] == []
    assert {entry["job_id"]: entry["nodes"] for entry in view["computesets"]} == {
        7: ["compute0", "compute1", "compute2"],
        42: ["compute0"],
        66: ["compute0", "compute1", "compute2"],
    }


def test_a_set_that_waits_hides_no_lease_without_a_job() -> None:
    view = vc_view([vault(lease("compute0")), slurm(job(66, state="pending"))])
    assert row(view, "compute0")["computeset"] == ""
    assert "vc1/compute0 is leased to job 42" in view["drift"][0]


def test_a_job_gets_no_credit_for_leases_of_another() -> None:
    view = vc_view([vault(lease("compute0"), lease("compute1")), slurm(job(), job(66, user="helper"))])
    assert [entry["job_id"] for entry in view["rejected"]] == [66]


def test_only_leased_nodes_of_a_running_job_count() -> None:
    view = vc_view([vault(lease("compute0")), slurm(job())])
    assert row(view, "compute1")["computeset"] == ""
    assert view["computesets"][0]["nodes"] == ["compute0"]


def test_stopping_and_not_flushed() -> None:
    view = vc_view([vault(lease("compute0"), lease("compute1", state="flushing")), slurm(job(state="stopping"))])
    assert row(view, "compute0")["state"] == "stopping"
    assert row(view, "compute1")["state"] == "flushing"


def test_drift() -> None:
    gone = vc_view([vault(lease("compute0"), lease("compute1", state="flushing")), slurm(), {"libvirt": {"frontends": []}}])
    assert len(gone["drift"]) == 1
    assert "vc1/compute0 is leased to job 42 on hv1" in gone["drift"][0]
    held = {"kind": "frontend", "host": "fe1"}
    lost = vc_view([vault({"node": "frontend", "state": "running", "holder": held}), {"libvirt": {"frontends": []}}])
    assert "no domain of it" in lost["drift"][0]
    # The definition was changed since.
    moved = vc_view([vault({"node": "frontend", "state": "running", "holder": {**held, "host": "fe2"}}), {"libvirt": {"frontends": []}}])
    assert (moved["drift"][0].split(",")[0], row(moved, "frontend")["host"]) == ("vc1/frontend is leased to fe2", "fe2")
    strange = vc_view([vault(), libvirt(node="other")])
    assert "vc1/other is a frontend's domain" in strange["drift"][0]


@pytest.mark.parametrize(
    ("hosts", "state", "says"),
    [
        ({"fe1": "off", "fe2": "running"}, "running", ["fe1 has a domain of it, which is off"]),
        ({"fe1": "running", "fe2": "off"}, "off", ["fe1 has a domain of it, which is running"]),
        ({"fe1": "off"}, "preparing", ["no domain of it was found there", "fe1 has a domain of it, which is off"]),
        # Of a command of the site's own, or a host without a name.
        ({"": "suspended"}, "suspended", []),
        ({"": "suspended", "fe2": "running"}, "running", ["another host has a domain of it, which is suspended"]),
    ],
)
def test_of_several_domains_of_a_frontend_that_of_the_lease_holder_counts(hosts: dict[str, str], state: str, says: list[str]) -> None:
    held = vault({"node": "frontend", "state": "preparing", "holder": {"kind": "frontend", "host": "fe2"}})
    infos = [libvirt(host=host, state=found) for host, found in hosts.items()]
    view = vc_view([held, *infos])
    assert view == vc_view([*infos[::-1], held])
    assert (row(view, "frontend")["state"], row(view, "frontend")["host"]) == (state, "fe2")
    assert view["drift"] == [f"vc1/frontend is leased to fe2, but {why}" for why in says]


def test_a_domain_where_a_frontend_was_before_it_was_defined_elsewhere() -> None:
    view = vc_view([vault(), libvirt(host="fe9")])
    assert (row(view, "frontend")["state"], row(view, "frontend")["host"]) == ("off", "fe1")
    assert view["drift"] == ["vc1/frontend is defined on fe1, but fe9 has a domain of it, which is running"]


def test_without_slurm_leases_still_tell() -> None:
    view = vc_view([vault(lease("compute0"))])
    assert row(view, "compute0")["state"] == "running"
    assert view["drift"] == view["uncounted"] == []


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"account": "chemistry"}, "it is rejected: account chemistry is not authorized for vc1"),
        ({"cluster": "vc9"}, "it is rejected: the registry has no cluster vc9"),
        ({"nodes": ["compute1"]}, "it does not say that it has this node"),
        # The number has come again.
        ({"user": "otheruser"}, "Slurm has no live job 42 that says it is a computeset"),
    ],
)
def test_a_job_that_runs_and_does_not_count_is_not_said_to_be_gone(changes: dict[str, Any], why: str) -> None:
    view = vc_view([vault(lease("compute0"), lease("compute1", state="flushing")), slurm(job(**{"nodes": ["compute0"], **changes}))])
    assert view["uncounted"] == [{"cluster": "vc1", "name": "compute0", "job_id": 42, "host": "hv1", "why": why}]
    assert view["drift"] == [f"vc1/compute0 is leased to job 42 on hv1 since then, but {why}"]
    assert (row(view, "compute0")["state"], row(view, "compute0")["computeset"]) == ("running", "")


def test_a_table_is_aligned_and_harmless() -> None:
    view = vc_view([vault(lease("compute0", host="hv1\x1b[2J")), slurm(job())])
    lines = vc_table(view["rows"])
    assert lines[0].split() == ["CLUSTER", "NAME", "ROLE", "STATE", "COMPUTESET", "HOST", "MAC", "ADDRESS", "LEFT"]
    assert len(lines) == 5
    place = lines[0].index("ADDRESS")
    assert all(line[place:].startswith("10.11.0.") for line in lines[1:])
    assert "\x1b" not in "".join(lines)
    assert vc_table([], ["job_id"]) == ["JOB ID"]


@pytest.mark.parametrize("infos", ["text", {"vault": {}}, 5, None, [{"slurm": {"jobs": [{}]}}], [{"vault": {"clusters": {"vc1": {}}}}]])
def test_what_is_no_result_of_vc_info_is_refused(infos: Any) -> None:
    with pytest.raises(AnsibleFilterError, match="vc_info"):
        vc_view(infos)


@pytest.mark.parametrize("rows", ["text", {"a": 1}, ["text"]])
def test_what_is_no_list_of_rows_is_refused(rows: Any) -> None:
    with pytest.raises(AnsibleFilterError, match="list of dictionaries"):
        vc_table(rows)


def fabric(*, default_open: bool = False, **changes: Any) -> dict[str, Any]:
    cluster = cluster_dict(3)
    partition = {"name": "vc1", "pkey": cluster["pkey"], "guids": [node["guid"] for node in cluster["nodes"]], "problems": [], **changes}
    return {"changed": False, "fabric": {"partitions": [partition] if changes.get("guids") != [] else [], "default_open": default_open}}


@pytest.mark.parametrize(
    ("found", "drift"),
    [
        (fabric(), []),
        (fabric(guids=[]), ["vc1 has no partition in the fabric"]),
        (fabric(pkey="0x0777"), ["vc1's partition in the fabric is not what the registry says: run comet.yml"]),
        (fabric(guids=["0x1"]), ["vc1's partition in the fabric is not what the registry says: run comet.yml"]),
        (fabric(problems=["port 0x1 lacks key 0x8001"]), ["vc1 in the fabric: port 0x1 lacks key 0x8001"]),
        (fabric(default_open=True), ["all ports are full members of the fabric's default partition, so partitions separate nobody"]),
        (
            fabric(name="gone"),
            ["vc1 has no partition in the fabric", "gone is a partition in the fabric, but the registry has no such cluster"],
        ),
    ],
)
def test_the_fabric_is_held_against_the_registry(found: dict[str, Any], drift: list[str]) -> None:
    assert vc_view([vault(), found])["drift"] == drift


def test_a_site_without_a_fabric_misses_nothing() -> None:
    assert vc_view([vault()])["drift"] == []
    assert vc_view([fabric()])["drift"] == []
