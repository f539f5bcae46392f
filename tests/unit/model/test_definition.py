# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a user may write, and how a mistake is named."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.model import definition
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.definitions import DOCUMENTED, KEY, OTHER_KEY, changed, computes, definitions
from tests.unit.hostile import every_hostile
from tests.unit.refusal import refused


def test_the_documented_definition() -> None:
    parsed = definition.parse(DOCUMENTED)
    assert (parsed.name, parsed.owner, parsed.account, parsed.members) == ("vc1", "labuser", "physics", ())
    assert (parsed.cidr, parsed.mtu, parsed.vni, parsed.pkey) == ("10.11.0.0/24", 1500, None, None)
    frontend, first, second = parsed.nodes
    assert frontend == definition.NodeRequest(
        "frontend", "frontend", 2, 1024, 8192, "debian12@r1", True, None, None, "fe1", definition.Public("br-public", "10.79.0.101/24", "")
    )
    assert first == definition.NodeRequest("compute0", "compute", 1, 512, 0, "debian12@r1", False)
    assert second.name == "compute1"


def test_a_null_is_as_good_as_nothing_written() -> None:
    nulls = changed(
        members=None, network__vni=None, network__pkey=None, frontend__address=None, frontend__public__gateway=None, computes__0__macs=None
    )
    assert definition.parse(nulls) == definition.parse(DOCUMENTED)


def test_a_cluster_of_computes_only_and_one_of_a_frontend_only() -> None:
    assert all(node.role == "compute" for node in definition.parse(changed(frontend=...)).nodes)
    assert [node.name for node in definition.parse(changed(computes=...)).nodes] == ["frontend"]


def test_explicit_numbers() -> None:
    parsed = definition.parse(
        changed(
            network={"cidr": "10.12.0.0/16", "vni": "77", "pkey": "0x12", "mtu": 9000},
            members=["anna"],
            ssh_authorized_keys=[KEY, OTHER_KEY],
            frontend__address="10.12.0.1",
            frontend__name="login",
            computes=[
                computes("n[1-2]", macs=["52:54:00:00:00:0A", "52:54:00:00:00:0b"], address="10.12.1.9", persistent=True, disk="20GiB")
            ],
        )
    )
    assert (parsed.vni, parsed.pkey, parsed.mtu, parsed.members) == (77, "0x0012", 9000, ("anna",))
    assert [(node.name, node.mac, node.address) for node in parsed.nodes] == [
        ("login", None, "10.12.0.1"),
        ("n1", "52:54:00:00:00:0a", "10.12.1.9"),
        ("n2", "52:54:00:00:00:0b", "10.12.1.10"),
    ]
    assert parsed.nodes[1].persistent
    assert parsed.nodes[1].disk_mib == 20480


# (changes, code, what the message must name)
REFUSED: list[tuple[dict[str, Any], str, str]] = [
    ({"name": "VC1"}, "invalid", "name VC1"),
    ({"name": ...}, "invalid", "name"),
    ({"owner": ...}, "invalid", "vc1 owner"),
    ({"owner": "root"}, "invalid", "vc1 owner root"),
    ({"owner": 2001}, "invalid", "vc1 owner 2001"),
    ({"account": ...}, "invalid", "vc1 account"),
    ({"account": "a b"}, "invalid", "vc1 account a b"),
    ({"members": "anna"}, "invalid", "vc1 members anna"),
    ({"members": ["anna", "Anna"]}, "invalid", "vc1 members[1] Anna"),
    ({"members": ["anna", "anna"]}, "duplicate", "vc1 members[1] anna"),
    ({"members": ["labuser"]}, "duplicate", "vc1 members[0] labuser"),
    ({"nodes": "n1"}, "invalid", "vc1 nodes"),
    ({"network": "10.11.0.0/24"}, "invalid", "vc1 network 10.11.0.0/24"),
    ({"network": {"subnet": "10.11.0.0/24"}}, "invalid", "vc1 network.subnet"),
    ({"network": {"cidr": "10.11.0.1/24"}}, "invalid", "vc1 network.cidr 10.11.0.1/24"),
    ({"network": {"cidr": "10.11.0.0/30"}}, "invalid", "vc1 network.cidr"),
    ({"network": {"vni": 0}}, "invalid", "vc1 network.vni 0"),
    ({"network": {"pkey": "0x8001"}}, "invalid", "vc1 network.pkey 0x8001"),
    ({"network": {"mtu": 100}}, "invalid", "vc1 network.mtu 100"),
    ({"network": {"mtu": True}}, "invalid", "vc1 network.mtu True"),
    ({"ssh_authorized_keys": KEY}, "invalid", "vc1 ssh_authorized_keys"),
    ({"ssh_authorized_keys": [KEY, "ssh-rsa AAAA"]}, "invalid", "vc1 ssh_authorized_keys[1]"),
    ({"ssh_authorized_keys": [KEY, f"{KEY} again"]}, "duplicate", "vc1 ssh_authorized_keys[1]"),
    ({"frontend": []}, "invalid", "vc1 frontend []"),
    ({"frontend__host": ...}, "invalid", "vc1 frontend.host"),
    ({"frontend__host": "fe1;"}, "invalid", "vc1 frontend.host fe1;"),
    ({"frontend__cpus": ...}, "invalid", "vc1 frontend.cpus"),
    ({"frontend__memory": ...}, "invalid", "vc1 frontend.memory"),
    ({"frontend__source": ...}, "invalid", "vc1 frontend.source"),
    ({"frontend__nodes": "n1"}, "invalid", "vc1 frontend.nodes"),
    ({"frontend__name": "Login"}, "invalid", "vc1 frontend.name Login"),
    ({"frontend__persistent": False}, "invalid", "vc1 frontend.persistent"),
    ({"frontend__persistent": "no"}, "invalid", "vc1 frontend.persistent"),
    ({"frontend__cpus": 0}, "invalid", "vc1 frontend.cpus 0"),
    ({"frontend__cpus": "two"}, "invalid", "vc1 frontend.cpus two"),
    ({"frontend__cpus": True}, "invalid", "vc1 frontend.cpus True"),
    ({"frontend__cpus": 1.5}, "invalid", "vc1 frontend.cpus 1.5"),
    ({"frontend__memory": 1024}, "invalid", "vc1 frontend.memory 1024"),
    ({"frontend__memory": "1GB"}, "invalid", "vc1 frontend.memory 1GB"),
    ({"frontend__memory": "8MiB"}, "invalid", "vc1 frontend.memory 8MiB"),
    ({"frontend__disk": "8G"}, "invalid", "vc1 frontend.disk 8G"),
    ({"frontend__source": {}}, "invalid", "vc1 frontend.source"),
    ({"frontend__source": "debian12"}, "invalid", "vc1 frontend.source debian12"),
    ({"frontend__source": {"image": "a", "iso": "b"}}, "invalid", "vc1 frontend.source"),
    ({"frontend__source": {"iso": "debian-12.iso"}}, "invalid", "vc1 frontend.source.iso"),
    ({"frontend__source": {"image": "a@1"}}, "invalid", "vc1 frontend.source.image a@1"),
    ({"frontend__source": {"url": "http://a"}}, "invalid", "vc1 frontend.source.url"),
    ({"frontend__address": "10.12.0.1"}, "invalid", "vc1 frontend address 10.12.0.1"),
    ({"frontend__address": "10.11.0.255"}, "invalid", "vc1 frontend address 10.11.0.255"),
    ({"frontend__macs": "52:54:00:00:00:01"}, "invalid", "vc1 frontend.macs"),
    ({"frontend__macs": ["52:54:00:00:00:01", "52:54:00:00:00:02"]}, "invalid", "vc1 frontend.macs"),
    ({"frontend__public": "br0"}, "invalid", "vc1 frontend.public br0"),
    ({"frontend__public__vlan": 5}, "invalid", "vc1 frontend.public.vlan"),
    ({"frontend__public__bridge": ...}, "invalid", "vc1 frontend.public.bridge"),
    ({"frontend__public__bridge": "br/0"}, "invalid", "vc1 frontend.public.bridge br/0"),
    ({"frontend__public__address": "10.79.0.101"}, "invalid", "vc1 frontend.public.address 10.79.0.101"),
    ({"frontend__public__address": "10.11.0.9/16"}, "conflict", "vc1 frontend.public.address 10.11.0.9/16"),
    ({"frontend__public__gateway": "10.80.0.1"}, "invalid", "vc1 frontend.public.gateway 10.80.0.1"),
    ({"frontend__public__gateway": "10.79.0.101"}, "invalid", "vc1 frontend.public.gateway 10.79.0.101"),
    ({"frontend__public__gateway": "router"}, "invalid", "vc1 frontend.public.gateway router"),
    ({"computes": {"nodes": "n1"}}, "invalid", "vc1 computes"),
    ({"computes": ["n1"]}, "invalid", "vc1 computes[0] n1"),
    ({"computes__0__nodes": ...}, "invalid", "vc1 computes[0].nodes"),
    ({"computes__0__nodes": "n[3-1]"}, "invalid", "vc1 computes[0].nodes n[3-1]"),
    ({"computes__0__nodes": ""}, "invalid", "vc1 computes[0].nodes"),
    ({"computes__0__nodes": "n1,n1"}, "duplicate", "vc1 computes[0].nodes n1,n1"),
    ({"computes__0__nodes": "1n"}, "invalid", "vc1 computes[0].nodes 1n"),
    ({"computes__0__nodes": ["n1"]}, "invalid", "vc1 computes[0].nodes"),
    ({"computes__0__host": "hv1"}, "invalid", "vc1 computes[0].host"),
    ({"computes__0__persistent": "yes"}, "invalid", "vc1 computes[0].persistent yes"),
    ({"computes__0__macs": ["52:54:00:00:00:01"]}, "invalid", "vc1 computes[0].macs"),
    ({"computes__0__macs": ["52:54:00:00:00:01", 41135080953]}, "invalid", "vc1 computes[0].macs[1]"),
    ({"computes__0__macs": ["52:54:00:00:00:01"] * 2}, "duplicate", "vc1 computes[0].macs[1] 52:54:00:00:00:01"),
    ({"computes__0__address": "10.11.0.254"}, "invalid", "vc1 computes[0] address 10.11.0.255"),
    ({"computes__0__address": "255.255.255.255"}, "invalid", "vc1 computes[0].address 255.255.255.255"),
    ({"computes": [computes("n1"), computes("n[1-2]")]}, "duplicate", "vc1 computes[1] name n1"),
    ({"computes": [computes("frontend")]}, "duplicate", "vc1 computes[0] name frontend"),
    (
        {"frontend__address": "10.11.0.7", "computes": [computes("n1", address="10.11.0.7")]},
        "duplicate",
        "vc1 computes[0] address 10.11.0.7",
    ),
    ({"frontend": ..., "computes": []}, "invalid", "vc1 computes"),
    ({"network": {"cidr": "10.0.0.0/16"}, "computes": [computes("n[1-5000]")]}, "invalid", "vc1 computes[0]"),
]


@pytest.mark.parametrize(("changes", "code", "item"), REFUSED, ids=[str(changes)[:60] for changes, _code, _item in REFUSED])
def test_refused(changes: dict[str, Any], code: str, item: str) -> None:
    assert refused(code, definition.parse, changed(**changes)).item.startswith(item)


@pytest.mark.parametrize("value", [None, [], "vc1", 5, [DOCUMENTED]])
def test_what_is_no_mapping_is_refused(value: object) -> None:
    refused("invalid", definition.parse, value)


TEXT_PLACES = [
    "name",
    "owner",
    "account",
    "network__cidr",
    "frontend__name",
    "frontend__host",
    "frontend__cpus",
    "frontend__memory",
    "frontend__disk",
    "frontend__source__image",
    "frontend__address",
    "frontend__public__bridge",
    "frontend__public__address",
    "computes__0__nodes",
    "computes__0__memory",
    "ssh_authorized_keys__0",
]


@every_hostile
def test_hostile_text_is_refused_everywhere(hostile: str) -> None:
    for place in TEXT_PLACES:
        error = refused("invalid", definition.parse, changed(**{place: hostile}))
        assert place.partition("__")[0] in error.item


@every_hostile
def test_hostile_keys_are_refused(hostile: str) -> None:
    for place in ("", "network__", "frontend__", "frontend__source__", "frontend__public__", "computes__0__"):
        data = changed()
        target: Any = data
        for key in place.split("__")[:-1]:
            target = target[int(key) if key.isdigit() else key]
        target[hostile] = 1
        refused("invalid", definition.parse, data)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@given(
    place=st.sampled_from(
        [*TEXT_PLACES, "members", "network", "frontend", "computes", "computes__0", "frontend__public", "frontend__macs"]
    ),
    value=JSON,
)
def test_no_value_anywhere_makes_it_crash(place: str, value: object) -> None:
    try:
        definition.parse(changed(**{place: value}))
    except definition.VcError as error:
        refusal = error
    else:
        return
    assert refusal.remedy
    assert str(refusal).isascii()
    assert str(refusal).isprintable()


@given(definitions())
def test_valid_definitions_are_accepted(data: dict[str, Any]) -> None:
    parsed = definition.parse(data)
    assert len(parsed.nodes) == len(data["computes"]) + ("frontend" in data)
