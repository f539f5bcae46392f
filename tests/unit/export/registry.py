# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What vc_info answers on a vault host with these clusters, and a reader of stanzas that is as strict as xCAT's own is lax."""

from __future__ import annotations

import re
from typing import Any

from tests.unit.planner.computesets import cluster_dict, node_dict


def cluster(
    name: str = "vc1", vni: int = 10001, nodes: tuple[str, ...] = ("frontend", "compute0", "compute1"), **changes: Any
) -> dict[str, Any]:
    """A resolved cluster; the first node is its frontend, with a leg in the site's network."""
    made = [node_dict(node, "compute", index) for index, node in enumerate(nodes)]
    made[0].update(
        role="frontend",
        persistent=True,
        host="fe1",
        public={"bridge": "br-public", "address": f"10.79.0.{vni % 100 + 100}/24", "gateway": "10.79.0.1"},
    )
    for node in made:
        node["mac"] = f"02:00:{vni >> 8:02x}:{vni & 255:02x}:00:{node['index']:02x}"
    return {**cluster_dict(0), "name": name, "network": {"vni": vni, "cidr": "10.11.0.0/24", "mtu": 1500}, "nodes": made, **changes}


def info(*clusters: dict[str, Any], hosts: dict[str, str] | None = None) -> dict[str, Any]:
    """A result of vc_info; `hosts` says where computes of all these clusters are leased to."""
    told = {}
    for each in clusters:
        leases: dict[str, Any] = {node["name"]: {"epoch": 0, "state": "off", "holder": None} for node in each["nodes"]}
        for node, host in (hosts or {}).items():
            leases[node] = {"epoch": 3, "state": "running", "holder": {"kind": "job", "job_id": 42, "host": host, "user": "labuser"}}
        told[each["name"]] = {"cluster": each, "leases": leases, "disks": {}}
    return {"changed": False, "vault": {"clusters": told, "claims": {}, "goldens": {}, "exports": {}}}


def read_stanzas(text: str) -> dict[str, dict[str, str]]:
    """Stanzas by name; AssertionError for anything that xCAT could read otherwise."""
    assert text.isascii()
    assert text.endswith("\n")
    found: dict[str, dict[str, str]] = {}
    here: dict[str, str] | None = None
    for line in text[:-1].split("\n"):
        assert line.isprintable(), line
        if not line or line.startswith("#"):
            here = None
            continue
        if here is None:
            header = re.fullmatch(r"([a-z0-9-]+):", line)
            assert header, line
            assert header[1] not in found, line
            assert "default" not in line
            here = found.setdefault(header[1], {})
            continue
        matched = re.fullmatch(r" {4}([a-z]+)=(\S|\S.*\S)", line)
        assert matched, line
        assert not line.endswith((":", '"')), line
        assert matched[1] not in here, line
        assert here or matched[1] == "objtype", line
        here[matched[1]] = matched[2]
    assert all("groups" in attributes for attributes in found.values())
    return found
