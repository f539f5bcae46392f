# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tap interfaces in the kernel, and what keeps the host itself out of a guest's reach.

Open vSwitch's userspace datapath reads a tap through a packet socket, beside the kernel and not instead of it: every frame of a guest
also enters the host's own IP stack, past all pinning.  So taps carry a device group, and frames of that group are dropped before the
stack sees them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Optional

from ..command import Commands
from ..model.errors import VcError
from .bridge import Underlay
from .state import Port, is_tap_name

# "vc" in ASCII; any number that nobody else uses.
GROUP = 0x7663
_UP, _NOARP = 0x1, 0x80
_DEVICES = Path("/sys/class/net")
_GUARD = f"""table inet vc_overlay {{}}
delete table inet vc_overlay
table inet vc_overlay {{
  chain guests {{
    type filter hook prerouting priority -450; policy accept;
    iifgroup {GROUP} drop
  }}
}}
table arp vc_overlay {{}}
delete table arp vc_overlay
table arp vc_overlay {{
  chain guests {{
    type filter hook input priority -450; policy accept;
    iifgroup {GROUP} drop
  }}
}}
"""


def exists(tap: str) -> bool:
    return (_DEVICES / tap).exists()


def guard(commands: Commands) -> None:
    """Keep guests' frames out of the host's own stack; one transaction, and the same result when repeated."""
    commands.must(["nft", "-f", "-"], "nftables", "separating guests from the host", "install nftables", stdin=_GUARD)


def make(commands: Commands, ports: Sequence[Port]) -> None:
    """Make taps and bring them up, all in one process; a tap of that name that somebody held before is replaced."""
    lines = []
    for port in ports:
        if exists(port.tap):
            lines.append(f"link delete dev {port.tap}")
        lines += [f"tuntap add dev {port.tap} mode tap user {port.user_id}", _set(port)]
    _batch(commands, lines, "making its tap", [port.tap for port in ports])


def mend(commands: Commands, ports: Sequence[Port]) -> None:
    """Bring taps that are not as their ports say back in line, without taking them from the guests that run on them.

    Raises VcError ``backend`` for those that another user has.
    """
    spoilt = [port for port in ports if not usable(port)]
    _batch(commands, [_set(port) for port in spoilt], "mending its tap", [port.tap for port in spoilt])
    still = [port.tap for port in spoilt if not usable(port)]
    if still:
        raise VcError("backend", ", ".join(still), "mending its tap", "it is not as its port says", "see `ip -details link show`")


def mendable(port: Port) -> bool:
    """Whether the kernel has a tap of this name and for this user; who may open it cannot be changed later."""
    return _number(port.tap, "owner") == port.user_id


def remove(commands: Commands, taps: Iterable[str]) -> None:
    """Remove taps; what is already gone, or has a name that is not ours, is skipped."""
    present = [tap for tap in taps if is_tap_name(tap) and exists(tap)]
    _batch(commands, [f"link delete dev {tap}" for tap in present], "removing its tap", present)


def usable(port: Port) -> bool:
    """Whether the kernel's tap is as the port says."""
    wanted = {"owner": port.user_id, "mtu": port.mtu, "netdev_group": GROUP}
    up_without_arp = _number(port.tap, "flags") & (_UP | _NOARP) == _UP | _NOARP
    return up_without_arp and all(_number(port.tap, name) == value for name, value in wanted.items())


def underlay(commands: Commands, local_ip: str) -> Optional[Underlay]:
    """The interface that has this address, or None."""
    text = commands.must(["ip", "-json", "-4", "address", "show", "to", f"{local_ip}/32"], local_ip, "looking for the underlay address")
    for link in json.loads(text or "[]"):
        if link.get("ifname"):
            return Underlay(str(link["ifname"]), int(link["mtu"]))
    return None


def _set(port: Port) -> str:
    # No address, no ARP: the host has no business on a guest's wire.
    return f"link set dev {port.tap} group {GROUP} addrgenmode none arp off mtu {port.mtu} up"


def _number(tap: str, name: str) -> int:
    """One of a tap's numbers; 0 for flags and -1 for all others when there is no such tap."""
    try:
        return int((_DEVICES / tap / name).read_text(), 0)
    except (OSError, ValueError):
        return 0 if name == "flags" else -1


def _batch(commands: Commands, lines: Sequence[str], tried: str, taps: Sequence[str]) -> None:
    if not lines:
        return
    result = commands.run(["ip", "-batch", "-"], stdin="".join(f"{line}\n" for line in lines))
    if result.status != 0:
        # The last line only says which line of the batch failed.
        said = next((line.strip() for line in result.err.splitlines() if line.strip()), result.last_line)
        raise VcError("backend", ", ".join(taps), tried, said, "see `ip -details link show`; is the module tun loaded?")
