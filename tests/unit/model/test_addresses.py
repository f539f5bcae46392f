# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""MACs, VNIs, pkeys, GUIDs, IPv4 and interface names."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from typing import Any

import pytest
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.model import addresses
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.hostile import every_hostile
from tests.unit.refusal import refused

VNIS = st.integers(1, addresses.LAST_VNI)
INDEXES = st.integers(0, addresses.LAST_INDEX)
READERS = [
    addresses.parse_mac,
    addresses.parse_vni,
    addresses.parse_pkey,
    addresses.parse_guid,
    addresses.parse_address,
    addresses.parse_cidr,
    addresses.parse_interface,
]
every_reader = pytest.mark.parametrize("read", READERS, ids=lambda read: read.__name__)


@every_hostile
def test_hostile_text_is_refused(hostile: str) -> None:
    for read in READERS:
        refused("invalid", read, hostile)


@every_reader
@pytest.mark.parametrize("value", [None, True, False, 1.5, ["10.0.0.1"], {}, b"10.0.0.1"])
def test_what_is_not_text_is_refused(read: Callable[[Any], Any], value: object) -> None:
    refused("invalid", read, value)


@every_reader
@given(text=st.text(alphabet="0123456789abcdefx:./-", max_size=24))
def test_reading_twice_changes_nothing(read: Callable[[Any], Any], text: str) -> None:
    try:
        once = read(text)
    except addresses.VcError:
        return
    assert read(once) == once


@pytest.mark.parametrize(
    ("text", "mac"), [("52:54:00:12:34:56", "52:54:00:12:34:56"), ("52:54:00:AB:CD:EF", "52:54:00:ab:cd:ef"), ("00:00:00:00:00:01",) * 2]
)
def test_macs(text: str, mac: str) -> None:
    assert addresses.parse_mac(text) == mac


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("01:00:5e:00:00:01", "multicast"),
        ("ff:ff:ff:ff:ff:ff", "multicast"),
        ("00:00:00:00:00:00", "zeros"),
        ("52-54-00-12-34-56", "pairs"),
        ("525400123456", "pairs"),
        ("52:54:00:12:34", "pairs"),
        ("52:54:00:12:34:56:78", "pairs"),
        ("52:54:00:12:34:5g", "pairs"),
        ("52:54:00:12:34:5\u0661", "pairs"),
        ("52:54:00:12:34:56\n", "pairs"),
        (41135080953, "unquoted"),
    ],
)
def test_macs_refused(text: object, reason: str) -> None:
    assert reason in refused("invalid", addresses.parse_mac, text).detail


@pytest.mark.parametrize(("value", "vni"), [(1, 1), ("10001", 10001), (2**24 - 1, 2**24 - 1)])
def test_vnis(value: object, vni: int) -> None:
    assert addresses.parse_vni(value) == vni


@pytest.mark.parametrize("value", [0, -1, 2**24, "0x10", "1e3", "99999999999999999999", "\u0661"])
def test_vnis_refused(value: object) -> None:
    refused("invalid", addresses.parse_vni, value)


@pytest.mark.parametrize(
    ("value", "pkey"),
    [(1, "0x0001"), ("0x0001", "0x0001"), ("0x1", "0x0001"), ("0x7FFE", "0x7ffe"), ("32766", "0x7ffe"), (0x123, "0x0123")],
)
def test_pkeys(value: object, pkey: str) -> None:
    assert addresses.parse_pkey(value) == pkey


@pytest.mark.parametrize("value", [0, "0x0", "0x7fff", 0x7FFF, 0x10000, "0x10000", -1, "0x", "0xg"])
def test_pkeys_refused(value: object) -> None:
    refused("invalid", addresses.parse_pkey, value)


@pytest.mark.parametrize("value", ["0x8001", 0x8001, "0xffff"])
def test_a_pkey_with_membership_bit_is_refused_naming_the_partition(value: object) -> None:
    error = refused("invalid", addresses.parse_pkey, value)
    assert "membership" in error.detail
    assert ("0x0001" in error.remedy) or ("0x7fff" in error.remedy)


@pytest.mark.parametrize("value", ["0x0", "0x" + "0" * 16, "0200271100000000", "0x020027110000000", "0x02002711000000000", 1])
def test_guids_refused(value: object) -> None:
    refused("invalid", addresses.parse_guid, value)


@pytest.mark.parametrize("text", ["10.11.0.0/24", "10.11.0.0/16", "192.168.1.4/30"])
def test_networks(text: str) -> None:
    assert addresses.parse_cidr(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "10.11.0.1/24",
        "10.11.0.0/8",
        "10.0.0.0/15",
        "10.11.0.0/31",
        "10.11.0.0/32",
        "10.11.0.0/33",
        "10.11.0.0",
        "10.11.0.0/255.255.255.0",
        "10.11.0.0/024",
        "10.11.0/24",
        "010.11.0.0/24",
        "256.0.0.0/24",
        "224.0.0.0/24",
        "127.0.0.0/24",
        "169.254.0.0/24",
        "0.0.0.0/24",
        "240.0.0.0/24",
        "fd00::/64",
        "10.11.0.0/\u0662\u0664",
        "10.11.0.0/24\n",
    ],
)
def test_networks_refused(text: str) -> None:
    refused("invalid", addresses.parse_cidr, text)


def test_an_address_inside_a_network_is_refused_with_the_network() -> None:
    assert "10.11.0.0/24" in refused("invalid", addresses.parse_cidr, "10.11.0.7/24").remedy


@pytest.mark.parametrize("text", ["10.79.0.0/24", "10.79.0.255/24", "10.79.0.1", "10.79.0.1/31", "10.79.0.1/7"])
def test_interface_addresses_refused(text: str) -> None:
    refused("invalid", addresses.parse_interface, text)


def test_interface_address() -> None:
    assert addresses.parse_interface("10.79.0.101/24") == "10.79.0.101/24"


@pytest.mark.parametrize("text", ["10.11.0.5 ", "10.11.0.05", "10.11.0", "10.11.0.256", "::1", "10.11.0.5/24"])
def test_single_addresses_refused(text: str) -> None:
    refused("invalid", addresses.parse_address, text)


# ---- what follows from VNI and index ----


def test_the_documented_example() -> None:
    assert addresses.mac_for(10001, 0) == "02:00:27:11:00:00"
    assert addresses.mac_for(10001, 1) == "02:00:27:11:00:01"
    assert addresses.guid_for(10001, 1) == "0x0200271100000001"
    assert addresses.address_for("10.11.0.0/24", 0) == "10.11.0.1"
    assert addresses.address_for("10.11.0.0/24", 1) == "10.11.0.2"
    assert addresses.bridge_name(10001) == "vcb10001"
    assert addresses.tap_name(10001, 1) == "t002711n1"
    assert addresses.tunnel_name(10001, "10.88.0.21") == "v0027110a580015"


@given(VNIS, INDEXES)
def test_given_out_macs_are_unicast_and_locally_administered(vni: int, index: int) -> None:
    mac = addresses.mac_for(vni, index)
    assert addresses.parse_mac(mac) == mac
    assert int(mac[:2], 16) & 0b11 == 0b10
    assert addresses.parse_guid(addresses.guid_for(vni, index)) == addresses.guid_for(vni, index)


@given(VNIS, INDEXES, VNIS, INDEXES)
def test_different_nodes_have_different_numbers(vni: int, index: int, other_vni: int, other_index: int) -> None:
    same = (vni, index) == (other_vni, other_index)
    for number in (addresses.mac_for, addresses.guid_for, addresses.tap_name):
        assert (number(vni, index) == number(other_vni, other_index)) is same


@given(VNIS, INDEXES, st.ip_addresses(v=4))
def test_interface_names_fit_the_kernel(vni: int, index: int, peer: ipaddress.IPv4Address) -> None:
    names = [addresses.bridge_name(vni), addresses.tap_name(vni, index), addresses.tunnel_name(vni, str(peer))]
    assert len(set(names)) == 3
    for name in names:
        assert len(name) <= 15
        assert name.isalnum()


@given(st.integers(16, 30), st.integers(0, 2**16))
def test_addresses_fill_a_network_exactly(prefix: int, index: int) -> None:
    cidr = f"10.0.0.0/{prefix}"
    count = addresses.host_count(cidr)
    if index < count:
        assert addresses.in_network(addresses.address_for(cidr, index), cidr)
    else:
        refused("invalid", addresses.address_for, cidr, index)


@pytest.mark.parametrize(("vni", "index"), [(0, 0), (2**24, 0), (1, -1), (1, 2**16)])
def test_numbers_out_of_bounds_are_refused(vni: int, index: int) -> None:
    for number in (addresses.mac_for, addresses.guid_for, addresses.tap_name):
        refused("invalid", number, vni, index)


@pytest.mark.parametrize("address", ["10.11.0.0", "10.11.0.255", "10.12.0.1"])
def test_not_a_host_of_the_network(address: str) -> None:
    assert not addresses.in_network(address, "10.11.0.0/24")
