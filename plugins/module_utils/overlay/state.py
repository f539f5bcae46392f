# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The overlay networks of one host, as read from OVSDB.  Pure.

Everything that has to be known about a network is in ``external_ids``, so that flows and taps can be made again from OVSDB alone:

* bridge: ``vc-vni``, ``vc-cluster``, ``vc-mtu``, and ``vc-declared=true`` when an admin declared the network on this host
* port: ``vc-kind`` (tunnel or tap); a tap also ``vc-mac``, ``vc-address``, ``vc-uid``, ``vc-mtu``, ``vc-cluster``, ``vc-holder``
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Optional

from ..model import addresses, names
from ..model.errors import VcError

TUNNEL = "tunnel"
TAP = "tap"
_HOLDER = re.compile(r"(?:job:[0-9]{1,10}\.[0-9]{1,10}|frontend:[a-z0-9-]{1,63})")
_TAP = re.compile(r"t[0-9a-f]{6}n[0-9]{1,5}")
_REMEDY = "attach with the release that is installed on this host"


def is_tap_name(text: str) -> bool:
    """Whether an interface name has the form that only our taps have."""
    return _TAP.fullmatch(text) is not None


@dataclass(frozen=True)
class Port:
    """A node's place in its network.

    Parameters
    ----------
    tap : interface name, `model.addresses.tap_name`
    vni : the network
    mac, address : the only ones it may send with; an empty address leaves IPv4 and ARP sender addresses free
    mtu : of the tap, bytes
    user_id : the uid that may open the tap
    cluster : name of the virtual cluster
    holder : ``job:<id>.<restart>`` or ``frontend:<cluster>``; a frontend's port is made again after a reboot of the host, a job's is not
    """

    tap: str
    vni: int
    mac: str
    address: str
    mtu: int
    user_id: int
    cluster: str
    holder: str

    def checked(self) -> Port:
        """Itself; VcError ``invalid`` when a field could not come from a resolved cluster.  These values end in command lines and flows."""
        if not is_tap_name(self.tap) or int(self.tap[1:7], 16) != addresses.parse_vni(self.vni):
            raise _invalid(self.tap, "it is not the tap of a node in that network")
        if addresses.parse_mac(self.mac) != self.mac or (self.address and addresses.parse_address(self.address) != self.address):
            raise _invalid(self.tap, "its MAC or address is not in canonical form")
        if not 576 <= self.mtu <= 65535 or not 0 <= self.user_id < 2**32 - 1:
            raise _invalid(self.tap, f"MTU {self.mtu} or uid {self.user_id} is out of range")
        if not _HOLDER.fullmatch(self.holder):
            raise _invalid(self.tap, f"{names.shown(self.holder)} is not a holder")
        names.cluster_name(self.cluster)
        return self

    @property
    def outlives_reboot(self) -> bool:
        return self.holder.startswith("frontend:")

    def external_ids(self) -> dict[str, str]:
        return {
            "vc-kind": TAP,
            "vc-mac": self.mac,
            "vc-address": self.address,
            "vc-uid": str(self.user_id),
            "vc-mtu": str(self.mtu),
            "vc-cluster": self.cluster,
            "vc-holder": self.holder,
        }

    @classmethod
    def from_external_ids(cls, tap: str, vni: int, ids: Mapping[str, str]) -> Port:
        """Rebuild a port; VcError ``invalid`` when somebody edited it."""
        try:
            port = cls(
                tap=tap,
                vni=vni,
                mac=ids["vc-mac"],
                address=ids["vc-address"],
                mtu=int(ids["vc-mtu"]),
                user_id=int(ids["vc-uid"]),
                cluster=ids["vc-cluster"],
                holder=ids["vc-holder"],
            )
        except (KeyError, ValueError):
            raise VcError("invalid", tap, "reading it from OVSDB", "its external_ids are damaged", "detach and attach it again") from None
        return port.checked()


@dataclass(frozen=True)
class PortRow:
    """A port with its only interface, as in OVSDB.  ``ofport`` is 0 while Open vSwitch has not opened it, negative when it could not."""

    name: str
    protected: bool = False
    kind: str = ""
    options: Optional[Mapping[str, str]] = None
    external_ids: Optional[Mapping[str, str]] = None
    ofport: int = 0
    error: str = ""

    @property
    def ids(self) -> Mapping[str, str]:
        return self.external_ids or {}

    @property
    def role(self) -> str:
        """``tunnel``, ``tap``, or empty for a port that is not ours."""
        return self.ids.get("vc-kind", "")


@dataclass(frozen=True)
class Network:
    """One of our bridges.  ``declared``: an admin wants it here even without a node."""

    bridge: str
    vni: int
    cluster: str
    mtu: int
    declared: bool
    datapath: str
    fail_mode: str
    ports: tuple[PortRow, ...] = ()

    @property
    def tunnels(self) -> tuple[PortRow, ...]:
        return tuple(port for port in self.ports if port.role == TUNNEL)

    @property
    def taps(self) -> tuple[PortRow, ...]:
        return tuple(port for port in self.ports if port.role == TAP)


@dataclass(frozen=True)
class Damaged:
    """A bridge with our mark, of which nobody can say any more which network it is.  ``cluster``: what it says, or empty."""

    bridge: str
    cluster: str
    ports: frozenset[str]

    def refusal(self, item: str, tried: str) -> VcError:
        remedy = f"look at `ovs-vsctl list bridge {self.bridge}`; remove its external_ids:vc-vni if it is not a virtual cluster's"
        return VcError("invalid", item, tried, f"the external_ids of {self.bridge} are damaged", remedy)


@dataclass(frozen=True)
class Overlay:
    """All of our networks on this host, every bridge and port name that is not ours, and bridges of which nobody can say."""

    networks: tuple[Network, ...] = ()
    foreign: frozenset[str] = frozenset()
    damaged: tuple[Damaged, ...] = ()

    def network(self, vni: int) -> Optional[Network]:
        return next((network for network in self.networks if network.vni == vni), None)

    def damage(self, name: str) -> Optional[Damaged]:
        """The damaged bridge that has this name, or has a port of this name."""
        return next((found for found in self.damaged if name == found.bridge or name in found.ports), None)

    def holder_of(self, tap: str) -> Optional[Network]:
        """The network that has this tap."""
        return next((network for network in self.networks if any(port.name == tap for port in network.taps)), None)


def _invalid(item: str, detail: str) -> VcError:
    return VcError("invalid", names.shown(item), "checking a port", detail, _REMEDY)
