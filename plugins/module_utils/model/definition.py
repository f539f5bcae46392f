# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a user writes about a virtual cluster, validated as a whole before anything acts on it."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Optional, TypeVar

from . import addresses, names, noderange, sshkeys, units
from .cluster import Public
from .errors import VcError

DEFAULT_CIDR = "10.11.0.0/24"
DEFAULT_MTU = 1500
DEFAULT_FRONTEND = "frontend"
MOST_CPUS = 1024
LEAST_MEMORY_MIB = 64
MOST_NODES = 4096

_TRIED = "reading the definition"
_CLUSTER_KEYS = {"name", "owner", "members", "account", "network", "ssh_authorized_keys", "frontend", "computes"}
_NETWORK_KEYS = {"cidr", "vni", "pkey", "mtu"}
_ITEM_KEYS = {"cpus", "memory", "disk", "source", "persistent", "macs", "address"}
_FRONTEND_KEYS = _ITEM_KEYS | {"name", "host", "public"}
_COMPUTE_KEYS = _ITEM_KEYS | {"nodes"}
_SOURCES = ("image", "iso", "pxe")
T = TypeVar("T")


@dataclass(frozen=True)
class NodeRequest:
    """One node as asked for; ``mac`` and ``address`` are None when they are to be given out, ``disk_mib`` 0 means as large as the image."""

    name: str
    role: str
    cpus: int
    memory_mib: int
    disk_mib: int
    image: str
    persistent: bool
    mac: Optional[str] = None
    address: Optional[str] = None
    host: str = ""
    public: Optional[Public] = None


@dataclass(frozen=True)
class Definition:
    """A whole cluster as asked for, frontend first, computes as written; ``vni`` and ``pkey`` are None when they are to be given out."""

    name: str
    owner: str
    account: str
    nodes: tuple[NodeRequest, ...]
    cidr: str = DEFAULT_CIDR
    mtu: int = DEFAULT_MTU
    vni: Optional[int] = None
    pkey: Optional[str] = None
    members: tuple[str, ...] = ()
    ssh_authorized_keys: tuple[str, ...] = ()


def parse(data: Any) -> Definition:
    """Validate one item of ``vc_clusters``.  A key whose value is null counts as not written.

    Raises VcError ``invalid``, ``duplicate`` or ``conflict``; the item is the place in the definition, e.g. ``vc1 computes[1].memory 4GB``.
    """
    if not isinstance(data, Mapping):
        raise VcError("invalid", "definition", _TRIED, "it is not a mapping", "write name, owner, account, frontend and computes")
    name = _at("name", names.cluster_name, data.get("name"))
    if names.is_own_cluster(name):
        raise VcError("invalid", f"name {name}", _TRIED, "such names are for clusters that jobs make for themselves", "choose another name")
    return _at(name, _parse, _given(data))


def _parse(data: Mapping[str, Any]) -> Definition:
    _keys(data, _CLUSTER_KEYS, ("name", "owner", "account"))
    owner = _at("owner", _owner, data["owner"])
    network = _inside("network", _network, data.get("network", {}))
    cidr = _at("network.cidr", addresses.parse_cidr, network.get("cidr", DEFAULT_CIDR))
    nodes: list[NodeRequest] = []
    places: list[str] = []
    if "frontend" in data:
        nodes.append(_inside("frontend", _frontend, data["frontend"]))
        places.append("frontend")
    for number, item in enumerate(_list(data.get("computes", []), "computes")):
        place = f"computes[{number}]"
        for node in _inside(place, _computes, item):
            nodes.append(node)
            places.append(place)
            if len(nodes) > MOST_NODES:
                raise VcError("invalid", place, _TRIED, f"the cluster has more than {MOST_NODES} nodes", "use smaller ranges")
    if not nodes:
        raise VcError("invalid", "computes", _TRIED, "the cluster has no node", "write a frontend, computes, or both")
    _check_nodes(nodes, places, cidr)
    return Definition(
        name=data["name"],
        owner=owner,
        account=_at("account", names.account_name, data["account"]),
        nodes=tuple(nodes),
        cidr=cidr,
        mtu=_at("network.mtu", lambda value: _number(value, 576, 9216), network.get("mtu", DEFAULT_MTU)),
        vni=_at("network.vni", addresses.parse_vni, network["vni"]) if "vni" in network else None,
        pkey=_at("network.pkey", addresses.parse_pkey, network["pkey"]) if "pkey" in network else None,
        members=_members(data.get("members", []), owner),
        ssh_authorized_keys=sshkeys.parse_all(_list(data.get("ssh_authorized_keys", []), "ssh_authorized_keys")),
    )


def _network(data: Mapping[str, Any]) -> Mapping[str, Any]:
    _keys(data, _NETWORK_KEYS, ())
    return data


def _frontend(data: Mapping[str, Any]) -> NodeRequest:
    _keys(data, _FRONTEND_KEYS, ("host", "cpus", "memory", "source"))
    if data.get("persistent", True) is not True:
        raise VcError("invalid", f"persistent {names.shown(data['persistent'])}", _TRIED, "a frontend keeps its disk", "leave it out")
    name = _at("name", names.node_name, data.get("name", DEFAULT_FRONTEND))
    host = _at("host", names.host_name, data["host"])
    public = _inside("public", _public, data["public"]) if "public" in data else None
    return _nodes(data, [name], "frontend", True, host, public)[0]


def _computes(data: Mapping[str, Any]) -> list[NodeRequest]:
    _keys(data, _COMPUTE_KEYS, ("nodes", "cpus", "memory", "source"))
    wanted = _at("nodes", lambda text: noderange.expand(text, MOST_NODES), data["nodes"])
    for name in wanted:
        _at("nodes", names.node_name, name)
    persistent = data.get("persistent", False)
    if not isinstance(persistent, bool):
        raise VcError("invalid", f"persistent {names.shown(persistent)}", _TRIED, "it is not true or false", "write true or false")
    return _nodes(data, wanted, "compute", persistent, "", None)


def _nodes(
    data: Mapping[str, Any], wanted: list[str], role: str, persistent: bool, host: str, public: Optional[Public]
) -> list[NodeRequest]:
    cpus = _at("cpus", lambda value: _number(value, 1, MOST_CPUS), data["cpus"])
    memory = _at("memory", units.parse_size, data["memory"])
    if memory < LEAST_MEMORY_MIB:
        raise VcError(
            "invalid", f"memory {data['memory']}", _TRIED, "no guest boots with that little", f"give it at least {LEAST_MEMORY_MIB}MiB"
        )
    disk = _at("disk", units.parse_size, data["disk"]) if "disk" in data else 0
    image = _inside("source", _image, data["source"])
    macs: list[Optional[str]] = [None] * len(wanted)
    if "macs" in data:
        given = _list(data["macs"], "macs")
        if len(given) != len(wanted):
            raise VcError(
                "invalid",
                "macs",
                _TRIED,
                f"{len(given)} addresses for {len(wanted)} nodes",
                "list one for each node, in the order of nodes",
            )
        macs = [_at(f"macs[{number}]", addresses.parse_mac, mac) for number, mac in enumerate(given)]
    places: list[Optional[str]] = [None] * len(wanted)
    if "address" in data:
        # The first node's; the others follow.  A range that leaves the network is found when all nodes are checked.
        first = int(ipaddress.IPv4Address(_at("address", addresses.parse_address, data["address"])))
        if first + len(wanted) > 2**32:
            raise VcError("invalid", f"address {data['address']}", _TRIED, "there are not enough addresses after it", "use a lower one")
        places = [str(ipaddress.IPv4Address(first + number)) for number in range(len(wanted))]
    return [
        NodeRequest(name, role, cpus, memory, disk, image, persistent, mac, place, host, public)
        for name, mac, place in zip(wanted, macs, places)
    ]


def _image(data: Mapping[str, Any]) -> str:
    _keys(data, set(_SOURCES), ())
    if len(data) != 1:
        raise VcError("invalid", "image", _TRIED, "a node has exactly one source", 'write e.g. source: {image: "debian12@r1"}')
    if "image" not in data:
        raise VcError(
            "invalid", next(iter(data)), _TRIED, "this release installs from golden images only", 'write e.g. source: {image: "debian12"}'
        )
    return str(_at("image", names.image_ref, data["image"]))


def _public(data: Mapping[str, Any]) -> Public:
    _keys(data, {"bridge", "address", "gateway"}, ("bridge", "address"))
    bridge = _at("bridge", names.bridge_name, data["bridge"])
    address = _at("address", addresses.parse_interface, data["address"])
    gateway = _at("gateway", addresses.parse_address, data["gateway"]) if data.get("gateway") else ""
    interface = ipaddress.IPv4Interface(address)
    if gateway and (not addresses.in_network(gateway, str(interface.network)) or gateway == str(interface.ip)):
        raise VcError(
            "invalid",
            f"gateway {gateway}",
            _TRIED,
            f"it is not another host of {interface.network}",
            "give the site's router there, or none",
        )
    return Public(bridge, address, gateway)


def _check_nodes(nodes: list[NodeRequest], places: list[str], cidr: str) -> None:
    if len(nodes) > addresses.host_count(cidr):
        detail = f"{len(nodes)} nodes do not fit into the {addresses.host_count(cidr)} addresses of {cidr}"
        raise VcError("invalid", "network.cidr", _TRIED, detail, "use a larger network, e.g. 10.11.0.0/16")
    for what, remedy in (
        ("name", "name every node once"),
        ("mac", "give every node its own, or leave them out"),
        ("address", "give every node its own, or leave them out"),
    ):
        seen: dict[str, str] = {}
        for number, (node, place) in enumerate(zip(nodes, places)):
            value = getattr(node, what)
            if value is None:
                continue
            where = f"{place}.macs[{number - places.index(place)}]" if what == "mac" else f"{place} {what}"
            if value in seen:
                raise VcError("duplicate", f"{where} {value}", _TRIED, f"{seen[value]} has it already", remedy)
            seen[value] = place if what == "name" else where if what == "mac" else f"{place} {node.name}"
    for node, place in zip(nodes, places):
        if node.address is not None and not addresses.in_network(node.address, cidr):
            raise VcError(
                "invalid",
                f"{place} address {node.address}",
                _TRIED,
                f"{node.name} would be outside the host addresses of {cidr}",
                f"use one of {cidr}",
            )
        if node.public is not None and ipaddress.IPv4Interface(node.public.address).network.overlaps(ipaddress.IPv4Network(cidr)):
            raise VcError(
                "conflict",
                f"{place}.public.address {node.public.address}",
                _TRIED,
                f"it overlaps network.cidr {cidr}",
                "choose another network.cidr",
            )


def _members(value: Any, owner: str) -> tuple[str, ...]:
    members: list[str] = []
    for number, item in enumerate(_list(value, "members")):
        member = _at(f"members[{number}]", names.user_name, item)
        if member == owner or member in members:
            first = "the owner" if member == owner else f"members[{members.index(member)}]"
            raise VcError("duplicate", f"members[{number}] {member}", _TRIED, f"{first} is the same user", "name every user once")
        members.append(member)
    return tuple(members)


def _owner(value: Any) -> str:
    owner = names.user_name(value)
    if owner == "root":
        raise VcError("invalid", owner, _TRIED, "computesets are jobs of the owner, and root does not run guests", "name an ordinary user")
    return owner


def _keys(data: Mapping[str, Any], known: set[str], needed: tuple[str, ...]) -> None:
    for key in data:
        if key not in known:
            raise VcError("invalid", names.shown(key), _TRIED, "there is no such key", f"use {', '.join(sorted(known))}")
    for key in needed:
        if key not in data:
            raise VcError("invalid", key, _TRIED, "it is missing", f"write {', '.join(needed)}")


def _at(place: str, read: Callable[[Any], T], value: Any) -> T:
    """Read a value; a refusal says where in the definition it stands."""
    try:
        return read(value)
    except VcError as error:
        raise VcError(error.code, f"{place} {error.item}", error.tried, error.detail, error.remedy) from None


def _inside(place: str, read: Callable[[Mapping[str, Any]], T], value: Any) -> T:
    """Read a mapping, whose keys a refusal names as ``place.key``."""
    if not isinstance(value, Mapping):
        raise VcError("invalid", f"{place} {names.shown(value)}", _TRIED, "it is not a mapping", "write key: value pairs")
    try:
        return read(_given(value))
    except VcError as error:
        raise VcError(error.code, f"{place}.{error.item}", error.tried, error.detail, error.remedy) from None


def _given(data: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in data.items() if value is not None}


def _list(value: Any, what: str) -> list[Any]:
    if not isinstance(value, (list, tuple)):
        raise VcError("invalid", f"{what} {names.shown(value)}", _TRIED, "it is not a list", "write a YAML list")
    return list(value)


def _number(value: Any, least: int, most: int) -> int:
    number = int(value) if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 10 else value
    if isinstance(number, bool) or not isinstance(number, int) or not least <= number <= most:
        raise VcError("invalid", names.shown(value), _TRIED, f"it is not a whole number from {least} to {most}", "write such a number")
    return number
