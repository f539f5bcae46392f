# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Flows as text.  What they do to frames is proved on a real switch, in tests/lab."""

from __future__ import annotations

from dataclasses import replace

import pytest
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.command import Commands, Result
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.overlay.flows import flows, installed

from tests.unit.overlay.switch import network, port
from tests.unit.refusal import refused


def test_a_tap_may_send_ip_and_arp_as_itself_and_nothing_else() -> None:
    made = network(port(1))
    (tap,) = made.taps
    start = f"in_port={tap.ofport},vlan_tci=0x0000/0x1fff,dl_src=02:00:27:11:00:01"
    assert [line for line in flows(made) if f"in_port={tap.ofport}," in line] == [
        f"table=0,priority=300,{start},udp,tp_src=67,actions=drop",
        f"table=0,priority=300,{start},udp,tp_dst=68,actions=drop",
        f"table=0,priority=200,{start},ip,nw_src=10.11.0.2,actions=NORMAL",
        f"table=0,priority=200,{start},arp,arp_sha=02:00:27:11:00:01,arp_spa=10.11.0.2,actions=NORMAL",
        f"table=0,priority=200,{start},arp,arp_sha=02:00:27:11:00:01,arp_spa=0.0.0.0,actions=NORMAL",
    ]


def test_the_default_is_to_drop_and_only_tunnels_are_free() -> None:
    made = network(port(1), port(2))
    lines = flows(made)
    assert lines[0] == "table=0,priority=0,actions=drop"
    free = [line for line in lines if line.endswith("NORMAL") and "dl_src" not in line]
    assert free == [f"table=0,priority=100,in_port={row.ofport},actions=NORMAL" for row in made.tunnels]


def test_nothing_lets_ipv6_or_tags_pass() -> None:
    passing = [line for line in flows(network(port(1))) if line.endswith("NORMAL") and "dl_src" in line]
    assert all((",ip," in line or ",arp," in line) and "vlan_tci=0x0000" in line for line in passing)


def test_a_port_that_could_not_be_opened_gets_no_flow() -> None:
    made = network(port(1))
    shut = replace(made, ports=tuple(replace(row, ofport=-1) for row in made.ports))
    assert flows(shut) == ["table=0,priority=0,actions=drop"]


def test_a_foreign_port_on_our_bridge_gets_no_flow() -> None:
    made = network(port(1))
    (tap,) = made.taps
    stranger = replace(made, ports=(*made.tunnels, replace(tap, external_ids={"owner": "admin"})))
    assert not [line for line in flows(stranger) if f"in_port={tap.ofport}," in line]


def test_damaged_external_ids_are_refused_and_not_guessed() -> None:
    made = network(port(1))
    (tap,) = made.taps
    for harm in ({"vc-mac": "x,actions=NORMAL"}, {"vc-address": "1.2.3.4,actions=NORMAL"}, {"vc-mac": "01:00:00:00:00:01"}, {"vc-uid": ""}):
        spoilt = replace(made, ports=(replace(tap, external_ids={**(tap.external_ids or {}), **harm}),))
        refused("invalid", flows, spoilt)


class _Said(Commands):
    """Answers every command with one result."""

    def __init__(self, status: int, out: str) -> None:
        super().__init__()
        self._result = Result(status, out, "")

    def run(self, argv: object, stdin: str = "", timeout: float = 120.0) -> Result:
        return self._result


@pytest.mark.parametrize(
    ("status", "out", "verdict"),
    [
        (0, "", True),
        (2, "-priority=200,ip,in_port=99,nw_src=10.11.0.9 actions=NORMAL\n", True),
        (2, "-priority=200,ip,in_port=1,nw_src=10.11.0.9 actions=NORMAL\n", False),
        (2, "+priority=200,ip,in_port=99,nw_src=10.11.0.9 actions=NORMAL\n", False),
        (2, "-priority=5 actions=NORMAL\n", False),
        (2, "-priority=5,in_port=LOCAL actions=NORMAL\n", False),
        (1, "", False),
    ],
)
def test_only_flows_of_ports_that_are_gone_are_no_difference(status: int, out: str, verdict: bool) -> None:
    assert installed(_Said(status, out), network(port(1))) is verdict
