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

import contextlib
import socket
import time
from collections.abc import Iterator
from typing import Optional

from ..model.errors import VcError
from . import openflow
from .openflow import Fields, Flow, Switch
from .state import Network, Port, PortRow

_IPV4, _ARP, _UDP, _UNTAGGED = 0x0800, 0x0806, 17, 0
# A client looks at where an answer goes, not at where it comes from.
_DHCP_ANSWERS = (("udp_src", 67), ("udp_dst", 68))
# Together with what else a run waits for this is less than others wait for the overlay's lock.
SECONDS = 20.0
START_SECONDS = 10.0
_FREE_SECONDS = 0.5
_PAUSE_SECONDS = 0.1
_HIGHEST_PORT = 0xFFFFFEFF
_INSTALLING = "installing its flows"
_REMEDY = "see /var/log/openvswitch/ovs-vswitchd.log; until then this bridge forwards nothing"


class Patience:
    """How long the bridges of one run may keep it waiting, all together: the others of this host wait for the run's lock.

    One ovs-vswitchd serves them all, so that one which hangs hangs for each.  A moment with each bridge is free: very many of them
    are no sign of that.

    Parameters
    ----------
    seconds : of waiting, for all bridges
    start : for how long, from now on, a switch may be starting that has not made its sockets yet
    free : with each bridge
    """

    def __init__(self, seconds: float = SECONDS, start: float = START_SECONDS, free: float = _FREE_SECONDS) -> None:
        self._seconds, self._left, self._free = seconds, seconds, free
        self._started = time.monotonic() + start

    def check(self, network: Network) -> None:
        """Raise VcError ``backend`` for a bridge that there is no patience left for."""
        if self._left <= 0:
            detail = f"not tried: ovs-vswitchd has kept the bridges before it waiting for {self._seconds:g} s"
            raise VcError("backend", network.bridge, _INSTALLING, detail, _REMEDY)

    @contextlib.contextmanager
    def counted(self) -> Iterator[float]:
        """Count the time that one bridge takes; yields until when it may, by time.monotonic()."""
        began = time.monotonic()
        try:
            yield began + self._left + self._free
        finally:
            self._left -= max(0.0, time.monotonic() - began - self._free)

    def may_start(self, until: float) -> bool:
        return time.monotonic() < min(self._started, until)


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


def install(network: Network, patience: Optional[Patience] = None) -> None:
    """Replace the bridge's flows in one step.  Waits for an Open vSwitch that has just started.  Raises VcError ``backend``.

    Parameters
    ----------
    patience : one for all bridges of a run
    """
    patience = patience or Patience()
    wanted = openflow.compiled(flows(network))
    patience.check(network)
    with patience.counted() as until:
        while True:
            try:
                with Switch(network.bridge, until) as switch:
                    # Otherwise a first fragment is matched as if it had no ports, and could carry a whole DHCP answer.
                    switch.match_fragments()
                    switch.replace(wanted)
                    return
            except (FileNotFoundError, ConnectionError) as error:
                if not patience.may_start(until):
                    raise _failure(network, error) from None
            except (OSError, openflow.Refused) as error:
                raise _failure(network, error) from None
            time.sleep(_PAUSE_SECONDS)


def installed(network: Network, patience: Optional[Patience] = None) -> bool:
    """Whether the bridge has these flows, and beside them at most flows of ports that are gone, which match nothing.

    Of a bridge that `patience`, one for all of a run, is not enough for, nobody knows: False, as of one that does not answer.
    """
    patience = patience or Patience()
    wanted = openflow.compiled(flows(network))
    try:
        patience.check(network)
        with patience.counted() as until, Switch(network.bridge, until) as switch:
            if not switch.matches_fragments():
                return False
            have = switch.flows()
    except (OSError, openflow.Refused, VcError):
        return False
    ports = {row.ofport for row in network.ports}
    return all(have.get(key) == rest for key, rest in wanted.items()) and all(
        0 < openflow.read_in_port(key) <= _HIGHEST_PORT and openflow.read_in_port(key) not in ports for key in have if key not in wanted
    )


def _failure(network: Network, error: Exception) -> VcError:
    detail = "ovs-vswitchd has not answered in time" if isinstance(error, socket.timeout) else str(error)
    return VcError("backend", network.bridge, _INSTALLING, detail, _REMEDY)
