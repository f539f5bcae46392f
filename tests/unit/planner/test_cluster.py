# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Giving out numbers: once, lowest first, never changed, never twice."""

from __future__ import annotations

import dataclasses
from typing import Any, Optional

import pytest
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.model import addresses
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.model.cluster import Cluster
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.model.definition import parse
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.model.errors import VcError
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.planner.cluster import plan_cluster, plan_removal
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.planner.plan import ItemPlan
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.definitions import changed, computes, definitions
from tests.unit.refusal import refused


def plan(data: dict[str, Any], current: Optional[Cluster] = None, *others: Cluster, **more: Any) -> tuple[ItemPlan, Cluster]:
    return plan_cluster(parse(data), current, others, **more)


def define(data: dict[str, Any], *others: Cluster, **more: Any) -> Cluster:
    return plan(data, None, *others, **more)[1]


def verbs(planned: ItemPlan) -> list[tuple[str, Any]]:
    return [(action.verb, action.details.get("node", action.details.get("keys"))) for action in planned.actions]


def numbers(cluster: Cluster) -> dict[str, tuple[int, str, str, str]]:
    return {node.name: (node.index, node.mac, node.guid, node.address) for node in cluster.nodes}


# ---- defining ----


def test_a_new_cluster_gets_the_documented_numbers() -> None:
    planned, cluster = plan(changed())
    assert (cluster.network.vni, cluster.pkey, cluster.ssh_public_key) == (10001, "0x0001", "")
    assert numbers(cluster) == {
        "frontend": (0, "02:00:27:11:00:00", "0x0200271100000000", "10.11.0.1"),
        "compute0": (1, "02:00:27:11:00:01", "0x0200271100000001", "10.11.0.2"),
        "compute1": (2, "02:00:27:11:00:02", "0x0200271100000002", "10.11.0.3"),
    }
    assert verbs(planned) == [("define", None), ("add_node", "frontend"), ("add_node", "compute0"), ("add_node", "compute1")]
    assert planned.before is None
    assert planned.after == cluster.to_dict()
    assert (planned.name, planned.state) == ("vc1", "present")


def test_the_same_again_is_nothing_to_do() -> None:
    cluster = define(changed())
    planned, again = plan(changed(), cluster)
    assert again == cluster
    assert planned.actions == ()
    assert planned.before == planned.after


def test_the_next_clusters_get_the_next_numbers() -> None:
    first = define(changed())
    second = define(changed(name="vc2", frontend__public=...), first)
    third = define(changed(name="vc3", frontend__public=...), first, second)
    assert [cluster.network.vni for cluster in (first, second, third)] == [10001, 10002, 10003]
    assert [cluster.pkey for cluster in (first, second, third)] == ["0x0001", "0x0002", "0x0003"]
    again = define(changed(name="vc4", frontend__public=...), first, third)
    assert (again.network.vni, again.pkey) == (10002, "0x0002")


def test_without_a_frontend_its_index_stays_free() -> None:
    cluster = define(changed(frontend=...))
    assert [node.index for node in cluster.nodes] == [1, 2]
    planned, more = plan(changed(), cluster)
    assert more.node("frontend").index == 0
    assert more.node("frontend").address == "10.11.0.1"
    assert verbs(planned) == [("add_node", "frontend")]


def test_explicit_numbers_are_honoured() -> None:
    cluster = define(
        changed(
            network={"vni": 77, "pkey": "0x0123"},
            frontend__address="10.11.0.200",
            computes=[computes("n[1-2]", macs=["52:54:00:00:00:01", "52:54:00:00:00:02"], address="10.11.0.100")],
        )
    )
    assert (cluster.network.vni, cluster.pkey) == (77, "0x0123")
    assert {node.name: (node.mac, node.address) for node in cluster.nodes} == {
        "frontend": ("02:00:00:4d:00:00", "10.11.0.200"),
        "n1": ("52:54:00:00:00:01", "10.11.0.100"),
        "n2": ("52:54:00:00:00:02", "10.11.0.101"),
    }


def test_giving_out_goes_round_what_is_explicit() -> None:
    cluster = define(
        changed(computes=[computes("a", address="10.11.0.3"), computes("b"), computes("c", macs=["02:00:27:11:00:03"]), computes("d")])
    )
    assert len({node.address for node in cluster.nodes}) == 5
    assert len({node.mac for node in cluster.nodes}) == 5
    assert cluster.node("a").address == "10.11.0.3"


def test_a_network_can_be_filled_to_the_last_address() -> None:
    cluster = define(changed(network={"cidr": "10.11.0.0/29"}, computes=[computes("n[1-5]")]))
    assert {node.address for node in cluster.nodes} == {f"10.11.0.{last}" for last in range(1, 7)}
    # Without a frontend indexes begin at 1, so the last node takes the address that index 0 would have had.
    without = define(changed(frontend=..., network={"cidr": "10.11.0.0/29"}, computes=[computes("n[1-6]")]))
    assert {node.address for node in without.nodes} == {f"10.11.0.{last}" for last in range(1, 7)}


# ---- editing ----


def test_adding_in_the_middle_renumbers_nobody() -> None:
    before = define(changed(computes=[computes("n[1,3]")]))
    planned, after = plan(changed(computes=[computes("n[1-3]")]), before)
    assert {name: value for name, value in numbers(after).items() if name != "n2"} == numbers(before)
    assert after.node("n2").index == 3
    assert verbs(planned) == [("add_node", "n2")]


def test_removing_frees_and_the_freed_is_given_out_again() -> None:
    before = define(changed(computes=[computes("n[1-3]")]))
    planned, without = plan(changed(computes=[computes("n[1,3]")]), before)
    assert verbs(planned) == [("remove_node", "n2")]
    again = plan(changed(computes=[computes("n[1,3]"), computes("n9")]), without)[1]
    assert again.node("n9").index == before.node("n2").index
    assert again.node("n9").address == before.node("n2").address


def test_order_in_the_definition_does_not_matter() -> None:
    before = define(changed(computes=[computes("a"), computes("b")]))
    assert plan(changed(computes=[computes("b"), computes("a")]), before)[0].actions == ()


def test_what_was_explicit_once_stays_when_it_is_no_longer_written() -> None:
    before = define(
        changed(network={"vni": 77, "pkey": "0x0123"}, computes=[computes("n1", macs=["52:54:00:00:00:01"], address="10.11.0.100")])
    )
    planned, after = plan(changed(computes=[computes("n1")]), before)
    assert after == before
    assert planned.actions == ()


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"computes__0__cpus": 4}, [("change_node", "compute0"), ("change_node", "compute1")]),
        ({"computes__0__memory": "1GiB"}, [("change_node", "compute0"), ("change_node", "compute1")]),
        ({"computes__0__source": {"image": "debian12@r2"}}, [("change_node", "compute0"), ("change_node", "compute1")]),
        ({"computes__0__persistent": True}, [("change_node", "compute0"), ("change_node", "compute1")]),
        ({"frontend__host": "fe2"}, [("change_node", "frontend")]),
        ({"frontend__public": ...}, [("change_node", "frontend")]),
        ({"members": ["anna"]}, [("change", ["members"])]),
        ({"account": "chemistry", "owner": "anna"}, [("change", ["owner", "account"])]),
        ({"network__mtu": 1400}, [("change", ["network"])]),
        ({"ssh_authorized_keys": []}, [("change", ["ssh_authorized_keys"])]),
    ],
    ids=str,
)
def test_changes(changes: dict[str, Any], expected: list[tuple[str, Any]]) -> None:
    before = define(changed())
    planned, after = plan(changed(**changes), before)
    assert verbs(planned) == expected
    assert numbers(after) == numbers(before)
    assert plan(changed(**changes), after)[0].actions == ()
    assert planned.before == before.to_dict()
    assert planned.after == after.to_dict()


def test_the_clusters_own_key_is_kept() -> None:
    before = dataclasses.replace(define(changed()), ssh_public_key="ssh-ed25519 AAAA")
    assert plan(changed(members=["anna"]), before)[1].ssh_public_key == "ssh-ed25519 AAAA"


@pytest.mark.parametrize(
    ("changes", "item"),
    [
        ({"network": {"vni": 10002}}, "vc1 network.vni"),
        ({"network": {"cidr": "10.12.0.0/24"}}, "vc1 network.cidr"),
        ({"network": {"pkey": "0x0002"}}, "vc1 network.pkey"),
        ({"frontend__macs": ["52:54:00:00:00:01"]}, "vc1/frontend mac"),
        ({"frontend__address": "10.11.0.77"}, "vc1/frontend address"),
        ({"frontend__source": {"image": "debian13"}}, "vc1/frontend image"),
        ({"frontend__disk": "4GiB"}, "vc1/frontend disk"),
        ({"frontend__disk": ...}, "vc1/frontend disk"),
        ({"frontend__name": "compute0", "computes": [computes("frontend")]}, "vc1/frontend role"),
    ],
    ids=str,
)
def test_what_was_given_out_or_holds_data_is_not_changed(changes: dict[str, Any], item: str) -> None:
    before = define(changed())
    error = refused("conflict", plan, changed(**changes), before)
    assert error.item == item
    assert "remove" in error.remedy


def test_a_persistent_computes_disk_is_not_dropped() -> None:
    before = define(changed(computes=[computes("n1", persistent=True)]))
    assert refused("conflict", plan, changed(computes=[computes("n1")]), before).item == "vc1/n1 persistent"


@pytest.mark.parametrize(
    "changes", [{"frontend__source": {"image": "debian13"}}, {"frontend__disk": "4GiB"}, {"frontend__disk": "9GiB"}], ids=str
)
def test_before_its_disk_is_made_a_persistent_node_may_change(changes: dict[str, Any]) -> None:
    before = define(changed())
    assert plan(changed(**changes), before, disks={})[0].actions
    refused("conflict", plan, changed(**changes), before, disks={"frontend": 8192})


def test_a_disk_that_is_there_is_grown_in_the_store_first() -> None:
    before = define(changed(computes=[computes("n1", persistent=True, disk="4GiB")]))
    larger = changed(computes=[computes("n1", persistent=True, disk="6GiB")])
    error = refused("conflict", plan, larger, before, disks={"n1": 4096})
    assert (error.item, "4096 MiB" in error.detail) == ("vc1/n1 disk", True)
    assert "image_vault disks, cluster: vc1, node: n1, size: 6144MiB" in error.remedy
    planned, after = plan(larger, before, disks={"n1": 6144})
    assert (verbs(planned), after.node("n1").disk_mib) == ([("change_node", "n1")], 6144)
    # Grown beyond the definition, or not as large as it: what does not change is not refused.
    for size in (4096, 5000, 8192):
        assert plan(larger, after, disks={"n1": size})[0].actions == ()
    assert "remove_disk" in refused("conflict", plan, changed(frontend__disk="9GiB"), define(changed()), disks={"frontend": 8192}).remedy


# ---- leases ----


@pytest.mark.parametrize(
    ("changes", "held", "item"),
    [
        ({"computes__0__nodes": "compute0"}, {"compute1"}, "vc1/compute1"),
        ({"frontend": ...}, {"frontend"}, "vc1/frontend"),
        ({"frontend__host": "fe2"}, {"frontend"}, "vc1/frontend host"),
        ({"computes__0__persistent": True}, {"compute0"}, "vc1/compute0 persistent"),
        ({"owner": "anna"}, {"compute0"}, "vc1 owner"),
        ({"network__mtu": 1400}, {"compute0"}, "vc1 network.mtu"),
    ],
    ids=str,
)
def test_held_nodes_are_not_pulled_away(changes: dict[str, Any], held: set[str], item: str) -> None:
    before = define(changed())
    assert refused("in_use", plan, changed(**changes), before, held=held).item == item
    assert plan(changed(**changes), before)[0].actions


def test_held_nodes_may_get_more_memory_at_their_next_power_on() -> None:
    assert plan(changed(computes__0__memory="1GiB"), define(changed()), held={"compute0"})[0].actions


def test_removal() -> None:
    cluster = define(changed())
    planned = plan_removal("vc1", cluster)
    assert (planned.state, [action.verb for action in planned.actions], planned.before, planned.after) == (
        "absent",
        ["remove"],
        cluster.to_dict(),
        None,
    )
    assert plan_removal("vc1", None).actions == ()
    assert "compute0, compute1" in refused("in_use", plan_removal, "vc1", cluster, {"compute1", "compute0"}).detail


# ---- others ----


@pytest.mark.parametrize(
    ("changes", "both"),
    [
        ({"network": {"vni": 10001}}, ("vc2 network.vni 10001", "vc1")),
        ({"network": {"pkey": "0x0001"}}, ("vc2 network.pkey 0x0001", "vc1")),
        ({"computes": [computes("n7", macs=["02:00:27:11:00:01"])]}, ("vc2/n7 mac 02:00:27:11:00:01", "vc1/compute0")),
        ({"frontend__public": {"bridge": "br0", "address": "10.79.0.101/24"}}, ("vc2/frontend public.address 10.79.0.101", "vc1/frontend")),
    ],
    ids=str,
)
def test_overlaps_with_another_cluster_name_both(changes: dict[str, Any], both: tuple[str, str]) -> None:
    first = define(changed())
    error = refused("conflict", define, changed(name="vc2", **{"frontend__public": ..., **changes}), first)
    assert error.item == both[0]
    assert error.detail == f"{both[1]} has it"


def test_the_cluster_itself_among_the_others_is_no_overlap() -> None:
    cluster = define(changed())
    assert plan(changed(), cluster, cluster)[0].actions == ()


def test_the_same_addresses_in_two_clusters_are_no_overlap() -> None:
    first = define(changed())
    assert numbers(define(changed(name="vc2", frontend__public=...), first))["compute0"][3] == numbers(first)["compute0"][3]


def test_an_explicit_mac_of_a_foreign_range_is_stepped_round() -> None:
    first = define(changed(computes=[computes("n1", macs=["02:00:27:12:00:01"])]))
    second = define(changed(name="vc2", frontend__public=...), first)
    assert second.network.vni == 10002
    assert not {node.mac for node in second.nodes} & {node.mac for node in first.nodes}


def test_full_pools_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    one = define(changed(name="vc2", frontend__public=...))
    others = [dataclasses.replace(one, pkey=f"0x{number:04x}") for number in range(1, 0x7FFF)]
    assert "network.pkey" in refused("conflict", define, changed(), *others).item
    monkeypatch.setattr(addresses, "FIRST_VNI", 2**24)
    assert "network.vni" in refused("conflict", define, changed()).item


# ---- properties ----


@given(definitions())
def test_planning_twice_is_planning_once(data: dict[str, Any]) -> None:
    cluster = define(data)
    planned, again = plan(data, cluster)
    assert again == cluster
    assert not planned.actions
    assert Cluster.from_dict(cluster.to_dict()) == cluster


@given(st.lists(definitions(), min_size=2, max_size=5))
def test_any_history_of_edits_keeps_what_was_given_out(history: list[dict[str, Any]]) -> None:
    current: Optional[Cluster] = None
    other = define(changed(name="vc0", computes=[computes("n[1-9]")]))
    for data in history:
        try:
            planned, after = plan(data, current, other)
        except VcError as error:
            if error.code != "conflict":
                raise
            continue
        kept = set(numbers(current)) & set(numbers(after)) if current else set()
        assert all(numbers(after)[name] == numbers(current)[name] for name in kept if current)
        assert {node.name for node in after.nodes} == {node.name for node in parse(data).nodes}
        for position in range(4):
            assert len({value[position] for value in numbers(after).values()}) == len(after.nodes)
        assert not {node.mac for node in after.nodes} & {node.mac for node in other.nodes}
        assert bool(planned.actions) == (planned.before != planned.after)
        assert Cluster.from_dict(after.to_dict()) == after
        current = after
