# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Partitions: what is planned, what is refused, what a run that was killed leaves to the next one."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.fabric import document
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.fabric.document import Partition
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.planner import partition as planner
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.planner.partition import Fabric, Request
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.planner.plan import ItemPlan

from tests.unit.fabric.samples import ONE, TWO
from tests.unit.hostile import HOSTILE
from tests.unit.refusal import refused
from tests.unit.steps import is_linear

DEFAULT = "Default=0x7fff : SELF=full ;\n"
VC1 = Partition("vc1", "0x0001", (ONE, TWO))
VC2 = Partition("vc2", "0x0002", (ONE,))
IN_FORCE = {ONE: ["0x7fff", "0x8001", "0x8002", "0x0000"], TWO: ["0x7fff", "0x8001", "0x0000"]}
NOTHING = {ONE: ["0x7fff", "0x0000"], TWO: ["0x7fff", "0x0000"]}


def item(name: str = "vc1", pkey: Any = "0x0001", guids: Any = (ONE, TWO), **other: Any) -> dict[str, Any]:
    return {"name": name, "pkey": pkey, "guids": guids, "limited_guids": [], "ipoib": False, "state": "present", **other}


def fabric(there: Iterable[Partition] = (), tables: Any = None, good: Iterable[Partition] | None = None, foreign: str = DEFAULT) -> Fabric:
    text = foreign + document.render_block({one.name: one for one in there})
    known = None if good is None else {one.name: one for one in good}
    return Fabric(document.parse(text, "/etc/opensm/partitions.conf"), known, IN_FORCE if tables is None else tables)


def planned(one: dict[str, Any], current: Fabric) -> ItemPlan:
    return planner.plan_partitions(planner.read_requests([one]), current).items[0]


def verbs(one: dict[str, Any], current: Fabric) -> list[str]:
    done = planned(one, current)
    assert done.error is None
    return [action.verb for action in done.actions]


def conflict(one: dict[str, Any], current: Fabric) -> str:
    error = planned(one, current).error
    assert error is not None
    assert error.code == "conflict"
    assert error.item == one["name"]
    assert error.remedy
    return str(error)


ABSENT = item(pkey=None, guids=[], state="absent")


def test_each_change_has_its_verb() -> None:
    assert verbs(item(), fabric()) == ["create"]
    assert verbs(item(), fabric([VC1])) == []
    assert verbs(item(guids=[TWO]), fabric([VC1])) == ["change"]
    assert verbs(item(guids=[TWO], limited_guids=[ONE]), fabric([VC1])) == ["change"]
    assert verbs(item(ipoib=True), fabric([VC1])) == ["change"]
    assert verbs(ABSENT, fabric([VC1])) == ["remove"]
    assert verbs(ABSENT, fabric(tables=NOTHING)) == []


def test_what_changes_is_said_by_port() -> None:
    (action,) = planned(item(guids=["0x0000000000000009"], limited_guids=[ONE]), fabric([VC1])).actions
    assert action.details == {"pkey": "0x0001", "set": ["0x0000000000000009", ONE], "drop": [TWO], "ipoib": False}


def test_a_file_ahead_of_the_fabric_is_reloaded() -> None:
    """A run was killed after it had written, before OpenSM read it."""
    assert verbs(item(), fabric([VC1], NOTHING)) == ["reload"]
    assert verbs(ABSENT, fabric([], IN_FORCE, good=[VC1])) == ["reload"]
    assert verbs(ABSENT, fabric([], NOTHING, good=[VC1])) == []
    # Another partition has that pkey by now.
    assert verbs(ABSENT, fabric([Partition("vc3", "0x0001", (ONE,))], IN_FORCE, good=[VC1])) == []


def test_the_form_to_go_back_to() -> None:
    smaller = Partition("vc1", "0x0001", (ONE,))
    assert fabric([VC1], IN_FORCE, good=[smaller]).last("vc1") == VC1
    assert fabric([VC1], NOTHING, good=[smaller]).last("vc1") == smaller
    assert fabric([VC1], NOTHING, good=[]).last("vc1") is None
    assert fabric([VC1], NOTHING).last("vc1") == VC1
    assert fabric([], NOTHING, good=[]).last("vc1") is None


def test_ports_that_are_away_are_enrolled_and_told() -> None:
    done = planned(item(), fabric(tables={ONE: None, TWO: ["0x7fff", "0x0000"]}))
    assert done.after is not None
    assert done.after["off_fabric"] == [ONE]
    assert done.after["problems"] == []
    assert verbs(item(), fabric([VC1], {ONE: None, TWO: None})) == []


def test_a_port_without_a_place_is_told_before_anything_is_written() -> None:
    full, one_left = ["0x7fff", "0x8002"], ["0x7fff", "0x8002", "0x0000"]
    assert ONE in conflict(item(), fabric(tables={ONE: full, TWO: full}))
    assert "(and 1 more ports)" in conflict(item(), fabric(tables={ONE: full, TWO: full}))
    # The key is there, the port is away, it is only another kind of member, or there is nothing to put there.
    assert verbs(item(), fabric(tables={ONE: ["0x7fff", "0x8001"], TWO: None})) == ["create"]
    assert verbs(item(guids=[], limited_guids=[ONE, TWO]), fabric([VC1], {ONE: ["0x7fff", "0x8001"], TWO: ["0x8001"]})) == ["change"]
    assert verbs(ABSENT, fabric([VC1], {ONE: ["0x7fff", "0x8001"], TWO: ["0x8001"]})) == ["remove"]
    # What the file has already does not keep others from what they want.
    assert verbs(item(), fabric([VC1], {ONE: full, TWO: full})) == ["reload"]

    def both(first: dict[str, Any], there: Iterable[Partition], table: list[str]) -> list[str]:
        requests = planner.read_requests([first, item("vc3", "0x0003", [ONE])])
        return ["" if one.error is None else one.error.code for one in planner.plan_partitions(requests, fabric(there, {ONE: table})).items]

    assert both(item(guids=[ONE]), [], one_left) == ["", "conflict"]
    assert both(item("vc2", guids=[], pkey=None, state="absent"), [VC2], full) == ["", ""]


def test_others_keep_what_is_theirs() -> None:
    assert "0x0001" in conflict(item(pkey="0x0002"), fabric([VC1]))
    assert "vc2" in conflict(item(pkey="0x0002"), fabric([VC2]))
    assert "line 2" in conflict(item(), fabric(foreign=f"{DEFAULT}storage=0x8001 : {ONE}=full ;\n"))
    assert "line 2" in conflict(item(), fabric(foreign=f"{DEFAULT}vc1=0x0100 : {ONE}=full ;\n"))
    assert "line 2" in conflict(ABSENT, fabric(foreign=f"{DEFAULT}vc1=0x0100 : {ONE}=full ;\n"))
    # OpenSM takes the first pkey that is free at that moment, and joins both.
    assert "choose" in conflict(item(), fabric(foreign=f"{DEFAULT}storage : {ONE}=full ;\n"))
    assert verbs(ABSENT, fabric([VC1], foreign=f"{DEFAULT}storage : {ONE}=full ;\n")) == ["remove"]


def test_without_a_default_partition_nothing_is_written() -> None:
    """Comments alone open the fabric, so that the last absent would."""
    for one in (item(), ABSENT):
        assert "default partition" in conflict(one, fabric([VC1], foreign="# nothing\n"))


@pytest.mark.parametrize(
    ("items", "code", "named"),
    [
        ([item(), item(pkey="0x0002")], "duplicate", "partitions[1] vc1"),
        ([item(), item("vc2")], "duplicate", "partitions[1] vc2"),
        ([item("vc2", "1"), item()], "duplicate", "partitions[1] vc1"),
        ([ABSENT, ABSENT], "duplicate", "partitions[1] vc1"),
        ([item(guids=[ONE, ONE.upper().replace("X", "x")])], "duplicate", ONE),
        ([item(guids=[ONE], limited_guids=[ONE])], "duplicate", ONE),
        ([item(guids=[])], "invalid", "partitions[0] vc1"),
        ([item(pkey=None)], "invalid", "partitions[0] vc1"),
        ([item(pkey="0x7fff")], "invalid", "0x7fff"),
        ([item(pkey="0x8001")], "invalid", "0x8001"),
        ([item(), item("vc2", "0x0002", ["0x1"])], "invalid", "partitions[1] 0x1"),
        ([item("Default")], "invalid", "Default"),
    ],
)
def test_bad_lists_are_refused_by_index(items: list[dict[str, Any]], code: str, named: str) -> None:
    assert named in refused(code, planner.read_requests, items).item


@pytest.mark.parametrize("key", ["name", "pkey", "guids", "limited_guids"])
@pytest.mark.parametrize("value", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_items_are_refused(key: str, value: str) -> None:
    refused("invalid", planner.read_requests, [item(**{"guids": [ONE], key: [value] if key.endswith("guids") else value})])


def test_many_partitions_are_planned_one_by_one() -> None:
    def many(number: int) -> list[dict[str, Any]]:
        return [item(f"vc{place}", f"0x{place:04x}", [ONE]) for place in range(1, number + 1)]

    def asked(number: int) -> tuple[list[Request], Fabric]:
        there = [Partition(one["name"], one["pkey"], (ONE,)) for one in many(number)]
        return planner.read_requests(many(number)), fabric(there, {ONE: None})

    assert is_linear(many, planner.read_requests)
    assert is_linear(asked, lambda both: planner.plan_partitions(*both))
    assert is_linear(asked, lambda both: planner.expected(*both))
    assert is_linear(lambda number: asked(number)[1].document.render(), lambda text: document.parse(text, "partitions.conf"))
