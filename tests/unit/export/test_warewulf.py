# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""nodes.conf: read back as YAML it says what the registry says, in the schema of Warewulf."""

from __future__ import annotations

import copy
import ipaddress
import re
from typing import Any

import pytest
import yaml
from ansible.errors import AnsibleFilterError
from ansible_collections.hpc.virtual_cluster.plugins.filter import vc_warewulf as plugin
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.export.warewulf import nodes_conf
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.export.registry import cluster, info
from tests.unit.hostile import every_hostile, every_not_text
from tests.unit.refusal import refused

vc_warewulf = plugin.FilterModule().filters()["vc_warewulf"]
# Keys of Warewulf 4.6 that are written here, and what their values have to be.
NODE = {
    "profiles": list,
    "cluster name": str,
    "network devices": dict,
    "primary network": str,
    "tags": dict,
}
DEVICE = {"hwaddr", "ipaddr", "netmask", "gateway", "mtu"}


def read(text: str) -> dict[str, Any]:
    """A tenant's document, checked against the schema."""
    data = yaml.safe_load(text)
    assert list(data) == ["nodeprofiles", "nodes"]
    checked(data["nodes"], text)
    return dict(data)


def read_import(text: str) -> dict[str, Any]:
    """What wwctl node import takes, checked in the same way."""
    return checked(yaml.safe_load(text), text)


def checked(nodes: dict[str, Any], text: str) -> dict[str, Any]:
    seen: set[str] = set()
    for name, node in nodes.items():
        assert re.fullmatch(r"[a-z][a-z0-9-]*", name)
        for key, value in node.items():
            assert isinstance(value, NODE[key]), (name, key)
            assert value
        assert node["primary network"] in node["network devices"]
        for device in node["network devices"].values():
            assert set(device) <= DEVICE
            assert all(isinstance(value, str) and value for value in device.values()), device
            assert re.fullmatch(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}", device["hwaddr"])
            for key in {"ipaddr", "netmask", "gateway"} & set(device):
                ipaddress.IPv4Address(device[key])
            taken = {device["hwaddr"], device.get("ipaddr", device["hwaddr"])}
            assert not taken & seen
            seen |= taken
        assert all(isinstance(value, str) and value for value in node["tags"].values())
    assert not re.search(r"(?m):\s*$\n(?!\s)|[{\[](?![}\]])", text), "a key without a value, or a list or mapping on one line"
    return nodes


def test_a_tenant_gets_the_computes_of_its_own_cluster() -> None:
    data = read(vc_warewulf([info(cluster(), cluster("vc2", 10002))], cluster="vc1"))
    assert list(data["nodes"]) == ["compute0", "compute1"]
    assert data["nodes"]["compute0"] == {
        "profiles": ["default"],
        "cluster name": "vc1",
        "network devices": {"default": {"hwaddr": "02:00:27:11:00:01", "ipaddr": "10.11.0.2", "netmask": "255.255.255.0", "mtu": "1500"}},
        "primary network": "default",
        "tags": {"vc_cluster": "vc1", "vc_node": "compute0"},
    }
    assert data["nodeprofiles"]["default"]


def test_the_owner_gets_all_nodes_and_their_hosts() -> None:
    nodes = read_import(vc_warewulf([info(cluster(), cluster("vc2", 10002), hosts={"compute1": "hv2"})], profile="owner"))
    assert list(nodes) == [f"{vc}-{node}" for vc in ("vc1", "vc2") for node in ("frontend", "compute0", "compute1")]
    hosts = {name: node["tags"].get("vc_host") for name, node in nodes.items()}
    assert (hosts["vc1-frontend"], hosts["vc1-compute0"], hosts["vc2-compute1"]) == ("fe1", None, "hv2")
    # Both clusters have 10.11.0.0/24 inside: no such address is one of the site's.
    assert nodes["vc2-compute1"]["network devices"] == {"default": {"hwaddr": "02:00:27:12:00:02"}}
    assert nodes["vc2-compute1"]["tags"]["vc_address"] == "10.11.0.3"
    assert "profiles" not in nodes["vc1-frontend"]


def test_a_frontend_has_its_public_address() -> None:
    nodes = read_import(nodes_conf([info(cluster())], "owner"))
    frontend = nodes["vc1-frontend"]
    assert frontend["primary network"] == "public"
    assert frontend["network devices"]["public"] == {
        "hwaddr": "06:00:27:11:00:00",
        "ipaddr": "10.79.0.101",
        "netmask": "255.255.255.0",
        "gateway": "10.79.0.1",
    }


def test_for_wwctl_node_import() -> None:
    infos = [info(cluster())]
    assert yaml.safe_load(nodes_conf(infos, form="import")) == yaml.safe_load(nodes_conf(infos))["nodes"]
    assert yaml.safe_load(nodes_conf([info(cluster(nodes=("frontend",)))], form="import")) == {}
    assert read(nodes_conf([info(cluster(nodes=("frontend",)))]))["nodes"] == {}


def test_the_owner_gets_no_file_that_would_replace_the_site_s() -> None:
    infos = [info(cluster())]
    assert "nodeprofiles" not in nodes_conf(infos, "owner")
    assert nodes_conf(infos, "owner") == nodes_conf(infos, "owner", form="import")
    assert "take the place" in str(refused("invalid", nodes_conf, infos, "owner", form="file"))


def test_throw_away_machines_are_left_out_unless_they_are_named() -> None:
    infos = [info(cluster(), cluster("job42", 20042, ("vm0", "vm1")), cluster("job43-1", 20043, ("vm0",)))]
    assert list(read_import(nodes_conf(infos, "owner"))) == ["vc1-frontend", "vc1-compute0", "vc1-compute1"]
    assert list(read(nodes_conf(infos))["nodes"]) == ["compute0", "compute1"]
    assert list(read_import(nodes_conf(infos, "owner", "job43-1"))) == ["vni20043n0"]
    assert list(read(nodes_conf(infos, cluster="job42"))["nodes"]) == ["vm1"]


def test_macs_stay_text_where_yaml_would_make_numbers_of_them() -> None:
    made = cluster()
    made["nodes"][1]["mac"] = "52:54:00:11:22:33"
    assert yaml.safe_load("52:54:00:11:22:33") == 41135080953
    assert read(nodes_conf([info(made)]))["nodes"]["compute0"]["network devices"]["default"]["hwaddr"] == "52:54:00:11:22:33"


@pytest.mark.parametrize("name", ["no", "on", "y", "null", "true", "n"])
def test_names_stay_text_where_yaml_would_make_truth_of_them(name: str) -> None:
    assert list(read(nodes_conf([info(cluster(nodes=("frontend", name)))]))["nodes"]) == [name]


PROFILES = {
    "default": {
        "image name": "debian12",
        "kernel": {"version": "6.1", "args": ["console=ttyS0,115200n8", "quiet"]},
        "system overlay": ["wwinit", "hostname"],
        "disks": {"/dev/vda": {"wipe_table": True, "partitions": {"root": {"number": "1", "size_mib": 1024, "should_exist": True}}}},
        "filesystems": {"/dev/vda1": {"format": "ext4", "options": ["-L", "root"], "mount_options": "noatime", "wipe_filesystem": False}},
        "network devices": {"ib0": {"type": "infiniband", "netmask": "255.255.255.0", "gateway6": "fd00::1", "mtu": 2044, "onboot": True}},
        "ipmi": {"ipaddr": "10.0.0.9", "write": True, "tags": {"rack": "3"}},
        "tags": {},
    },
    "gpu": {"profiles": ["default"]},
}


def test_profiles_of_the_site() -> None:
    text = nodes_conf([info(cluster())], nodeprofiles=PROFILES)
    assert yaml.safe_load(text)["nodeprofiles"] == PROFILES
    assert '      - "console=ttyS0,115200n8"\n' in text


def test_resources_as_warewulf_s_own_overlays_read_them() -> None:
    resources = {
        "fstab": [{"spec": "nas:/home", "file": "/home", "mntops": ["rw", "hard"]}, {"spec": "nas:/opt", "file": "/opt"}],
        "limits": [[1, 2.5], [], {}, [{"a": 1e-7}]],
    }
    text = nodes_conf([info(cluster())], nodeprofiles={"default": {"resources": resources}})
    assert read(text)["nodeprofiles"]["default"]["resources"] == resources
    assert '        - spec: "nas:/home"\n          file: "/home"\n' in text


VALUES = st.text() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
KEYS = st.text(min_size=1)


# Each is written and read by PyYAML's own Python, which takes its time.
@settings(max_examples=40)
@given(st.dictionaries(KEYS, st.recursive(VALUES, lambda inner: st.dictionaries(KEYS, inner) | st.lists(inner))))
def test_any_resource_reads_back(content: Any) -> None:
    profiles = {"default": {"resources": content}}
    surrogates = any("\ud800" <= char <= "\udfff" for char in str(content))
    if not surrogates:
        assert yaml.safe_load(nodes_conf([info(cluster())], nodeprofiles=profiles))["nodeprofiles"] == profiles


@every_hostile
def test_hostile_text_in_a_profile_stays_one_value(hostile: str) -> None:
    profiles: dict[str, Any] = {"default": {"comment": hostile, "kernel": {"args": [hostile]}, "tags": {"a": hostile}}}
    if 0 < len(hostile) <= 256:
        profiles["default"]["tags"][hostile] = "a"
    text = nodes_conf([info(cluster())], nodeprofiles=profiles)
    assert yaml.safe_load(text) == {**yaml.safe_load(nodes_conf([info(cluster())])), "nodeprofiles": profiles}


@pytest.mark.parametrize(
    "profiles",
    [
        {"default": None},
        {"default": {"comment": None}},
        {"default": []},
        [],
        "x",
        {"default": {1: "a"}},
        {"default": {"comment": 1.5}},
        {"default": {"tags": {"a": ["b"]}}},
        {"default": {"tags": {"a": {"b": "c"}}}},
        {"default": {"tags": "a"}},
        {"default": {"comment": ["a"]}},
        {"default": {"kernel": {"args": "quiet"}}},
        {"default": {"kernel": {"args": [["quiet"]]}}},
        {"default": {"kernel": "6.1"}},
        {"default": {"runtime overlay": "wwinit"}},
        {"default": {"network devices": {"eth0": {"netmask": "ffffff00"}}}},
        {"default": {"network devices": {"eth0": {"ipaddr": "10.0.0.1/24"}}}},
        {"default": {"network devices": {"eth0": {"ipaddr": 167772161}}}},
        {"default": {"network devices": {"eth0": {"ipaddr6": "fe80::1%eth0"}}}},
        {"default": {"network devices": {"eth0": None}}},
        {"default": {"ipmi": {"ipaddr": "bmc1"}}},
        {"default": {"disks": {"/dev/vda": {"wipe_table": "true"}}}},
        {"default": {"disks": {"/dev/vda": {"partitions": {"root": {"resize": 1}}}}}},
        {"default": {"filesystems": {"/dev/vda1": {"options": "-L"}}}},
        {"default": {"container name": "debian12"}},
        {"default": {"asset key": "a"}},
        {"default": {"resources": {"a": None}}},
        {"default": {"resources": {"a": [{"b": [None]}]}}},
        {"default": {"resources": {"a": [{1: "b"}]}}},
        {"default": {"resources": {"a": [float("nan")]}}},
        {"default": {"resources": {"a": float("inf")}}},
        {"": {}},
        {"a" * 300: {}},
    ],
)
def test_profiles_that_warewulf_would_not_read_are_refused(profiles: Any) -> None:
    refused("invalid", nodes_conf, [info(cluster())], nodeprofiles=profiles)


@pytest.mark.parametrize("place", ["name", "owner", "account", "node", "mac", "address", "host"])
@every_hostile
def test_hostile_text_in_the_registry_is_refused(place: str, hostile: str) -> None:
    made = damaged(place, hostile)
    if place == "host" and not hostile:
        return
    with pytest.raises(AnsibleFilterError, match="vc_warewulf"):
        vc_warewulf([made], profile="owner")


@pytest.mark.parametrize("place", ["name", "owner", "account", "node", "mac", "address"])
@every_not_text
def test_what_is_not_text_is_refused(place: str, value: object) -> None:
    with pytest.raises(AnsibleFilterError, match="vc_warewulf"):
        vc_warewulf([damaged(place, value)], profile="owner")


def damaged(place: str, value: object) -> dict[str, Any]:
    """A registry with this value in one place."""
    made = copy.deepcopy(info(cluster(), hosts={"compute0": "hv1"}))
    entry = made["vault"]["clusters"]["vc1"]
    if place == "host":
        entry["leases"]["compute0"]["holder"]["host"] = value
    elif place in ("node", "mac", "address"):
        entry["cluster"]["nodes"][1]["name" if place == "node" else place] = value
    else:
        entry["cluster"][place] = value
    return made


@pytest.mark.parametrize("infos", [info(cluster()), "text", [3], [None], {}, 5])
def test_what_is_no_list_of_results_is_refused(infos: Any) -> None:
    with pytest.raises(AnsibleFilterError, match="vc_info"):
        vc_warewulf(infos)


def test_refusals() -> None:
    two = [info(cluster(), cluster("vc2", 10002))]
    assert "there are 2" in str(refused("invalid", nodes_conf, two))
    refused("invalid", nodes_conf, [info()])
    refused("invalid", nodes_conf, [{"slurm": {"jobs": []}}])
    refused("invalid", nodes_conf, [])
    refused("unknown", nodes_conf, two, cluster="vc9")
    refused("invalid", nodes_conf, two, cluster="../x")
    refused("invalid", nodes_conf, two, "root")
    refused("invalid", nodes_conf, two, form="csv")
    refused("version", nodes_conf, [info(cluster(schema=2))])
