# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Stanzas: a strict reader finds what the registry says, under names that xCAT takes for nothing else."""

from __future__ import annotations

import re
from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.hpc.virtual_cluster.plugins.filter import vc_xcat as plugin
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.export.entries import reads_as_range
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.export.xcat import stanza, stanzas
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.export.registry import cluster, info, read_stanzas
from tests.unit.export.test_warewulf import damaged
from tests.unit.hostile import every_hostile, every_not_text
from tests.unit.refusal import refused

vc_xcat = plugin.FilterModule().filters()["vc_xcat"]


def test_a_tenant_gets_the_computes_of_its_own_cluster() -> None:
    found = read_stanzas(vc_xcat([info(cluster(), cluster("vc2", 10002))], cluster="vc1"))
    assert list(found) == ["compute0", "compute1"]
    assert found["compute1"] == {
        "objtype": "node",
        "groups": "all,vc,vc1",
        "arch": "x86_64",
        "netboot": "xnba",
        "ip": "10.11.0.3",
        "mac": "02:00:27:11:00:02",
    }
    assert read_stanzas(vc_xcat([info(cluster())], netboot="grub2"))["compute0"]["netboot"] == "grub2"


def test_the_owner_gets_all_nodes_and_their_hosts() -> None:
    found = read_stanzas(vc_xcat([info(cluster(), cluster("vc2", 10002), hosts={"compute1": "hv2"})], profile="owner"))
    assert list(found) == [f"{vc}-{node}" for vc in ("vc1", "vc2") for node in ("frontend", "compute0", "compute1")]
    assert found["vc2-compute1"] == {
        "objtype": "node",
        "groups": "vc,vni10002",
        "arch": "x86_64",
        "mac": "02:00:27:12:00:02",
        "vmhost": "hv2",
        "vmcpus": "2",
        "vmmemory": "512",
        "vmnics": "vcb10002",
        "usercomment": "compute compute1 of vc2, owner labuser, account physics, 10.11.0.3 (02:00:27:12:00:02) inside",
    }
    frontend = found["vc1-frontend"]
    assert (frontend["vmhost"], frontend["ip"], frontend["mac"]) == ("fe1", "10.79.0.101", "06:00:27:11:00:00")
    assert frontend["vmnics"] == "vcb10001,br-public"
    assert "vmhost" not in found["vc1-compute0"]


def test_nothing_to_tell_is_a_file_of_comments() -> None:
    assert read_stanzas(stanzas([info(cluster(nodes=("frontend",)))])) == {}
    assert read_stanzas(stanzas([info()], "owner")) == {}


@pytest.mark.parametrize("name", ["all", "vc", "vc1", "sim-node0", "a-b-c", "default", "mydefault1", "vni10001n2", "n1-n3"])
def test_a_node_that_xcat_would_misread_gets_a_name_from_numbers(name: str) -> None:
    found = read_stanzas(stanzas([info(cluster(nodes=("frontend", name, "compute1")))]))
    assert list(found) == ["vni10001n1", "compute1"] if name < "compute1" else ["compute1", "vni10001n1"]
    assert found["vni10001n1"]["hostnames"] == name
    assert "hostnames" not in found["compute1"]


@pytest.mark.parametrize(
    ("vc", "node", "named"),
    [
        ("vc1", "compute0", "vc1-compute0"),
        ("c1", "c3", "vni10001n1"),
        ("vc", "vc", "vni10001n1"),
        ("my-vc", "compute0", "vni10001n1"),
        ("vc1", "sim-node0", "vni10001n1"),
        ("default", "node", "vni10001n1"),
        ("a", "xdefaulty", "vni10001n1"),
        ("all", "a1", "all-a1"),
        ("vni7", "a1", "vni7-a1"),
    ],
)
def test_a_name_for_the_whole_site(vc: str, node: str, named: str) -> None:
    found = read_stanzas(stanzas([info(cluster(vc, nodes=("frontend", node)))], "owner"))
    assert named in found
    assert found[named]["groups"] == "vc,vni10001"
    assert found[named].get("hostnames") == (None if named == f"{vc}-{node}" else f"{vc}-{node}")


@pytest.mark.parametrize(
    ("vc", "group"),
    [
        ("vc1", "vc1"),
        ("compute", "compute"),
        ("vc", "vni10001"),
        ("all", "vni10001"),
        ("my-vc", "vni10001"),
        ("default", "vni10001"),
        ("vni7", "vni10001"),
    ],
)
def test_a_group_on_its_own_frontend(vc: str, group: str) -> None:
    assert read_stanzas(stanzas([info(cluster(vc))]))["compute1"]["groups"] == f"all,vc,{group}"


@pytest.mark.parametrize("vc", ["compute", "login", "service", "all", "node001", "vni10002"])
def test_whatever_a_cluster_is_called_its_nodes_join_no_group_of_the_site(vc: str) -> None:
    for attributes in read_stanzas(stanzas([info(cluster(vc), cluster("vc2", 10002))], "owner")).values():
        assert attributes["groups"] in ("vc,vni10001", "vc,vni10002")
        assert attributes["groups"].endswith("10002") == ("of vc2," in attributes["usercomment"])


NAMES = st.from_regex(r"[ab][ab01-]{0,3}[ab01]", fullmatch=True)


@given(st.lists(st.tuples(NAMES, NAMES), min_size=2, max_size=6, unique_by=lambda pair: pair[0]))
def test_no_two_nodes_share_a_name_and_no_name_has_two_readings(pairs: list[tuple[str, str]]) -> None:
    told = [cluster(vc, 10001 + number, nodes=("x", node)) for number, (vc, node) in enumerate(pairs)]
    found = read_stanzas(stanzas([info(*told)], "owner"))
    assert len(found) == 2 * len(pairs)
    for name in found:
        assert name.count("-") <= 1
        left, dash, right = name.partition("-")
        assert not dash or not expands(left, right)


def expands(left: str, right: str) -> bool:
    """As NodeRange.pm reads ``left-right`` when it knows no node of this name."""
    if left == right:
        return True
    pieces = [re.split(r"(\d+)", half) for half in (left, right)]
    for half in pieces:
        # Perl's split drops empty pieces at the end.
        while half and not half[-1]:
            half.pop()
    if len(pieces[0]) != len(pieces[1]):
        return False
    for place, (one, other) in enumerate(zip(*pieces)):
        if one.isdigit() and other.isdigit():
            if one != other:
                return pieces[0][place + 1 :] == pieces[1][place + 1 :]
        elif one != other:
            return False
    return False


@given(NAMES, NAMES)
def test_whatever_xcat_expands_counts_as_a_range(left: str, right: str) -> None:
    assert reads_as_range(left, right) or not expands(left, right)


@every_hostile
def test_hostile_text_cannot_make_a_line(hostile: str) -> None:
    refused("invalid", stanza, hostile, {"objtype": "node", "groups": "all"})
    refused("invalid", stanza, "compute0", {"objtype": "node", hostile: "a"})
    try:
        text = stanza("compute0", {"objtype": "node", "groups": "all", "usercomment": hostile})
    except Exception:
        refused("invalid", stanza, "compute0", {"objtype": "node", "groups": "all", "usercomment": hostile})
        return
    read = read_stanzas(text)
    assert list(read) == ["compute0"]
    assert read["compute0"].get("usercomment", "") == hostile


@pytest.mark.parametrize("value", ["a:", "a\n    ip=10.0.0.1", "x\nevil:", '"a"', 'a"', " a", "a ", "\u00e4"])
def test_values_that_xcat_would_not_read_back_are_refused(value: str) -> None:
    refused("invalid", stanza, "compute0", {"objtype": "node", "usercomment": value})


@pytest.mark.parametrize("name", ["default-node", "default", "a-b-c", "a:", "a b"])
def test_names_that_xcat_would_misread_are_refused(name: str) -> None:
    refused("invalid", stanza, name, {"objtype": "node"})


def test_objtype_comes_first() -> None:
    refused("invalid", stanza, "compute0", {"ip": "10.11.0.2", "objtype": "node"})
    refused("invalid", stanza, "compute0", {})


@pytest.mark.parametrize("place", ["name", "owner", "account", "node", "mac", "address", "host"])
@every_hostile
def test_hostile_text_in_the_registry_is_refused(place: str, hostile: str) -> None:
    if place == "host" and not hostile:
        return
    with pytest.raises(AnsibleFilterError, match="vc_xcat"):
        vc_xcat([damaged(place, hostile)], profile="owner")


@pytest.mark.parametrize("place", ["name", "owner", "account", "node", "mac", "address"])
@every_not_text
def test_what_is_not_text_is_refused(place: str, value: object) -> None:
    with pytest.raises(AnsibleFilterError, match="vc_xcat"):
        vc_xcat([damaged(place, value)], profile="owner")


@pytest.mark.parametrize("infos", [info(cluster()), "text", [3], [None], {}, 5])
def test_what_is_no_list_of_results_is_refused(infos: Any) -> None:
    with pytest.raises(AnsibleFilterError, match="vc_info"):
        vc_xcat(infos)


def test_refusals() -> None:
    refused("invalid", stanzas, [info(cluster())], netboot="yaboot")
    refused("invalid", stanzas, [info(cluster(), cluster("vc2", 10002))])
    refused("unknown", stanzas, [info(cluster())], cluster="vc9")
