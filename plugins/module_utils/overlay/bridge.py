# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a network's bridge has to look like on a host, and the ovs-vsctl commands that get it there.  Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Optional

from ..model.addresses import VXLAN_OVERHEAD, bridge_name, tunnel_name
from ..model.errors import VcError
from ..model.host import OverlayHost
from .ovsdb import quoted
from .state import TUNNEL, Network, Overlay, Port, PortRow

Section = Sequence[str]


@dataclass(frozen=True)
class Wanted:
    """A network as this host should have it."""

    cluster: str
    vni: int
    mtu: int
    declared: bool

    @property
    def bridge(self) -> str:
        return bridge_name(self.vni)

    def external_ids(self) -> dict[str, str]:
        ids = {"vc-vni": str(self.vni), "vc-cluster": self.cluster, "vc-mtu": str(self.mtu)}
        return {**ids, "vc-declared": "true"} if self.declared else ids


@dataclass(frozen=True)
class Underlay:
    """The interface that has the host's underlay address: name and MTU in bytes."""

    interface: str
    mtu: int


def check_mtu(cluster: str, mtu: int, host: OverlayHost, underlay: Optional[Underlay]) -> None:
    """Refuse a network whose frames would be dropped in silence: the tunnel neither fragments nor answers."""
    smallest, where = host.underlay_mtu, f"the underlay MTU of this host's configuration is {host.underlay_mtu}"
    if underlay is not None and underlay.mtu < smallest:
        smallest, where = underlay.mtu, f"the MTU of {underlay.interface} with {host.local_ip} is {underlay.mtu}"
    if mtu + VXLAN_OVERHEAD > smallest:
        detail = f"its MTU is {mtu}, which needs {mtu + VXLAN_OVERHEAD} with VXLAN's {VXLAN_OVERHEAD} bytes, but {where}"
        remedy = f"give the network an MTU of at most {smallest - VXLAN_OVERHEAD}, or raise the underlay's on all overlay hosts"
        raise VcError("conflict", cluster, "preparing its network", detail, remedy)


def check_foreign(overlay: Overlay, cluster: str, names: Iterable[str]) -> None:
    """Refuse to take over a bridge or port that somebody else made, or of which nobody can say whose it is."""
    for name in names:
        damaged = overlay.damage(name)
        if damaged is not None:
            raise damaged.refusal(cluster, "preparing its network")
        if name in overlay.foreign:
            remedy = f"look at `ovs-vsctl show`; rename or remove {name}, or give {cluster} another VNI"
            raise VcError("conflict", cluster, "preparing its network", f"Open vSwitch has a foreign bridge or port {name}", remedy)


def tunnels(host: OverlayHost, vni: int) -> dict[str, dict[str, str]]:
    """Port name -> VXLAN options, one per peer, in the order of the names."""
    fixed = {"key": str(vni), "local_ip": host.local_ip}
    return dict(sorted((tunnel_name(vni, peer), {**fixed, "remote_ip": peer}) for peer in host.other_peers))


def changes(current: Optional[Network], wanted: Wanted, host: OverlayHost) -> list[Section]:
    """The ovs-vsctl commands that make or repair the bridge and its tunnels; empty when it is as wanted.  Taps are left alone."""
    sections: list[Section] = []
    if current is None:
        sections.append(["add-br", wanted.bridge])
    if current is None or (current.datapath, current.fail_mode) != (host.datapath, "secure"):
        sections.append(["set", "Bridge", wanted.bridge, f"datapath_type={host.datapath}", "fail_mode=secure"])
    if current is None or _ids(current) != wanted.external_ids():
        sections.append(["set", "Bridge", wanted.bridge, *_external_ids(wanted.external_ids())])
        if current is not None and current.declared and not wanted.declared:
            sections.append(["remove", "Bridge", wanted.bridge, "external_ids", "vc-declared"])
    there = {} if current is None else {port.name: port for port in current.tunnels}
    # ovs-vswitchd does not try again by itself, even when what was in the way is gone.
    have = {name: port for name, port in there.items() if port.ofport >= 0}
    want = tunnels(host, wanted.vni)
    sections += [["del-port", wanted.bridge, name] for name in there if name not in want or name not in have]
    for name, options in want.items():
        port = have.get(name)
        if port is None:
            sections.append(["add-port", wanted.bridge, name])
        if port is None or not port.protected:
            # Protected ports do not forward to each other: the full mesh of tunnels has no loop.
            sections.append(["set", "Port", name, "protected=true", quoted("external_ids:vc-kind", TUNNEL)])
        if port is None or port.kind != "vxlan" or dict(port.options or {}) != options:
            sections.append(["clear", "Interface", name, "options"])
            sections.append(["set", "Interface", name, "type=vxlan", *(quoted(f"options:{key}", value) for key, value in options.items())])
    return sections


def touched(sections: Iterable[Section]) -> list[str]:
    """The bridge and port names that the commands make, change or remove, sorted."""
    place = {"add-br": 1, "del-br": 1, "add-port": 2, "del-port": 2, "set": 2, "clear": 2, "remove": 2}
    return sorted({section[place[section[0]]] for section in sections})


def add_tap(port: Port) -> list[Section]:
    return [["add-port", bridge_name(port.vni), port.tap], ["set", "Port", port.tap, *_external_ids(port.external_ids())]]


def reopened(bridge: str, row: PortRow) -> list[Section]:
    """The same port once more: ovs-vswitchd does not try again by itself to open one, even when what was in the way is gone."""
    sections: list[Section] = [["del-port", bridge, row.name], ["add-port", bridge, row.name]]
    sections.append(["set", "Port", row.name, f"protected={'true' if row.protected else 'false'}", *_external_ids(row.ids)])
    if row.kind:
        options = (quoted(f"options:{key}", value) for key, value in (row.options or {}).items())
        sections.append(["set", "Interface", row.name, f"type={row.kind}", *options])
    return sections


def _ids(network: Network) -> dict[str, str]:
    return Wanted(network.cluster, network.vni, network.mtu, network.declared).external_ids()


def _external_ids(ids: Mapping[str, str]) -> list[str]:
    return [quoted(f"external_ids:{key}", value) for key, value in ids.items()]
