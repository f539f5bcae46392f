# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Declared networks against what Open vSwitch has.  No I/O."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Optional

from ..model import addresses, names
from ..model.errors import VcError
from ..model.host import OverlayHost
from ..overlay import bridge
from ..overlay.state import Network, Overlay, PortRow
from .plan import Action, ItemPlan, Plan

_TRIED = "reading the networks"


@dataclass(frozen=True)
class Request:
    """One item of the module's list.  ``vni`` may be None only for an absent network."""

    name: str
    vni: Optional[int]
    mtu: int
    present: bool


def read_requests(items: Sequence[Mapping[str, Any]]) -> list[Request]:
    """Validate what the user gave; VcError ``invalid`` or ``duplicate`` names the item by its index."""
    requests: list[Request] = []
    for index, item in enumerate(items):
        place = f"networks[{index}]"
        try:
            request = Request(
                name=names.cluster_name(item["name"]),
                vni=None if item.get("vni") is None else addresses.parse_vni(item["vni"]),
                mtu=item["mtu"],
                present=item["state"] == "present",
            )
        except VcError as error:
            raise VcError(error.code, f"{place} {error.item}", error.tried, error.detail, error.remedy) from None
        if request.present and request.vni is None:
            raise VcError("invalid", place, _TRIED, f"{request.name} has no VNI", "give cluster.network.vni of what vc_cluster returned")
        if not 576 <= request.mtu <= 9216:
            raise VcError("invalid", place, _TRIED, f"MTU {request.mtu} is not from 576 to 9216", "leave it out for 1500")
        for earlier, other in enumerate(requests):
            same = "name" if other.name == request.name else "VNI" if other.vni is not None and other.vni == request.vni else ""
            if same:
                detail = f"it has the same {same} as networks[{earlier}]"
                raise VcError("duplicate", f"{place} {request.name}", _TRIED, detail, "list every network once")
        requests.append(request)
    return requests


def plan_networks(
    requests: Sequence[Request], host: OverlayHost, underlay: Optional[bridge.Underlay], overlay: Overlay, unpinned: Collection[int]
) -> Plan:
    """Plan all networks.

    Parameters
    ----------
    underlay : the interface that has the host's underlay address
    unpinned : VNIs of existing networks whose flows are not what they should be
    """
    return Plan(tuple(_plan(request, host, underlay, overlay, unpinned) for request in requests))


def find(request: Request, overlay: Overlay) -> Optional[Network]:
    """The network that the item is about: by its VNI, or by its name when none is given."""
    if request.vni is not None:
        return overlay.network(request.vni)
    return next((network for network in overlay.networks if network.cluster == request.name), None)


def describe(network: Network) -> dict[str, Any]:
    """A network as the module returns it; the same for one that was read and for one that is predicted."""
    return {
        "name": network.cluster,
        "state": "present",
        "vni": network.vni,
        "mtu": network.mtu,
        "bridge": network.bridge,
        "datapath": network.datapath,
        "declared": network.declared,
        "tunnels": [{"port": row.name, "peer": (row.options or {}).get("remote_ip", "")} for row in network.tunnels if row.ofport >= 0],
        "taps": [row.name for row in network.taps],
    }


def absent(request: Request) -> dict[str, Any]:
    """What the module returns for a network that is not there."""
    return {"name": request.name, "state": "absent"}


def _plan(
    request: Request, host: OverlayHost, underlay: Optional[bridge.Underlay], overlay: Overlay, unpinned: Collection[int]
) -> ItemPlan:
    current = find(request, overlay)
    before = None if current is None else describe(current)
    state = "present" if request.present else "absent"
    try:
        _check_owner(request, current, overlay)
        if request.present:
            actions, after = _present(request, host, underlay, overlay, current, unpinned)
        else:
            actions, after = _absent(request, current), None
        return ItemPlan(request.name, state, actions, before, after)
    except VcError as error:
        return ItemPlan(request.name, "unknown", before=before, after=before, error=error)


def _present(
    request: Request,
    host: OverlayHost,
    underlay: Optional[bridge.Underlay],
    overlay: Overlay,
    current: Optional[Network],
    unpinned: Collection[int],
) -> tuple[tuple[Action, ...], dict[str, Any]]:
    if request.vni is None:
        raise VcError("invalid", request.name, _TRIED, "it has no VNI", "give cluster.network.vni of what vc_cluster returned")
    if underlay is None:
        detail = f"no interface of this host has the underlay address {host.local_ip}"
        raise VcError(
            "conflict", request.name, "preparing its network", detail, "give the underlay interface its address, or correct local_ip"
        )
    bridge.check_mtu(request.name, request.mtu, host, underlay)
    too_large = [row.name for row in (() if current is None else current.taps) if _mtu(row) > request.mtu]
    if too_large:
        detail = f"{', '.join(too_large)} has a larger MTU than {request.mtu}"
        raise VcError("in_use", request.name, "changing its MTU", detail, "stop these nodes first")
    wanted = bridge.Wanted(request.name, request.vni, request.mtu, declared=True)
    sections = bridge.changes(current, wanted, host)
    bridge.check_foreign(overlay, request.name, bridge.touched(sections))
    details = {"vni": request.vni, "ports": bridge.touched(sections), "vsctl": [list(section) for section in sections]}
    actions: tuple[Action, ...] = ()
    if sections:
        actions = (Action(request.name, "create" if current is None else "repair", details),)
    elif request.vni in unpinned:
        actions = (Action(request.name, "pin", {**details, "ports": [wanted.bridge]}),)
    after = {
        "name": request.name,
        "state": "present",
        "vni": request.vni,
        "mtu": request.mtu,
        "bridge": wanted.bridge,
        "datapath": host.datapath,
        "declared": True,
        "tunnels": [{"port": name, "peer": options["remote_ip"]} for name, options in bridge.tunnels(host, request.vni).items()],
        "taps": [] if current is None else [row.name for row in current.taps],
    }
    return actions, after


def _mtu(row: PortRow) -> int:
    """Of a tap; of one that somebody has edited it is not known, and its network gets no flows."""
    text = row.ids.get("vc-mtu", "")
    return int(text) if text.isdecimal() else 0


def _absent(request: Request, current: Optional[Network]) -> tuple[Action, ...]:
    if current is None:
        return ()
    if current.taps:
        holders = ", ".join(sorted({f"{row.name} of {row.ids.get('vc-holder', 'nobody')}" for row in current.taps}))
        raise VcError("in_use", request.name, "removing its network", f"nodes are attached: {holders}", "stop these nodes first")
    sections = [["del-br", current.bridge]]
    return (Action(request.name, "remove", {"vni": current.vni, "ports": [current.bridge], "vsctl": sections}),)


def _check_owner(request: Request, current: Optional[Network], overlay: Overlay) -> None:
    for damaged in overlay.damaged:
        if damaged.cluster == request.name or (request.vni is not None and damaged.bridge == addresses.bridge_name(request.vni)):
            raise damaged.refusal(request.name, _TRIED)
    if current is not None and current.cluster != request.name:
        detail = f"VNI {current.vni} belongs to {current.cluster} on this host"
        raise VcError("conflict", request.name, "preparing its network", detail, f"give {request.name} another VNI")
    other = next((network for network in overlay.networks if network.cluster == request.name and network is not current), None)
    if other is not None:
        detail = f"this host has it with VNI {other.vni}"
        raise VcError("conflict", request.name, "preparing its network", detail, "use that VNI, or make it absent first")
