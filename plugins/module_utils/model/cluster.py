# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The resolved cluster: a definition with everything given out.  What ``vc_cluster`` returns, the registry keeps, and leases carry."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Optional

from . import addresses, names, sshkeys
from .errors import VcError

SCHEMA = 1
ROLES = ("frontend", "compute")
_TRIED = "reading the resolved cluster"
_REMEDY = "pass on what vc_cluster returned, unchanged"


@dataclass(frozen=True)
class Public:
    """A frontend's leg in a site's network: the host's bridge, an address with prefix, a gateway or empty text."""

    bridge: str
    address: str
    gateway: str = ""

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Public:
        _keys(data, "public", {"bridge", "address"}, {"gateway"})
        gateway = data.get("gateway") or ""
        return cls(
            names.bridge_name(data["bridge"]),
            addresses.parse_interface(data["address"]),
            addresses.parse_address(gateway) if gateway else "",
        )

    def to_dict(self) -> dict[str, Any]:
        return {"bridge": self.bridge, "address": self.address, "gateway": self.gateway}


@dataclass(frozen=True)
class Network:
    """The cluster's own network: VNI, IPv4 network, MTU in bytes."""

    vni: int
    cidr: str
    mtu: int = 1500

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Network:
        _keys(data, "network", {"vni", "cidr", "mtu"}, set())
        return cls(addresses.parse_vni(data["vni"]), addresses.parse_cidr(data["cidr"]), _number(data, "mtu", 576, 9216))

    def to_dict(self) -> dict[str, Any]:
        return {"vni": self.vni, "cidr": self.cidr, "mtu": self.mtu}


@dataclass(frozen=True)
class Node:
    """One node.  ``disk_mib`` 0 means as large as its image; ``host`` is empty for computes, whose host Slurm chooses."""

    name: str
    role: str
    index: int
    mac: str
    guid: str
    address: str
    cpus: int
    memory_mib: int
    disk_mib: int
    image: str
    persistent: bool
    host: str = ""
    public: Optional[Public] = None

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Node:
        needed = {"name", "role", "index", "mac", "guid", "address", "cpus", "memory_mib", "disk_mib", "image", "persistent"}
        _keys(data, "node", needed, {"host", "public"})
        if data["role"] not in ROLES:
            raise VcError("invalid", names.shown(data["role"]), _TRIED, "it is not a role", _REMEDY)
        if not isinstance(data["persistent"], bool):
            raise VcError("invalid", "persistent", _TRIED, "it is not true or false", _REMEDY)
        host, public = data.get("host") or "", data.get("public")
        return cls(
            name=names.node_name(data["name"]),
            role=data["role"],
            index=_number(data, "index", 0, addresses.LAST_INDEX),
            mac=addresses.parse_mac(data["mac"]),
            guid=addresses.parse_guid(data["guid"]),
            address=addresses.parse_address(data["address"]),
            cpus=_number(data, "cpus", 1, 65536),
            memory_mib=_number(data, "memory_mib", 1, 2**31),
            disk_mib=_number(data, "disk_mib", 0, 2**31),
            image=str(names.image_ref(data["image"])),
            persistent=data["persistent"],
            host=names.host_name(host) if host else "",
            public=None if public is None else Public.from_dict(_mapping(public, "public")),
        )

    def to_dict(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "role": self.role,
            "index": self.index,
            "mac": self.mac,
            "guid": self.guid,
            "address": self.address,
            "cpus": self.cpus,
            "memory_mib": self.memory_mib,
            "disk_mib": self.disk_mib,
            "image": self.image,
            "persistent": self.persistent,
            "host": self.host,
            "public": None if self.public is None else self.public.to_dict(),
        }


@dataclass(frozen=True)
class Cluster:
    """A virtual cluster; nodes in the order of their index."""

    name: str
    owner: str
    account: str
    network: Network
    pkey: str
    nodes: tuple[Node, ...]
    members: tuple[str, ...] = ()
    ssh_authorized_keys: tuple[str, ...] = ()
    ssh_public_key: str = ""

    def node(self, name: str) -> Node:
        """The node with this name; VcError ``unknown`` if there is none."""
        if name in self._by_name:
            return self._by_name[name]
        raise VcError(
            "unknown", f"{self.name}/{names.shown(name)}", "looking it up", "the cluster has no such node", "see vc_info for its nodes"
        )

    @functools.cached_property
    def _by_name(self) -> Mapping[str, Node]:
        return {node.name: node for node in self.nodes}

    @property
    def frontend(self) -> Optional[Node]:
        """The frontend, or None in a cluster that has only computes."""
        return next((node for node in self.nodes if node.role == "frontend"), None)

    @property
    def computes(self) -> tuple[Node, ...]:
        return tuple(node for node in self.nodes if node.role == "compute")

    @property
    def users(self) -> tuple[str, ...]:
        """Everybody who may act on it: the owner, then the members."""
        return (self.owner, *self.members)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Cluster:
        """Rebuild a cluster from its JSON.

        Raises VcError ``version`` (a newer schema), ``invalid`` or ``duplicate``; the item begins with the cluster's name.
        """
        data = _mapping(data, "cluster")
        schema = data.get("schema")
        if isinstance(schema, int) and not isinstance(schema, bool) and schema > SCHEMA:
            raise VcError(
                "version",
                names.shown(data.get("name")),
                _TRIED,
                f"it has schema {schema}, this release reads {SCHEMA}",
                "install the newer release here",
            )
        needed = {"schema", "name", "owner", "account", "network", "pkey", "nodes"}
        _keys(data, "cluster", needed, {"members", "ssh_authorized_keys", "ssh_public_key"})
        if schema != SCHEMA or isinstance(schema, bool):
            raise VcError("invalid", names.shown(data["name"]), _TRIED, f"{names.shown(schema)} is not a schema", _REMEDY)
        name = names.cluster_name(data["name"])
        try:
            cluster = cls(
                name=name,
                owner=names.user_name(data["owner"]),
                account=names.account_name(data["account"]),
                network=Network.from_dict(_mapping(data["network"], "network")),
                pkey=addresses.parse_pkey(data["pkey"]),
                nodes=tuple(sorted((Node.from_dict(_mapping(node, "node")) for node in _list(data, "nodes")), key=lambda node: node.index)),
                members=tuple(names.user_name(member) for member in _list(data, "members")),
                ssh_authorized_keys=tuple(_key(key, "ssh_authorized_keys") for key in _list(data, "ssh_authorized_keys")),
                ssh_public_key=_key(data["ssh_public_key"], "ssh_public_key") if data.get("ssh_public_key") else "",
            )
            cluster._check()
        except VcError as error:
            raise VcError(error.code, f"{name} {error.item}", error.tried, error.detail, error.remedy) from None
        return cluster

    def to_dict(self) -> dict[str, Any]:
        return {
            "schema": SCHEMA,
            "name": self.name,
            "owner": self.owner,
            "members": list(self.members),
            "account": self.account,
            "network": self.network.to_dict(),
            "pkey": self.pkey,
            "ssh_authorized_keys": list(self.ssh_authorized_keys),
            "ssh_public_key": self.ssh_public_key,
            "nodes": [node.to_dict() for node in self.nodes],
        }

    def _check(self) -> None:
        for what in ("name", "index", "mac", "guid", "address"):
            seen: set[Any] = set()
            for node in self.nodes:
                value = getattr(node, what)
                if value in seen:
                    raise VcError("duplicate", f"{what} {value}", _TRIED, "two nodes have it", _REMEDY)
                seen.add(value)
        for node in self.nodes:
            if not addresses.in_network(node.address, self.network.cidr):
                raise VcError("invalid", node.name, _TRIED, f"{node.address} is not a host address of {self.network.cidr}", _REMEDY)
        if sum(node.role == "frontend" for node in self.nodes) > 1:
            raise VcError("duplicate", "frontend", _TRIED, "two nodes have this role", _REMEDY)


def _mapping(value: Any, what: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise VcError("invalid", what, _TRIED, "it is not a mapping", _REMEDY)
    return value


def _list(data: Mapping[str, Any], key: str) -> list[Any]:
    value = data.get(key)
    if value is None:
        return []
    if not isinstance(value, (list, tuple)):
        raise VcError("invalid", key, _TRIED, "it is not a list", _REMEDY)
    return list(value)


def _key(value: Any, place: str) -> str:
    try:
        return sshkeys.parse(value)
    except VcError as error:
        raise VcError(error.code, f"{place} {error.item}", error.tried, error.detail, error.remedy) from None


def _keys(data: Mapping[str, Any], what: str, needed: set[str], optional: set[str]) -> None:
    missing = sorted(needed - set(data))
    if missing:
        raise VcError("invalid", f"{what}.{missing[0]}", _TRIED, "it is missing", _REMEDY)
    unknown = sorted(str(key) for key in set(data) - needed - optional)
    if unknown:
        raise VcError("invalid", f"{what}.{names.shown(unknown[0])}", _TRIED, "there is no such key", _REMEDY)


def _number(data: Mapping[str, Any], key: str, least: int, most: int) -> int:
    value = data[key]
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise VcError("invalid", key, _TRIED, f"{names.shown(value)} is not a number from {least} to {most}", _REMEDY)
    return value
