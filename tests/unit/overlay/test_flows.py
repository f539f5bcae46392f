# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What flows a bridge gets.  What they do to frames, and that the switch takes them, is proved on a real one, in tests/lab."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.overlay import flows as subject
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.overlay.flows import flows, installed
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.overlay.openflow import Flow, Flows, compiled

from tests.unit.overlay.switch import network, port
from tests.unit.refusal import refused


def test_a_tap_may_send_ip_and_arp_as_itself_and_nothing_else() -> None:
    made = network(port(1))
    (tap,) = made.taps
    frame = {"in_port": tap.ofport, "eth_src": "02:00:27:11:00:01", "vlan": 0}
    packet, claim = {**frame, "eth_type": 0x0800}, {**frame, "eth_type": 0x0806, "arp_sha": "02:00:27:11:00:01"}
    assert [flow for flow in flows(made) if flow.fields.get("in_port") == tap.ofport] == [
        Flow(300, {**packet, "ip_proto": 17, "udp_src": 67}, False),
        Flow(300, {**packet, "ip_proto": 17, "udp_dst": 68}, False),
        Flow(200, {**packet, "ipv4_src": "10.11.0.2"}, True),
        Flow(200, {**claim, "arp_spa": "10.11.0.2"}, True),
        Flow(200, {**claim, "arp_spa": "0.0.0.0"}, True),
    ]


def test_the_default_is_to_drop_and_only_tunnels_are_free() -> None:
    made = network(port(1), port(2))
    found = flows(made)
    assert found[0] == Flow(0, {}, False)
    free = [flow for flow in found if flow.passes and "eth_src" not in flow.fields]
    assert free == [Flow(100, {"in_port": row.ofport}, True) for row in made.tunnels]


def test_nothing_lets_ipv6_or_tags_pass() -> None:
    passing = [flow.fields for flow in flows(network(port(1))) if flow.passes and "eth_src" in flow.fields]
    assert all(fields["eth_type"] in (0x0800, 0x0806) and fields["vlan"] == 0 for fields in passing)


def test_a_port_that_could_not_be_opened_gets_no_flow() -> None:
    made = network(port(1))
    shut = replace(made, ports=tuple(replace(row, ofport=-1) for row in made.ports))
    assert flows(shut) == [Flow(0, {}, False)]


def test_a_foreign_port_on_our_bridge_gets_no_flow() -> None:
    made = network(port(1))
    (tap,) = made.taps
    stranger = replace(made, ports=(*made.tunnels, replace(tap, external_ids={"owner": "admin"})))
    assert not [flow for flow in flows(stranger) if flow.fields.get("in_port") == tap.ofport]


def test_damaged_external_ids_are_refused_and_not_guessed() -> None:
    made = network(port(1))
    (tap,) = made.taps
    for harm in ({"vc-mac": "x,actions=NORMAL"}, {"vc-address": "1.2.3.4,actions=NORMAL"}, {"vc-mac": "01:00:00:00:00:01"}, {"vc-uid": ""}):
        spoilt = replace(made, ports=(replace(tap, external_ids={**(tap.external_ids or {}), **harm}),))
        refused("invalid", flows, spoilt)


NORMAL = bytes.fromhex("000400180000000000000010fffffffa0000000000000000")


def test_flows_are_written_as_the_switch_writes_them() -> None:
    """As Open vSwitch 3.1 answered when ovs-ofctl had put them there."""
    packet = {"in_port": 3, "eth_src": "02:00:27:11:00:00", "vlan": 0, "eth_type": 0x0800}
    start = ["8000000400000003", "80000806020027110000", "80000a020800", "80000c020000"]
    said = {
        (300, (*start, "8000140111", "800020020044")): (0, 0, b""),
        (200, (*start, "800016040a0b0001")): (0, 0, NORMAL),
        (0, ()): (0, 0, b""),
    }
    wanted = [Flow(300, {**packet, "ip_proto": 17, "udp_dst": 68}, False), Flow(200, {**packet, "ipv4_src": "10.11.0.1"}, True)]
    assert compiled([*wanted, Flow(0, {}, False)]) == {
        (0, priority, frozenset(map(bytes.fromhex, fields))): rest for (priority, fields), rest in said.items()
    }


class _There:
    """A bridge that has these flows."""

    def __init__(self, have: Flows, fragments: bool) -> None:
        self.flows = lambda: have
        self.matches_fragments = lambda: fragments

    def __enter__(self) -> _There:
        return self

    def __exit__(self, *_exception: object) -> None:
        pass


@pytest.mark.parametrize(
    ("more", "verdict"),
    [
        ([], True),
        ([Flow(200, {"in_port": 99, "eth_type": 0x0800}, True)], True),
        ([Flow(200, {"in_port": 1, "eth_type": 0x0800}, True)], False),
        ([Flow(5, {}, True)], False),
        ([Flow(5, {"in_port": 0xFFFFFFFE}, True)], False),
        ([Flow(0, {}, True)], False),
    ],
)
def test_only_flows_of_ports_that_are_gone_are_no_difference(monkeypatch: pytest.MonkeyPatch, more: list[Flow], verdict: bool) -> None:
    made = network(port(1))
    have = compiled([*flows(made), *more])

    def verdict_on(seen: Flows, fragments: bool = True) -> bool:
        def opened(bridge: str, _until: float) -> Any:
            assert bridge == made.bridge
            return _There(seen, fragments)

        monkeypatch.setattr(subject, "Switch", opened)
        return installed(made)

    assert verdict_on(have) is verdict
    assert not verdict_on(have, fragments=False)
    for key in compiled(flows(made)):
        assert not verdict_on({other: rest for other, rest in have.items() if other != key})
        assert not verdict_on({**have, key: (10, *have[key][1:])})


def test_a_switch_that_is_not_there_has_no_flows() -> None:
    assert not installed(network(port(1)))
