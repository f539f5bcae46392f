# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The resolved cluster crosses JSON unchanged, and refuses what was tampered with or is newer."""

from __future__ import annotations

import contextlib
import copy
import json
from typing import Any

import pytest
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.model.cluster import Cluster
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.model.definition import parse
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.model.errors import VcError
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.planner.cluster import plan_cluster
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.definitions import KEY, definitions
from tests.unit.hostile import every_hostile
from tests.unit.refusal import refused

# The example in docs/architecture.md, section 4.
DOCUMENTED: dict[str, Any] = {
    "schema": 1,
    "name": "vc1",
    "owner": "labuser",
    "members": [],
    "account": "physics",
    "network": {"vni": 10001, "cidr": "10.11.0.0/24", "mtu": 1500},
    "pkey": "0x0001",
    "ssh_authorized_keys": [KEY],
    "ssh_public_key": KEY,
    "nodes": [
        {
            "name": "frontend",
            "role": "frontend",
            "index": 0,
            "mac": "02:00:27:11:00:00",
            "guid": "0x0200271100000000",
            "address": "10.11.0.1",
            "cpus": 2,
            "memory_mib": 1024,
            "disk_mib": 8192,
            "image": "debian12@r1",
            "persistent": True,
            "host": "fe1",
            "public": {"bridge": "br-public", "address": "10.79.0.101/24", "gateway": ""},
        },
        {
            "name": "compute0",
            "role": "compute",
            "index": 1,
            "mac": "02:00:27:11:00:01",
            "guid": "0x0200271100000001",
            "address": "10.11.0.2",
            "cpus": 1,
            "memory_mib": 512,
            "disk_mib": 0,
            "image": "debian12@r1",
            "persistent": False,
            "host": "",
            "public": None,
        },
    ],
}


def changed(path: str, value: Any) -> dict[str, Any]:
    data = copy.deepcopy(DOCUMENTED)
    *parents, last = (int(key) if key.isdigit() else key for key in path.split("."))
    place: Any = data
    for parent in parents:
        place = place[parent]
    if value is ...:
        del place[last]
    else:
        place[last] = value
    return data


def test_the_documented_example_is_read_and_written_back() -> None:
    cluster = Cluster.from_dict(DOCUMENTED)
    assert cluster.to_dict() == DOCUMENTED
    assert cluster.frontend is cluster.node("frontend")
    assert [node.name for node in cluster.computes] == ["compute0"]
    assert cluster.users == ("labuser",)


@given(definitions())
def test_whatever_is_planned_crosses_json_unchanged(data: dict[str, Any]) -> None:
    planned, cluster = plan_cluster(parse(data), None, [])
    assert Cluster.from_dict(json.loads(json.dumps(cluster.to_dict()))) == cluster
    assert planned.after == cluster.to_dict()


def test_an_unknown_node_is_named() -> None:
    error = refused("unknown", Cluster.from_dict(DOCUMENTED).node, "compute9")
    assert error.item == "vc1/compute9"


@every_hostile
def test_a_hostile_node_name_is_unknown(hostile: str) -> None:
    refused("unknown", Cluster.from_dict(DOCUMENTED).node, hostile)


def test_a_newer_schema_is_refused_as_such() -> None:
    error = refused("version", Cluster.from_dict, {**DOCUMENTED, "schema": 2, "novelty": {}})
    assert error.item == "vc1"


@pytest.mark.parametrize(
    ("path", "value", "code"),
    [
        ("schema", ..., "invalid"),
        ("schema", 0, "invalid"),
        ("schema", True, "invalid"),
        ("schema", "1", "invalid"),
        ("name", "../vc1", "invalid"),
        ("owner", ..., "invalid"),
        ("owner", "", "invalid"),
        ("members", "anna", "invalid"),
        ("network", [], "invalid"),
        ("network.vni", 0, "invalid"),
        ("network.extra", 1, "invalid"),
        ("pkey", "0x8001", "invalid"),
        ("extra", 1, "invalid"),
        ("ssh_authorized_keys", ["a\nb"], "invalid"),
        ("ssh_public_key", 5, "invalid"),
        ("nodes", {}, "invalid"),
        ("nodes.0", "frontend", "invalid"),
        ("nodes.0.role", "storage", "invalid"),
        ("nodes.0.index", -1, "invalid"),
        ("nodes.0.index", True, "invalid"),
        ("nodes.0.cpus", "2", "invalid"),
        ("nodes.0.persistent", 1, "invalid"),
        ("nodes.0.host", "fe1;reboot", "invalid"),
        ("nodes.0.public", "br0", "invalid"),
        ("nodes.0.public.bridge", "a/b", "invalid"),
        ("nodes.0.image", "../../etc", "invalid"),
        ("nodes.0.mac", ..., "invalid"),
        ("nodes.0.extra", 1, "invalid"),
        ("nodes.1.address", "10.12.0.1", "invalid"),
        ("nodes.1.name", "frontend", "duplicate"),
        ("nodes.1.index", 0, "duplicate"),
        ("nodes.1.mac", "02:00:27:11:00:00", "duplicate"),
        ("nodes.1.guid", "0x0200271100000000", "duplicate"),
        ("nodes.1.address", "10.11.0.1", "duplicate"),
        ("nodes.1.role", "frontend", "duplicate"),
    ],
)
def test_tampering_is_refused(path: str, value: Any, code: str) -> None:
    refused(code, Cluster.from_dict, changed(path, value))


@pytest.mark.parametrize("value", [None, [], "vc1", 5])
def test_what_is_no_mapping_is_refused(value: Any) -> None:
    refused("invalid", Cluster.from_dict, value)


@given(
    path=st.sampled_from(["name", "network", "nodes", "nodes.0", "nodes.0.public", "nodes.1.cpus", "pkey", "members"]),
    value=st.from_type(object),
)
def test_no_value_anywhere_makes_it_crash(path: str, value: Any) -> None:
    with contextlib.suppress(VcError):
        Cluster.from_dict(changed(path, value))
