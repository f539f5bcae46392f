# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Carries ovs-vsctl commands out on a state in memory, so that plans can be followed to their end without Open vSwitch."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from ansible_collections.hpc.virtual_cluster.plugins.module_utils.model.host import OverlayHost
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.overlay.bridge import Wanted, add_tap, changes
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.overlay.state import Network, Overlay, Port, PortRow

HOST = OverlayHost("10.88.0.21", "netdev", 1600, ("10.88.0.20", "10.88.0.21", "10.88.0.22"))
VC1 = Wanted("vc1", 10001, 1500, declared=True)


def port(index: int = 1, **other: Any) -> Port:
    fields: dict[str, Any] = {
        "tap": f"t002711n{index}",
        "vni": 10001,
        "mac": f"02:00:27:11:00:{index:02x}",
        "address": f"10.11.0.{index + 1}",
        "mtu": 1500,
        "user_id": 2001,
        "cluster": "vc1",
        "holder": "job:7.0",
    }
    return Port(**{**fields, **other})


def network(*ports: Port, wanted: Wanted = VC1, host: OverlayHost = HOST) -> Network:
    """A network as it is after everything was carried out."""
    sections = [*changes(None, wanted, host), *(section for one in ports for section in add_tap(one))]
    (made,) = carried_out(Overlay(), sections).networks
    return made


def carried_out(overlay: Overlay, sections: Sequence[Sequence[str]]) -> Overlay:
    """The state after one transaction; fails on a command that ovs-vsctl would refuse."""
    bridges: dict[str, dict[str, Any]] = {}
    for one in overlay.networks:
        ids = {
            "vc-vni": str(one.vni),
            "vc-cluster": one.cluster,
            "vc-mtu": str(one.mtu),
            **({"vc-declared": "true"} if one.declared else {}),
        }
        rows = {row.name: row for row in one.ports}
        bridges[one.bridge] = {"datapath_type": one.datapath, "fail_mode": one.fail_mode, "external_ids": ids, "ports": rows}
    for section in sections:
        _carry_out(bridges, list(section))
    networks = []
    for name, bridge in bridges.items():
        ids = bridge["external_ids"]
        networks.append(
            Network(
                bridge=name,
                vni=int(ids["vc-vni"]),
                cluster=ids["vc-cluster"],
                mtu=int(ids["vc-mtu"]),
                declared=ids.get("vc-declared") == "true",
                datapath=bridge["datapath_type"],
                fail_mode=bridge["fail_mode"],
                ports=tuple(replace(row, ofport=row.ofport or place) for place, row in enumerate(_sorted(bridge["ports"]), 1)),
            )
        )
    return replace(overlay, networks=tuple(sorted(networks, key=lambda one: one.vni)))


def _sorted(rows: dict[str, PortRow]) -> list[PortRow]:
    return [rows[name] for name in sorted(rows)]


def _carry_out(bridges: dict[str, dict[str, Any]], section: list[str]) -> None:
    verb, *words = section
    if verb == "add-br":
        assert words[0] not in bridges
        bridges[words[0]] = {"datapath_type": "", "fail_mode": "", "external_ids": {}, "ports": {}}
    elif verb == "del-br":
        del bridges[words[0]]
    elif verb == "add-port":
        assert words[1] not in _rows(bridges)
        bridges[words[0]]["ports"][words[1]] = PortRow(words[1], options={}, external_ids={})
    elif verb == "del-port":
        del bridges[words[0]]["ports"][words[1]]
    elif verb == "remove":
        del bridges[words[1]][words[2]][words[3]]
    elif verb == "clear":
        _change(bridges, words[1], options={})
    elif words[0] == "Bridge":
        for column, key, value in map(_setting, words[2:]):
            if key:
                bridges[words[1]][column][key] = value
            else:
                bridges[words[1]][column] = value
    else:
        for column, key, value in map(_setting, words[2:]):
            row = _rows(bridges)[words[1]]
            if key:
                _change(bridges, words[1], **{column: {**getattr(row, column), key: value}})
            else:
                _change(bridges, words[1], **{"kind" if column == "type" else column: value == "true" if column == "protected" else value})


def _rows(bridges: dict[str, dict[str, Any]]) -> dict[str, PortRow]:
    return {name: row for bridge in bridges.values() for name, row in bridge["ports"].items()}


def _change(bridges: dict[str, dict[str, Any]], name: str, **columns: Any) -> None:
    for bridge in bridges.values():
        if name in bridge["ports"]:
            bridge["ports"][name] = replace(bridge["ports"][name], **columns)
            return
    raise AssertionError(f"no port {name}")


def _setting(word: str) -> tuple[str, str, str]:
    name, _equals, value = word.partition("=")
    column, _colon, key = name.partition(":")
    return column, key, json.loads(value) if value.startswith('"') else value
