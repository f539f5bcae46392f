# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Declared networks: what is planned, what is refused, and that the prediction is what comes true."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ansible_collections.hpc.virtual_cluster.plugins.module_utils.overlay.bridge import Underlay
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.overlay.state import Damaged, Overlay
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.planner import overlay as planner
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.planner.plan import Plan
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.hostile import HOSTILE
from tests.unit.overlay.switch import HOST, VC1, carried_out, network, port
from tests.unit.refusal import refused

NOTHING = Overlay()
UNDERLAY = Underlay("br-phy", 1600)


def item(name: str = "vc1", vni: int | None = 10001, **other: Any) -> dict[str, Any]:
    return {"name": name, "vni": vni, "mtu": 1500, "state": "present", **other}


def plan(
    items: list[dict[str, Any]], current: Overlay = NOTHING, unpinned: tuple[int, ...] = (), underlay: Underlay | None = UNDERLAY
) -> Plan:
    return planner.plan_networks(planner.read_requests(items), HOST, underlay, current, unpinned)


def followed(current: Overlay, done: Plan) -> Overlay:
    return carried_out(current, [section for action in done.actions for section in action.details["vsctl"]])


STARTS = st.sampled_from(
    [
        Overlay(),
        Overlay((network(),)),
        Overlay((network(port(1)),)),
        Overlay((network(port(1), wanted=replace(VC1, declared=False)),)),
        Overlay((replace(network(port(1)), ports=network(port(1)).ports[:1]),)),
        Overlay((network(wanted=replace(VC1, mtu=1400)), network(wanted=replace(VC1, cluster="vc2", vni=10002)))),
    ]
)


@given(STARTS)
def test_what_is_predicted_comes_true_and_a_second_run_plans_nothing(current: Overlay) -> None:
    items = [item(), item("vc2", 10002)]
    first = plan(items, current)
    after = followed(current, first)
    assert [planner.describe(found) for found in after.networks] == [one.after for one in first.items]
    assert plan(items, after).actions == []


def test_lost_flows_are_one_action_and_no_transaction() -> None:
    (action,) = plan([item()], Overlay((network(port(1)),)), unpinned=(10001,)).actions
    assert (action.verb, action.details["vsctl"]) == ("pin", [])


def test_absent_does_not_cascade() -> None:
    (one,) = plan([item(vni=None, state="absent")], Overlay((network(port(1)),))).items
    assert one.error is not None
    assert one.error.code == "in_use"
    assert "t002711n1 of job:7.0" in one.error.detail


def test_absent_removes_by_name_and_is_quiet_the_second_time() -> None:
    gone = [item(vni=None, state="absent")]
    first = plan(gone, Overlay((network(),)))
    assert [action.verb for action in first.actions] == ["remove"]
    assert plan(gone, followed(Overlay((network(),)), first)).actions == []


def test_a_vni_of_another_cluster_is_refused() -> None:
    for state in ("present", "absent"):
        (one,) = plan([item("vc9", state=state)], Overlay((network(),))).items
        assert one.error is not None
        assert one.error.code == "conflict"
        assert "vc1" in one.error.detail


def test_one_cluster_has_one_network_on_a_host() -> None:
    (one,) = plan([item(vni=10007)], Overlay((network(),))).items
    assert one.error is not None
    assert "10001" in one.error.detail


def test_a_host_without_its_underlay_address_is_refused() -> None:
    (one,) = plan([item()], underlay=None).items
    assert one.error is not None
    assert HOST.local_ip in one.error.detail


def test_a_smaller_mtu_than_that_of_an_attached_node_is_refused() -> None:
    (one,) = plan([item(mtu=1400)], Overlay((network(port(1)),))).items
    assert one.error is not None
    assert one.error.code == "in_use"


def test_a_foreign_bridge_of_that_name_is_refused() -> None:
    (one,) = plan([item()], Overlay((), frozenset({"vcb10001"}))).items
    assert one.error is not None
    assert one.error.code == "conflict"


def test_duplicates_are_named_by_index() -> None:
    for items, first in (
        ([item(), item("vc2", 3), item(vni=4)], "networks[0]"),
        ([item("a", 1), item("b", 5), item("c", 5)], "networks[1]"),
    ):
        error = refused("duplicate", planner.read_requests, items)
        assert error.item.startswith("networks[2]")
        assert first in error.detail


def test_bad_items_are_named_by_index() -> None:
    for text in HOSTILE.values():
        assert refused("invalid", planner.read_requests, [item(), item(text, 5)]).item.startswith("networks[1]")
    for wrong in ({"vni": 0}, {"vni": 2**24}, {"vni": None}, {"mtu": 100}, {"mtu": 10000}):
        assert refused("invalid", planner.read_requests, [item("vc2", 5), item(**wrong)]).item.startswith("networks[1]")


def test_a_damaged_bridge_stops_its_own_network_only() -> None:
    current = Overlay((), frozenset({"vcb10001"}), (Damaged("vcb10001", "vc1", frozenset({"vcb10001"})),))
    for wish in (item(), item(state="absent"), item(vni=None, state="absent"), item("vc3", 10001)):
        own, other = plan([wish, item("vc2", 10002)], current).items
        assert own.error is not None
        assert (own.error.code, "vcb10001" in own.error.remedy, own.actions) == ("invalid", True, ())
        assert other.error is None
        assert len(other.actions) == 1
