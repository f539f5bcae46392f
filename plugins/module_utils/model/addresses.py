# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""MACs, VNIs, pkeys, GUIDs, IPv4 addresses, and the interface names that follow from them."""

from __future__ import annotations

import ipaddress
import re
from typing import Any, Union

from .errors import VcError
from .names import shown

_MAC = re.compile(r"[0-9a-f]{2}(?::[0-9a-f]{2}){5}")
_DECIMAL = re.compile(r"[0-9]{1,10}")
_PKEY = re.compile(r"0x[0-9a-f]{1,4}")
_GUID = re.compile(r"0x[0-9a-f]{16}")
_IPV4 = re.compile(r"(?:0|[1-9][0-9]{0,2})(?:\.(?:0|[1-9][0-9]{0,2})){3}")
_CIDR = re.compile(r"([0-9.]{7,15})/([0-9]{1,2})")

# This network, loopback, link-local, multicast, reserved.
_NO_HOSTS = tuple(ipaddress.IPv4Network(cidr) for cidr in ("0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/3"))

FIRST_VNI = 10001
LAST_VNI = 2**24 - 1
FIRST_PKEY = 0x0001
# 0x7fff is the default partition, which OpenSM keeps for infrastructure.
LAST_PKEY = 0x7FFE
LAST_INDEX = 0xFFFF
# Ethernet, IPv4, UDP and VXLAN headers around a frame.
VXLAN_OVERHEAD = 50


def parse_mac(value: Any) -> str:
    """A unicast MAC in colon form, any case -> lower case."""
    tried = "reading it as a MAC address"
    remedy = 'write six hexadecimal pairs in quotes, e.g. "52:54:00:12:34:56"'
    if isinstance(value, int):
        raise VcError("invalid", shown(value), tried, "YAML has read an unquoted MAC address as a number", remedy)
    text = value.lower() if isinstance(value, str) and value.isascii() else ""
    if not _MAC.fullmatch(text):
        raise VcError("invalid", shown(value), tried, "it is not six hexadecimal pairs", remedy)
    if int(text[:2], 16) & 1:
        raise VcError("invalid", shown(value), tried, "it is a multicast address", "make the first pair even, e.g. 52 or 02")
    if text == "00:00:00:00:00:00":
        raise VcError("invalid", shown(value), tried, "it is all zeros", remedy)
    return text


def parse_vni(value: Any) -> int:
    """A VXLAN network identifier, number or decimal text, 1 to 16777215."""
    number = _decimal(value)
    if number is None or not 1 <= number <= LAST_VNI:
        raise VcError(
            "invalid", shown(value), "reading it as a VNI", f"it is not a number from 1 to {LAST_VNI}", "leave it out to be given one"
        )
    return number


def parse_pkey(value: Any) -> str:
    """A partition key 0x0001 to 0x7ffe, number or text -> ``0x%04x``.

    The membership bit (0x8000) is refused, not stripped: it belongs to a port, and 0x8001 beside 0x0001 would look like two partitions.
    """
    tried = "reading it as a pkey"
    number = _decimal(value)
    if number is None and isinstance(value, str) and value.isascii() and _PKEY.fullmatch(value.lower()):
        number = int(value, 16)
    if number is None:
        raise VcError(
            "invalid", shown(value), tried, "it is not a number", 'write it in quotes, e.g. "0x0001", or leave it out to be given one'
        )
    if 0x8000 <= number <= 0xFFFF:
        bare = f"0x{number & 0x7FFF:04x}"
        raise VcError(
            "invalid", shown(value), tried, "it carries the membership bit", f"give the partition itself, {bare}, or leave it out"
        )
    if not FIRST_PKEY <= number <= LAST_PKEY:
        raise VcError(
            "invalid",
            shown(value),
            tried,
            "it is not from 0x0001 to 0x7ffe",
            "0x7fff is the default partition; leave it out to be given one",
        )
    return f"0x{number:04x}"


def parse_guid(value: Any) -> str:
    """A port GUID, ``0x`` and 16 hexadecimal digits, not zero -> lower case."""
    text = value.lower() if isinstance(value, str) and value.isascii() else ""
    if not _GUID.fullmatch(text) or int(text, 16) == 0:
        raise VcError(
            "invalid", shown(value), "reading it as a GUID", "it is not 0x and 16 hexadecimal digits", "leave it out; it is given out"
        )
    return text


def parse_address(value: Any) -> str:
    """One IPv4 address in canonical form."""
    try:
        if not isinstance(value, str) or not _IPV4.fullmatch(value):
            raise ValueError
        return str(ipaddress.IPv4Address(value))
    except ValueError:
        raise VcError("invalid", shown(value), "reading it as an IPv4 address", "it is none", "write e.g. 10.11.0.5") from None


def parse_cidr(value: Any) -> str:
    """An IPv4 network of 2 to 65534 hosts, written with its first address, e.g. ``10.11.0.0/24``."""
    tried = "reading it as a network"
    interface = _interface(value, tried, "write e.g. 10.11.0.0/24")
    network = interface.network
    if interface.ip != network.network_address:
        raise VcError("invalid", shown(value), tried, "it is an address inside a network", f"write {network}")
    if not 16 <= network.prefixlen <= 30:
        raise VcError("invalid", shown(value), tried, "its prefix is not from /16 to /30", "write e.g. 10.11.0.0/24")
    if any(network.overlaps(special) for special in _NO_HOSTS):
        raise VcError("invalid", shown(value), tried, "hosts cannot have addresses there", "use a private network, e.g. 10.11.0.0/24")
    return str(network)


def parse_interface(value: Any) -> str:
    """An address with its prefix, e.g. ``10.79.0.101/24``; not the network's first or last address."""
    tried = "reading it as an address with prefix"
    remedy = "write e.g. 10.79.0.101/24"
    interface = _interface(value, tried, remedy)
    if not 8 <= interface.network.prefixlen <= 30:
        raise VcError("invalid", shown(value), tried, "its prefix is not from /8 to /30", remedy)
    if any(interface.network.overlaps(special) for special in _NO_HOSTS):
        raise VcError("invalid", shown(value), tried, "hosts cannot have addresses there", remedy)
    if interface.ip in (interface.network.network_address, interface.network.broadcast_address):
        raise VcError("invalid", shown(value), tried, f"it is the first or the last address of {interface.network}", "use one between them")
    return str(interface)


def host_count(cidr: str) -> int:
    """How many nodes fit into a network."""
    return ipaddress.IPv4Network(cidr).num_addresses - 2


def in_network(address: str, cidr: str) -> bool:
    """Whether a host of this network may have this address (not the network's own and not the broadcast address)."""
    network = ipaddress.IPv4Network(cidr)
    ip = ipaddress.IPv4Address(address)
    return ip in network and ip not in (network.network_address, network.broadcast_address)


def address_for(cidr: str, index: int) -> str:
    """The address that node `index` (from 0) gets unless told otherwise: the index-th host address."""
    network = ipaddress.IPv4Network(cidr)
    if not 0 <= index < network.num_addresses - 2:
        raise VcError("invalid", cidr, "giving out an address", f"node {index + 1} does not fit into it", "use a larger network")
    return str(network.network_address + index + 1)


def mac_for(vni: int, index: int) -> str:
    """The locally administered MAC of node `index` in network `vni`: 02, VNI (3 bytes), index (2 bytes)."""
    _check_numbers(vni, index)
    digits = f"02{vni:06x}{index:04x}"
    return ":".join(digits[place : place + 2] for place in range(0, 12, 2))


def guid_for(vni: int, index: int) -> str:
    """The port GUID of node `index`: 0x, 02, VNI (3 bytes), index (4 bytes)."""
    _check_numbers(vni, index)
    return f"0x02{vni:06x}{index:08x}"


def bridge_name(vni: int) -> str:
    """The Open vSwitch bridge of a virtual cluster's network on any host."""
    _check_numbers(vni, 0)
    return f"vcb{vni}"


def tap_name(vni: int, index: int) -> str:
    """The tap interface of node `index`."""
    _check_numbers(vni, index)
    return f"t{vni:06x}n{index}"


def tunnel_name(vni: int, peer_ip: str) -> str:
    """The VXLAN port towards one peer (IPv4)."""
    _check_numbers(vni, 0)
    return f"v{vni:06x}{int(ipaddress.IPv4Address(parse_address(peer_ip))):08x}"


def _interface(value: Any, tried: str, remedy: str) -> ipaddress.IPv4Interface:
    matched = _CIDR.fullmatch(value) if isinstance(value, str) else None
    try:
        if matched is None or not _IPV4.fullmatch(matched.group(1)):
            raise ValueError
        return ipaddress.IPv4Interface(f"{matched.group(1)}/{int(matched.group(2))}")
    except ValueError:
        raise VcError("invalid", shown(value), tried, "it is not an IPv4 address, a slash and a prefix length", remedy) from None


def _decimal(value: Any) -> Union[int, None]:
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    return int(value) if isinstance(value, str) and _DECIMAL.fullmatch(value) else None


def _check_numbers(vni: int, index: int) -> None:
    parse_vni(vni)
    if not 0 <= index <= LAST_INDEX:
        raise VcError("invalid", str(index), "reading it as a node index", f"it is not from 0 to {LAST_INDEX}", "use fewer nodes")
