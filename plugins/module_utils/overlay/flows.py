# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What may pass a network's bridge: an allow-list, made from OVSDB alone.

A tap may send untagged IPv4 and ARP with its own MAC and its own address.  Nothing else passes, so

* IPv6 is closed.  Nodes have IPv4 addresses only; without IPv6 there are no router advertisements, no DHCPv6 and no neighbour spoofing
  to filter, and no extension header to hide them behind.
* VLAN tags, spanning tree, LLDP and other layer 2 protocols do not pass.
* no tap may answer DHCP: every address is given by the definition.

Tunnels come from hosts that filter their own taps in the same way.
The bridge's fail mode is ``secure``: without flows it forwards nothing.
"""

from __future__ import annotations

import time

from ..model.errors import VcError
from . import openflow
from .openflow import Fields, Flow, Switch
from .state import Network, Port, PortRow

_IPV4, _ARP, _UDP, _UNTAGGED = 0x0800, 0x0806, 17, 0
# A client looks at where an answer goes, not at where it comes from.
_DHCP_ANSWERS = (("udp_src", 67), ("udp_dst", 68))
SECONDS = 10.0
_PAUSE_SECONDS = 0.1
_HIGHEST_PORT = 0xFFFFFEFF


def flows(network: Network) -> list[Flow]:
    """The flows of a bridge, ordered; ports that Open vSwitch could not open get none."""
    found = [Flow(0, {}, False)]
    for row in network.tunnels:
        if row.ofport > 0:
            found.append(Flow(100, {"in_port": row.ofport}, True))
    for row in network.taps:
        if row.ofport > 0:
            found += _pinning(row, network.vni)
    return found


def _pinning(row: PortRow, vni: int) -> list[Flow]:
    port = Port.from_external_ids(row.name, vni, row.ids)
    frame: Fields = {"in_port": row.ofport, "eth_src": port.mac, "vlan": _UNTAGGED}
    packet: Fields = {**frame, "eth_type": _IPV4}
    found = [Flow(300, {**packet, "ip_proto": _UDP, field: number}, False) for field, number in _DHCP_ANSWERS]
    found.append(Flow(200, {**packet, **({"ipv4_src": port.address} if port.address else {})}, True))
    claim: Fields = {**frame, "eth_type": _ARP, "arp_sha": port.mac}
    # The sender address 0.0.0.0 is how a node asks whether its address is free.
    claims: tuple[Fields, ...] = ({"arp_spa": port.address}, {"arp_spa": "0.0.0.0"}) if port.address else ({},)
    for claimed in claims:
        found.append(Flow(200, {**claim, **claimed}, True))
    return found


def install(network: Network, seconds: float = SECONDS) -> None:
    """Replace the bridge's flows in one step.  Waits for an Open vSwitch that has just started.  Raises VcError ``backend``."""
    wanted = openflow.compiled(flows(network))
    until = time.monotonic() + seconds
    while True:
        try:
            with Switch(network.bridge) as switch:
                # Otherwise a first fragment is matched as if it had no ports, and could carry a whole DHCP answer.
                switch.match_fragments()
                switch.replace(wanted)
                return
        except (FileNotFoundError, ConnectionError) as error:
            if time.monotonic() >= until:
                raise _failure(network, error) from None
        except (OSError, openflow.Refused) as error:
            raise _failure(network, error) from None
        time.sleep(_PAUSE_SECONDS)


def installed(network: Network) -> bool:
    """Whether the bridge has these flows, and beside them at most flows of ports that are gone, which match nothing."""
    wanted = openflow.compiled(flows(network))
    try:
        with Switch(network.bridge) as switch:
            if not switch.matches_fragments():
                return False
            have = switch.flows()
    except (OSError, openflow.Refused):
        return False
    ports = {row.ofport for row in network.ports}
    return all(have.get(key) == rest for key, rest in wanted.items()) and all(
        0 < openflow.read_in_port(key) <= _HIGHEST_PORT and openflow.read_in_port(key) not in ports for key in have if key not in wanted
    )


def _failure(network: Network, error: Exception) -> VcError:
    remedy = "see /var/log/openvswitch/ovs-vswitchd.log; until then this bridge forwards nothing"
    return VcError("backend", network.bridge, "installing its flows", str(error), remedy)
