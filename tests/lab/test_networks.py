# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Networks of a host on its real Open vSwitch: any number of them costs the same number of processes, and what a switch forgets is seen.

What any module owes its row in the contract holds.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.lab import in_process
from tests.lab.host import on

HOST, FIRST = "fe1", 14001
COUNTED = ("ovs-vsctl", "ovs-ofctl", "ovs-appctl", "ip", "nft")
LOG = "/tmp/vc-proof-executed"


def call(*networks: dict[str, Any]) -> dict[str, Any]:
    (answer,) = in_process.answers(HOST, "ovs_vxlan", [{"networks": list(networks)}])
    assert not answer.get("failed"), answer
    return answer


def some(count: int, **changes: Any) -> list[dict[str, Any]]:
    return [{"name": f"proof-{number}", "vni": FIRST + number, **changes} for number in range(count)]


@pytest.fixture
def counting(demo: None) -> Iterator[None]:
    """Each of these commands leaves a line before it runs; the collection's own PATH begins where they are put."""
    for name in COUNTED:
        real = on(HOST, "sh", "-c", f"command -v {name}").strip()
        script = f'#!/bin/sh\necho {name} >> {LOG}\nexec {real} "$@"\n'
        on(HOST, "sh", "-c", f"cat > /usr/local/sbin/{name} && chmod 755 /usr/local/sbin/{name}", stdin=script)
    on(HOST, "tee", LOG, stdin="")
    yield
    call(*some(64, state="absent"))
    on(HOST, "rm", "-f", LOG, *(f"/usr/local/sbin/{name}" for name in COUNTED))


def executed() -> list[str]:
    lines = on(HOST, "cat", LOG).split()
    on(HOST, "tee", LOG, stdin="")
    return lines


def transactions() -> int:
    """How often ovs-vsctl has written, by the database's own log."""
    return on(HOST, "ovsdb-tool", "show-log", "/etc/openvswitch/conf.db").count('"ovs-vsctl ')


@pytest.mark.usefixtures("counting")
def test_the_same_number_of_processes_for_1_8_and_64_networks() -> None:
    made, found = {}, {}
    for size in (1, 8, 64):
        before = transactions()
        assert call(*some(size))["changed"] is True
        made[size] = executed()
        assert transactions() - before == 1
        assert call(*some(size))["changed"] is False
        found[size] = executed()
    for counted in (made, found):
        assert "ovs-vsctl" in counted[1], "the count sees nothing, so it proves nothing"
        assert counted[1] == counted[8] == counted[64]


@pytest.mark.parametrize(
    "harm",
    [
        ["set-frags", "vcb10001", "normal"],
        ["del-flows", "vcb10001"],
        ["--strict", "del-flows", "vcb10001", "priority=0"],
        ["add-flow", "vcb10001", "priority=400,ip,actions=NORMAL"],
        ["add-flow", "vcb10001", "table=3,priority=1,actions=drop"],
        ["mod-flows", "vcb10001", "priority=300,udp,actions=NORMAL"],
    ],
    ids=" ".join,
)
def test_what_somebody_did_to_the_switch_is_seen_and_undone(demo: None, harm: list[str]) -> None:
    before = seen()
    on(HOST, "ovs-ofctl", *harm)
    assert seen() != before
    network = {"name": "vc1", "vni": 10001}
    assert [action["verb"] for action in call(network)["actions"]] == ["pin"]
    assert seen() == before
    assert call(network)["changed"] is False


def seen() -> list[str]:
    """Flows and handling of fragments of the demo's bridge, in the words of Open vSwitch's own program."""
    flows = on(HOST, "ovs-ofctl", "--no-stats", "--no-names", "dump-flows", "vcb10001").splitlines()[1:]
    return [on(HOST, "ovs-ofctl", "get-frags", "vcb10001"), *sorted(flows)]
