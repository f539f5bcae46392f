# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ports, and reading them back from OVSDB's JSON."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.overlay import bridge, ovsdb
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.overlay.state import Port, is_tap_name

from tests.unit.overlay.switch import port
from tests.unit.refusal import refused

EMPTY: list[Any] = ["set", []]


def dump(ids: dict[str, str]) -> str:
    """What ovs-vsctl 3.1 prints for one bridge with a tunnel and a tap, beside a foreign bridge."""

    def uuid(name: str) -> list[str]:
        return ["uuid", name]

    def table(headings: str, *rows: list[Any]) -> str:
        return json.dumps({"headings": headings.split(","), "data": list(rows)})

    options = {"key": "10001", "local_ip": "10.88.0.21", "remote_ip": "10.88.0.22"}
    return "\n".join(
        [
            table(
                "name,datapath_type,fail_mode,external_ids,ports",
                ["br-phy", "netdev", EMPTY, ["map", []], uuid("p0")],
                ["vcb10001", "netdev", "secure", ["map", list(ids.items())], ["set", [uuid("p1"), uuid("p2"), uuid("p3"), uuid("p4")]]],
            ),
            table(
                "_uuid,name,protected,external_ids,interfaces",
                [uuid("p0"), "br-phy", False, ["map", []], uuid("i0")],
                [uuid("p1"), "vcb10001", False, ["map", []], uuid("i1")],
                [uuid("p2"), "v0027110a580016", True, ["map", [["vc-kind", "tunnel"]]], uuid("i2")],
                [uuid("p3"), "t002711n1", False, ["map", list(port().external_ids().items())], uuid("i3")],
                [uuid("p4"), "stranger", False, ["map", []], uuid("i4")],
            ),
            table(
                "_uuid,name,type,options,ofport,error",
                [uuid("i0"), "br-phy", "internal", ["map", []], 65534, EMPTY],
                [uuid("i1"), "vcb10001", "internal", ["map", []], 65534, EMPTY],
                [uuid("i2"), "v0027110a580016", "vxlan", ["map", list(options.items())], 2, EMPTY],
                [uuid("i3"), "t002711n1", "", ["map", []], -1, "could not open network device t002711n1"],
                [uuid("i4"), "stranger", "", ["map", []], EMPTY, EMPTY],
            ),
        ]
    )


def test_reading_a_dump() -> None:
    overlay = ovsdb.parse(dump({"vc-vni": "10001", "vc-cluster": "vc1", "vc-mtu": "1500", "vc-declared": "true"}))
    (network,) = overlay.networks
    assert (network.bridge, network.vni, network.cluster, network.mtu, network.declared) == ("vcb10001", 10001, "vc1", 1500, True)
    assert (network.datapath, network.fail_mode) == ("netdev", "secure")
    (tunnel,), (tap,) = network.tunnels, network.taps
    assert (tunnel.protected, tunnel.kind, tunnel.ofport) == (True, "vxlan", 2)
    assert Port.from_external_ids(tap.name, network.vni, tap.ids) == port()
    assert (tap.ofport, tap.error) == (-1, "could not open network device t002711n1")
    assert overlay.foreign == {"br-phy", "stranger"}
    assert overlay.holder_of("t002711n1") is network


@pytest.mark.parametrize("ids", [{"vc-vni": "10001"}, {"vc-vni": "0", "vc-cluster": "vc1", "vc-mtu": "1500"}, {"vc-vni": "x"}])
def test_a_damaged_bridge_of_ours_is_nobodys_and_stops_no_other(ids: dict[str, str]) -> None:
    overlay = ovsdb.parse(dump(ids))
    assert overlay.networks == ()
    (damaged,) = overlay.damaged
    assert (damaged.bridge, damaged.cluster) == ("vcb10001", ids.get("vc-cluster", ""))
    assert overlay.damage("t002711n1") is overlay.damage("vcb10001") is damaged
    assert overlay.damage("br-phy") is None
    assert {"vcb10001", "t002711n1", "br-phy"} <= overlay.foreign
    refusal = refused("invalid", bridge.check_foreign, overlay, "vc1", ["vcb10001"])
    assert "look at `ovs-vsctl list bridge vcb10001`" in refusal.remedy


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"headings": [], "data": []}', "no json", '{"headings": 1, "data": []}'])
def test_an_answer_that_is_none_is_a_backend_error(text: str) -> None:
    refused("backend", ovsdb.parse, text)


@pytest.mark.parametrize(
    "wrong",
    [
        {"tap": "eth0"},
        {"tap": "t002712n1"},
        {"tap": "t002711n1;x"},
        {"mac": "02:00:27:11:00:0A"},
        {"mac": "03:00:27:11:00:01"},
        {"address": "10.11.0.2/24"},
        {"address": "10.11.0.2,actions=NORMAL"},
        {"mtu": 0},
        {"user_id": -1},
        {"holder": "job 7"},
        {"holder": 'job:7.0"'},
        {"cluster": "../vc1"},
    ],
)
def test_a_port_with_anything_else_in_it_is_refused(wrong: dict[str, Any]) -> None:
    refused("invalid", port(**wrong).checked)


def test_only_frontends_come_back_after_a_reboot() -> None:
    assert not port().outlives_reboot
    assert port(holder="frontend:vc1").outlives_reboot


def test_tap_names() -> None:
    assert is_tap_name("t002711n65535")
    assert not any(is_tap_name(name) for name in ("tap0", "t002711n", "t002711n123456", "T002711n1", "eth0", "../t002711n1"))
