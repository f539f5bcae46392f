# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""From what a user wrote and what is registered to the resolved cluster.  Gives out numbers; changes none that was given out.  No I/O."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, Optional

from ..model import addresses
from ..model.cluster import Cluster, Network, Node, Public
from ..model.definition import Definition, NodeRequest
from ..model.errors import VcError
from .plan import Action, ItemPlan

_AGAIN = "keep it as it is, or remove the node, and then add it again"
_DEFINE = "defining it"
_CHANGE = "changing it"
# What may change while a node is up, and takes effect at its next power-on.
_CHANGEABLE = ("cpus", "memory_mib", "disk_mib", "image", "persistent", "host", "public")


def plan_cluster(
    definition: Definition,
    current: Optional[Cluster],
    others: Sequence[Cluster],
    held: Collection[str] = (),
    disks: Optional[Mapping[str, int]] = None,
) -> tuple[ItemPlan, Cluster]:
    """What has to be written so that the registry has this cluster, and the cluster as it will be.

    Parameters
    ----------
    current : what is registered under this name, None for a new cluster
    others : all other registered clusters
    held : names of this cluster's nodes that hold a lease
    disks : node -> MiB, of those whose disk exists already; None when unknown, then every persistent node is taken to have what it asks for

    Raises VcError ``conflict`` (somebody else has that number or address, or it must not change) and ``in_use`` (held nodes are concerned).
    A new cluster's ``ssh_public_key`` is empty; who makes the key fills it in.
    """
    others = [other for other in others if other.name != definition.name]
    taken = _given_out(others)
    if current is not None:
        _refuse_changes(definition, current, held, disks)
    cluster = Cluster(
        name=definition.name,
        owner=definition.owner,
        account=definition.account,
        network=Network(_vni(definition, current, taken["vni"]), definition.cidr, definition.mtu),
        pkey=_pkey(definition, current, taken["pkey"]),
        nodes=(),
        members=definition.members,
        ssh_authorized_keys=definition.ssh_authorized_keys,
        ssh_public_key=current.ssh_public_key if current else "",
    )
    cluster = dataclasses.replace(cluster, nodes=_nodes(definition, cluster.network, current, others, taken["mac"]))
    return ItemPlan(cluster.name, "present", _actions(current, cluster), current.to_dict() if current else None, cluster.to_dict()), cluster


def plan_removal(name: str, current: Optional[Cluster], held: Collection[str] = ()) -> ItemPlan:
    """Take a cluster out of the registry; refused with ``in_use`` while any of its nodes holds a lease."""
    if current is None:
        return ItemPlan(name, "absent")
    if held:
        nodes = ", ".join(sorted(held))
        raise VcError(
            "in_use", name, "removing it", f"these nodes hold leases: {nodes}", "terminate its computesets and its frontend first"
        )
    return ItemPlan(name, "absent", (Action(name, "remove", {"nodes": len(current.nodes)}),), current.to_dict(), None)


def _refuse_changes(definition: Definition, current: Cluster, held: Collection[str], disks: Optional[Mapping[str, int]]) -> None:
    """Changes of what guests, hosts or disks already rely on."""
    name = definition.name
    again = f"keep it as it is, or remove {name} and define it again"
    for what, wanted, has in (
        ("network.vni", definition.vni, current.network.vni),
        ("network.cidr", definition.cidr, current.network.cidr),
        ("network.pkey", definition.pkey, current.pkey),
    ):
        if wanted is not None and wanted != has:
            raise VcError("conflict", f"{name} {what}", _CHANGE, f"it is {has} and was given out, {wanted} is asked for", again)
    if held:
        for what, asked, registered in (("owner", definition.owner, current.owner), ("network.mtu", definition.mtu, current.network.mtu)):
            if asked != registered:
                detail = f"it is {registered}, {asked} is asked for, and {', '.join(sorted(held))} hold leases"
                raise VcError("in_use", f"{name} {what}", _CHANGE, detail, "power its nodes off first")
    wanted_nodes = {node.name: node for node in definition.nodes}
    for node in current.nodes:
        if node.name not in wanted_nodes:
            if node.name in held:
                raise VcError("in_use", f"{name}/{node.name}", "removing it", "it holds a lease", "power it off first")
            continue
        _refuse_node_changes(name, node, wanted_nodes[node.name], node.name in held)
        if node.persistent and (disks is None or node.name in disks):
            _refuse_disk_changes(name, node, wanted_nodes[node.name], node.disk_mib if disks is None else disks[node.name])


def _refuse_node_changes(cluster: str, node: Node, wanted: NodeRequest, is_held: bool) -> None:
    item = f"{cluster}/{node.name}"
    for what in ("role", "mac", "address"):
        asked, registered = getattr(wanted, what), getattr(node, what)
        if asked is not None and asked != registered:
            raise VcError("conflict", f"{item} {what}", _CHANGE, f"it is {registered}, {asked} is asked for", _AGAIN)
    if is_held:
        for what in ("host", "persistent"):
            asked, registered = getattr(wanted, what), getattr(node, what)
            if asked != registered:
                detail = f"it is {registered}, {asked} is asked for, and the node holds a lease"
                raise VcError("in_use", f"{item} {what}", _CHANGE, detail, "power it off first")


def _refuse_disk_changes(cluster: str, node: Node, wanted: NodeRequest, size_mib: int) -> None:
    """Changes that an existing disk cannot follow: it was made from that image, with that size, and its content is somebody's work."""
    item = f"{cluster}/{node.name}"
    if wanted.image != node.image:
        raise VcError("conflict", f"{item} image", _CHANGE, f"its disk was made from {node.image}, {wanted.image} is asked for", _AGAIN)
    if not wanted.persistent:
        raise VcError("conflict", f"{item} persistent", _CHANGE, "its disk would be lost", _AGAIN)
    if wanted.disk_mib < node.disk_mib:
        smaller = f"{wanted.disk_mib} MiB" if wanted.disk_mib else "its image's size"
        raise VcError(
            "conflict", f"{item} disk", _CHANGE, f"it has {node.disk_mib} MiB, {smaller} is asked for, and disks only grow", _AGAIN
        )
    if wanted.disk_mib > max(node.disk_mib, size_mib):
        # The disk is the store's, and a frontend's besides in use as long as it is there: it would be written down, and never come true.
        remedy = f"while it is off: image_vault disks, cluster: {cluster}, node: {node.name}, size: {wanted.disk_mib}MiB; then define it"
        if node.role == "frontend":
            remedy = "keep it as it is; to begin anew with a larger one: vc_frontend state=absent remove_disk=true, then image_vault disks"
        raise VcError("conflict", f"{item} disk", _CHANGE, f"its disk has {size_mib} MiB, {wanted.disk_mib} MiB is asked for", remedy)


def _given_out(others: Sequence[Cluster]) -> dict[str, dict[str, str]]:
    """Kind -> value -> holder, of everything that is not to be given out again."""
    taken: dict[str, dict[str, str]] = {kind: {} for kind in ("vni", "pkey", "mac")}
    for other in others:
        taken["vni"][str(other.network.vni)] = other.name
        taken["pkey"][other.pkey] = other.name
        taken["mac"].update((node.mac, f"{other.name}/{node.name}") for node in other.nodes)
    return taken


def _vni(definition: Definition, current: Optional[Cluster], taken: Mapping[str, str]) -> int:
    if current is not None:
        return current.network.vni
    asked = None if definition.vni is None else str(definition.vni)
    free = (str(vni) for vni in range(addresses.FIRST_VNI, addresses.LAST_VNI + 1))
    return int(_number(definition.name, "network.vni", asked, taken, free))


def _pkey(definition: Definition, current: Optional[Cluster], taken: Mapping[str, str]) -> str:
    if current is not None:
        return current.pkey
    free = (addresses.parse_pkey(number) for number in range(addresses.FIRST_PKEY, addresses.LAST_PKEY + 1))
    return _number(definition.name, "network.pkey", definition.pkey, taken, free)


def _number(cluster: str, what: str, asked: Optional[str], taken: Mapping[str, str], candidates: Iterator[str]) -> str:
    """The number asked for, or the first free one."""
    if asked is not None:
        if asked in taken:
            raise _taken(cluster, what, asked, taken[asked])
        return asked
    found = next((value for value in candidates if value not in taken), None)
    if found is None:
        raise VcError("conflict", f"{cluster} {what}", _DEFINE, "none is free", "remove a cluster that is not needed")
    return found


def _nodes(
    definition: Definition, network: Network, current: Optional[Cluster], others: Sequence[Cluster], taken_macs: Mapping[str, str]
) -> tuple[Node, ...]:
    known = {node.name: node for node in current.nodes} if current else {}
    foreign_public: dict[str, str] = {}
    for other in others:
        foreign_public.update((_ip(node.public), f"{other.name}/{node.name}") for node in other.nodes if node.public)
    macs: dict[str, str] = {}
    spoken_for: dict[str, str] = {}
    for request in definition.nodes:
        item = f"{definition.name}/{request.name}"
        known_node = known.get(request.name)
        mac = request.mac or (known_node.mac if known_node else None)
        address = request.address or (known_node.address if known_node else None)
        if mac is not None:
            if mac in taken_macs or mac in macs:
                raise _taken(item, "mac", mac, taken_macs.get(mac) or macs[mac])
            macs[mac] = item
        if address is not None:
            if address in spoken_for:
                raise _taken(item, "address", address, spoken_for[address])
            spoken_for[address] = item
        if request.public is not None:
            ip = _ip(request.public)
            if ip in foreign_public:
                raise VcError("conflict", f"{item} public.address {ip}", _DEFINE, f"{foreign_public[ip]} has it", "choose another")
    giving = _Giving(network, {node.index for node in known.values()}, {*taken_macs, *macs}, set(spoken_for))
    nodes = [_resolved(request, known.get(request.name), giving, network.vni) for request in definition.nodes]
    return tuple(sorted(nodes, key=lambda node: node.index))


class _Giving:
    """Gives out indexes, MACs and addresses of one cluster, the lowest free ones first."""

    def __init__(self, network: Network, indexes: set[int], macs: set[str], spoken_for: set[str]) -> None:
        self._network = network
        self._indexes = indexes
        self._macs = macs
        self._addresses = spoken_for
        # Index 0 stays the frontend's, so that one can be added later.
        self._next = 1
        self._next_address = 0

    def index(self, role: str, needs_mac: bool) -> int:
        if role == "frontend" and self._free(0, needs_mac):
            self._indexes.add(0)
            return 0
        while not self._free(self._next, needs_mac):
            self._next += 1
        self._indexes.add(self._next)
        return self._next

    def _free(self, index: int, needs_mac: bool) -> bool:
        return index not in self._indexes and not (needs_mac and addresses.mac_for(self._network.vni, index) in self._macs)

    def address(self, index: int) -> str:
        hosts = addresses.host_count(self._network.cidr)
        own = addresses.address_for(self._network.cidr, index) if index < hosts else None
        if own is None or own in self._addresses:
            while True:
                own = addresses.address_for(self._network.cidr, self._next_address)
                self._next_address += 1
                if own not in self._addresses:
                    break
        self._addresses.add(own)
        return own


def _resolved(request: NodeRequest, known: Optional[Node], giving: _Giving, vni: int) -> Node:
    if known is not None:
        return dataclasses.replace(known, **{what: getattr(request, what) for what in _CHANGEABLE})
    index = giving.index(request.role, request.mac is None)
    return Node(
        name=request.name,
        role=request.role,
        index=index,
        mac=request.mac or addresses.mac_for(vni, index),
        guid=addresses.guid_for(vni, index),
        address=request.address or giving.address(index),
        **{what: getattr(request, what) for what in _CHANGEABLE},
    )


def _actions(current: Optional[Cluster], cluster: Cluster) -> tuple[Action, ...]:
    """Node by node, so that a reader of the play sees what happens to which node."""
    name = cluster.name
    if current is None:
        numbers: dict[str, Any] = {"vni": cluster.network.vni, "pkey": cluster.pkey}
        return (Action(name, "define", numbers), *(Action(name, "add_node", {"node": node.name}) for node in cluster.nodes))
    actions: list[Action] = []
    before, after = current.to_dict(), cluster.to_dict()
    changed = [key for key in after if key != "nodes" and before[key] != after[key]]
    if changed:
        actions.append(Action(name, "change", {"keys": changed}))
    known = {node.name: node for node in current.nodes}
    kept = {node.name for node in cluster.nodes}
    actions.extend(Action(name, "remove_node", {"node": node.name}) for node in current.nodes if node.name not in kept)
    for node in cluster.nodes:
        if node.name not in known:
            actions.append(Action(name, "add_node", {"node": node.name}))
        elif node != known[node.name]:
            old, new = known[node.name].to_dict(), node.to_dict()
            actions.append(Action(name, "change_node", {"node": node.name, "keys": [key for key in new if old[key] != new[key]]}))
    return tuple(actions)


def _ip(public: Public) -> str:
    return public.address.partition("/")[0]


def _taken(item: str, what: str, value: Any, holder: str) -> VcError:
    return VcError(
        "conflict", f"{item} {what} {value}", _DEFINE, f"{holder} has it", "leave it out to be given a free one, or choose another"
    )
