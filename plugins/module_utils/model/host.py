# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a physical host knows about itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .addresses import VXLAN_OVERHEAD, parse_address
from .errors import VcError
from .names import shown

DATAPATHS = ("system", "netdev")
_TRIED = "reading the overlay settings"


@dataclass(frozen=True)
class OverlayHost:
    """A host on the overlay's underlay.

    Parameters
    ----------
    local_ip : this host's IPv4 address on the underlay
    datapath : Open vSwitch datapath, ``system`` (kernel) or ``netdev`` (userspace)
    underlay_mtu : MTU of the underlay interface, bytes
    peers : underlay addresses of all overlay hosts; may contain local_ip
    """

    local_ip: str
    datapath: str
    underlay_mtu: int
    peers: tuple[str, ...]

    @property
    def other_peers(self) -> tuple[str, ...]:
        """The peers without this host itself."""
        return tuple(peer for peer in self.peers if peer != self.local_ip)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> OverlayHost:
        """Read ``{local_ip, datapath, underlay_mtu, peers}``; VcError ``invalid`` when anything is off."""
        unknown = sorted(set(data) - {"local_ip", "datapath", "underlay_mtu", "peers"})
        if unknown:
            raise VcError("invalid", f"overlay.{shown(unknown[0])}", _TRIED, "there is no such setting", "run the role hypervisor again")
        datapath = data.get("datapath")
        if datapath not in DATAPATHS:
            raise VcError(
                "invalid", "overlay.datapath", _TRIED, f"{shown(datapath)} is not a datapath", f"use one of {', '.join(DATAPATHS)}"
            )
        mtu = data.get("underlay_mtu")
        if isinstance(mtu, bool) or not isinstance(mtu, int) or not 576 + VXLAN_OVERHEAD <= mtu <= 65535:
            raise VcError(
                "invalid", "overlay.underlay_mtu", _TRIED, f"{shown(mtu)} is not an MTU", "give the MTU of the underlay interface in bytes"
            )
        peers = data.get("peers")
        if not isinstance(peers, (list, tuple)):
            raise VcError("invalid", "overlay.peers", _TRIED, "it is not a list", "list the underlay addresses of all overlay hosts")
        addresses = tuple(parse_address(peer) for peer in peers)
        if len(set(addresses)) != len(addresses):
            place, twice = next((place, peer) for place, peer in enumerate(addresses) if peer in addresses[:place])
            detail = f"peers[{addresses.index(twice)}] is {twice} too"
            raise VcError("duplicate", f"overlay.peers[{place}]", _TRIED, detail, "list every host once")
        return cls(parse_address(data.get("local_ip")), str(datapath), mtu, addresses)

    def to_dict(self) -> dict[str, Any]:
        return {"local_ip": self.local_ip, "datapath": self.datapath, "underlay_mtu": self.underlay_mtu, "peers": list(self.peers)}
