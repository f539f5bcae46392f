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

import re
import time
from collections.abc import Collection, Sequence

from ..command import Commands
from ..model.errors import VcError
from .state import Network, Port, PortRow

_UNTAGGED = "vlan_tci=0x0000/0x1fff"
# A client looks at where an answer goes, not at where it comes from.
_DHCP_ANSWERS = ("tp_src=67", "tp_dst=68")
_SECONDS = 10.0
# Exit status of diff-flows when it has printed differences, by a minus what only the switch has.
_DIFFERENT = 2
_IN_PORT = re.compile(r"\bin_port=([0-9]+)\b")
# ovs-ofctl waits for ever for an ovs-vswitchd that hangs.
_CALL_SECONDS = 20.0


def flows(network: Network) -> list[str]:
    """The flows of a bridge in ovs-ofctl's syntax, ordered; ports that Open vSwitch could not open get none."""
    lines = ["table=0,priority=0,actions=drop"]
    for row in network.tunnels:
        if row.ofport > 0:
            lines.append(f"table=0,priority=100,in_port={row.ofport},actions=NORMAL")
    for row in network.taps:
        if row.ofport > 0:
            lines += _pinning(row, network.vni)
    return lines


def _pinning(row: PortRow, vni: int) -> list[str]:
    port = Port.from_external_ids(row.name, vni, row.ids)
    start = f"in_port={row.ofport},{_UNTAGGED},dl_src={port.mac}"
    source = f",nw_src={port.address}" if port.address else ""
    lines = [f"table=0,priority=300,{start},udp,{answer},actions=drop" for answer in _DHCP_ANSWERS]
    lines.append(f"table=0,priority=200,{start},ip{source},actions=NORMAL")
    # The sender address 0.0.0.0 is how a node asks whether its address is free.
    for sender in (port.address, "0.0.0.0") if port.address else ("",):
        claimed = f",arp_spa={sender}" if sender else ""
        lines.append(f"table=0,priority=200,{start},arp,arp_sha={port.mac}{claimed},actions=NORMAL")
    return lines


def install(commands: Commands, network: Network) -> None:
    """Replace the bridge's flows as one bundle.  Waits for an Open vSwitch that has just started.  Raises VcError ``backend``."""
    # Otherwise a first fragment is matched as if it had no ports, and could carry a whole DHCP answer.
    _ofctl(commands, network.bridge, ["set-frags", network.bridge, "nx-match"])
    _ofctl(commands, network.bridge, ["-O", "OpenFlow14", "--bundle", "replace-flows", network.bridge, "-"], _text(network))


def installed(commands: Commands, network: Network) -> bool:
    """Whether the bridge has these flows, and beside them at most flows of ports that are gone, which match nothing."""
    argv = ["ovs-ofctl", "-O", "OpenFlow14", "diff-flows", network.bridge, "/proc/self/fd/0"]
    result = commands.run(argv, stdin=_text(network))
    if result.status == 0:
        return True
    ports = {str(row.ofport) for row in network.ports}
    return result.status == _DIFFERENT and all(_is_left_over(line, ports) for line in result.out.splitlines())


def _is_left_over(line: str, ports: Collection[str]) -> bool:
    found = _IN_PORT.search(line)
    return line.startswith("-") and found is not None and found.group(1) not in ports


def _text(network: Network) -> str:
    return "".join(f"{line}\n" for line in flows(network))


def _ofctl(commands: Commands, bridge: str, arguments: Sequence[str], stdin: str = "") -> None:
    until = time.monotonic() + _SECONDS
    while True:
        result = commands.run(["ovs-ofctl", *arguments], stdin=stdin, timeout=_CALL_SECONDS)
        if result.status == 0:
            return
        starting = any(text in result.err for text in ("not a bridge or a socket", "failed to connect", "failed to open socket"))
        if not starting or time.monotonic() >= until:
            remedy = "see /var/log/openvswitch/ovs-vswitchd.log; until then this bridge forwards nothing"
            raise VcError("backend", bridge, "installing its flows", result.last_line, remedy)
        time.sleep(0.1)
