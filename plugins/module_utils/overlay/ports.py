# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Attach nodes to their networks, detach them, and put everything back after Open vSwitch or the host was restarted."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Optional

from .. import filelock
from ..command import Commands
from ..model.errors import VcError
from ..model.host import OverlayHost
from . import bridge, flows, ovsdb, taps
from .state import TUNNEL, Network, Overlay, Port, PortRow, is_tap_name

__all__ = ["Port", "attach", "check_opened", "detach", "detach_own", "locked", "restore", "state_of"]

_LOCK = Path("/run/vc/overlay.lock")
# Whoever holds it may have to wait for an Open vSwitch that does not answer; an epilog must not wait for many of those in a row.
_LOCK_SECONDS = 60.0
_OPEN_SECONDS = 5.0
_PAUSE_SECONDS = 0.2


@contextlib.contextmanager
def locked(seconds: float = _LOCK_SECONDS) -> Iterator[None]:
    """Hold this host's overlay between reading and writing it.  Taken by every function here; not reentrant.

    Raises VcError ``timeout`` when others keep it for `seconds`.
    """
    _LOCK.parent.mkdir(mode=0o755, exist_ok=True)
    handle = os.open(_LOCK, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        if not filelock.acquire(handle, seconds):
            detail, remedy = f"others have held it for {seconds:g} s", f"see `fuser -v {_LOCK}` and `ovs-vsctl show`"
            raise VcError("timeout", "Open vSwitch", "waiting for the lock on this host's networks", detail, remedy)
        yield
    finally:
        os.close(handle)


def attach(commands: Commands, overlay_host: OverlayHost, ports: Sequence[Port]) -> None:
    """Make bridges, tunnels, taps and pinning flows for these ports; what is there already and right stays untouched.

    A tap of the same name that another holder left behind is replaced: the caller has the node's lease.
    On failure nothing of the new ports stays.
    Raises VcError ``conflict`` (MTU, foreign names, a VNI that another cluster has), ``invalid`` or ``backend``.
    """
    ports = [port.checked() for port in ports]
    if not ports:
        return
    with locked():
        overlay = ovsdb.read(commands)
        wanted = _networks(overlay, ports)
        underlay = taps.underlay(commands, overlay_host.local_ip)
        for network in wanted:
            bridge.check_mtu(network.cluster, network.mtu, overlay_host, underlay)
        for port in ports:
            bridge.check_mtu(port.cluster, port.mtu, overlay_host, underlay)
            bridge.check_foreign(overlay, port.cluster, [port.tap])
        closing: list[bridge.Section] = []
        sections: list[bridge.Section] = []
        for network in wanted:
            edits = bridge.changes(overlay.network(network.vni), network, overlay_host)
            bridge.check_foreign(overlay, network.cluster, bridge.touched(edits))
            sections += edits
        missing = [port for port in ports if not _in_place(overlay, port)]
        # A guest may be running on a tap that has only lost its port, or was only set down.
        fresh = [port for port in missing if not (taps.mendable(port) and _same_holder(overlay, port))]
        for port in missing:
            if port not in fresh and _plugged(overlay, port):
                continue
            holder = overlay.holder_of(port.tap)
            if holder is not None:
                (closing if port in fresh else sections).append(["del-port", holder.bridge, port.tap])
            sections += bridge.add_tap(port)
        what = ", ".join(port.tap for port in ports)
        taps.guard(commands)
        try:
            # Before their ports: once nothing says whose it was, a run after this one was ended would take the device for the new holder's.
            taps.remove(commands, [port.tap for port in fresh])
            # By itself: ovs-vswitchd would go on with the device that is replaced when the port is deleted and added in one step.
            ovsdb.write(commands, closing, f"detaching who had {what}")
            taps.make(commands, fresh)
            taps.mend(commands, missing)
            ovsdb.write(commands, sections, f"attaching {what}")
            taps.mend(commands, missing)
            _pin(commands, {network.vni for network in wanted}, [port.tap for port in ports])
        except VcError:
            with contextlib.suppress(VcError):
                _detach(commands, [port.tap for port in fresh])
            raise


def detach(commands: Commands, tap_names: Iterable[str]) -> None:
    """Remove these ports and taps; a network's bridge goes with its last tap unless an admin declared it.  Unknown names are skipped.

    The taps go first, so that a guest is cut off even when Open vSwitch does not answer.  Raises VcError ``backend``.
    """
    wanted = [tap for tap in tap_names if is_tap_name(tap)]
    if wanted:
        with locked():
            _detach(commands, wanted)


def detach_own(commands: Commands, port: Port) -> None:
    """As `detach`, for a port of which only the name may be right: one of that name that is somebody else's stays.  VcError ``backend``."""
    with locked():
        if not _anothers(ovsdb.read(commands), port.checked()):
            _detach(commands, [port.tap])


def state_of(commands: Commands, overlay_host: OverlayHost, port: Port) -> str:
    """``current`` when `attach` would find nothing to do for this port, ``missing`` when there is nothing of it, else ``outdated``.

    What somebody else has under its tap's name is nothing of it.
    """
    overlay = ovsdb.read(commands)
    network = overlay.network(port.checked().vni)
    if (overlay.holder_of(port.tap) is None and not taps.exists(port.tap)) or _anothers(overlay, port):
        return "missing"
    if network is None or network.cluster != port.cluster or not _in_place(overlay, port):
        return "outdated"
    wanted = bridge.Wanted(network.cluster, network.vni, network.mtu, network.declared)
    # The bridge and tunnels of a declared network are for the one who declared it to repair: one drift is one change of one task.
    drifted = not network.declared and bool(bridge.changes(network, wanted, overlay_host))
    try:
        return "outdated" if drifted or not flows.installed(network) else "current"
    except VcError:
        # Another port of the network cannot be understood.  `attach` names it; what only takes this one away need not know.
        return "outdated"


def restore(commands: Commands, patience: Optional[flows.Patience] = None) -> list[str]:
    """Put back what OVSDB says: taps of frontends after a reboot, flows after a restart of Open vSwitch.  Returns the bridges.

    Ports of jobs whose tap is gone belong to an earlier boot and are removed.  A port that Open vSwitch has not opened is opened again.
    Raises VcError after all others were put back: ``invalid`` with a bridge that stays closed because it or a port of it cannot be
    understood, ``backend`` with a bridge, port or tap that could not be opened.  An ovs-vswitchd that hangs is not waited for with
    every bridge: those that were not tried are named.
    """
    with locked():
        overlay = ovsdb.read(commands)
        failures = [damaged.refusal(damaged.bridge, "putting its flows back") for damaged in overlay.damaged]
        known: dict[int, list[Port]] = {}
        for network in overlay.networks:
            try:
                known[network.vni] = [Port.from_external_ids(row.name, network.vni, row.ids) for row in network.taps]
            except VcError as error:
                detail = f"{error.item}: {error.detail}"
                failures.append(VcError(error.code, network.bridge, "putting its flows back", detail, "detach and attach that port"))
        gone = [port for there in known.values() for port in there if not taps.exists(port.tap)]
        dead = [port.tap for port in gone if not port.outlives_reboot]
        if overlay.networks:
            taps.guard(commands)
        made = _made(commands, [port for port in gone if port.outlives_reboot], failures)
        if dead:
            with _noted(failures):
                _detach(commands, dead)
            overlay = ovsdb.read(commands)
        overlay = _opened(commands, overlay, known, made, failures)
        # ovs-vswitchd may have found a tap by itself before it was up, and set it down again: it writes back the flags that it had read.
        for there in known.values():
            with _noted(failures):
                taps.mend(commands, [port for port in there if taps.exists(port.tap)])
        whole = [network for network in overlay.networks if network.vni in known]
        # Begins only now: what has gone before may have waited for Open vSwitch as well.
        patience = patience or flows.Patience()
        for network in whole:
            with _noted(failures):
                flows.install(network, patience)
            with _noted(failures):
                check_opened(network, [row.name for row in network.taps])
        if failures:
            remedy = f"{failures[0].remedy}; then run `vc-overlay restore`; all others have been put back"
            items = dict.fromkeys(error.item for error in failures)
            raise VcError(failures[0].code, ", ".join(items), "putting it back", _together(failures), remedy)
        return [network.bridge for network in whole]


def _together(failures: Sequence[VcError]) -> str:
    """What is the same of many bridges, as of those that were not tried, is said once."""
    said: dict[str, dict[str, None]] = {}
    for error in failures:
        said.setdefault(error.detail, {})[error.item] = None
    alone = len(said) == 1
    return "; ".join(detail if alone else f"{', '.join(items)}: {detail}" for detail, items in said.items())


@contextlib.contextmanager
def _noted(failures: list[VcError]) -> Iterator[None]:
    try:
        yield
    except VcError as error:
        failures.append(error)


def _made(commands: Commands, lost: Sequence[Port], failures: list[VcError]) -> set[str]:
    """Make these taps; one that cannot be made keeps no other one away.  The names of those that are there."""
    try:
        taps.make(commands, lost)
    except VcError:
        for port in lost:
            with _noted(failures):
                taps.make(commands, [port])
    return {port.tap for port in lost if taps.exists(port.tap)}


def _opened(commands: Commands, overlay: Overlay, known: Collection[int], made: Collection[str], failures: list[VcError]) -> Overlay:
    """Have ovs-vswitchd look again for taps that were made, and for what it could not open, and wait for it.  The state after that."""

    def shut(now: Overlay) -> list[tuple[str, PortRow]]:
        there = [(network.bridge, row) for network in now.networks if network.vni in known for row in [*network.tunnels, *network.taps]]
        return [(name, row) for name, row in there if row.ofport <= 0 and (row.role == TUNNEL or taps.exists(row.name))]

    rows = {row.name: (name, row) for name, row in shut(overlay)}
    rows.update({row.name: (network.bridge, row) for network in overlay.networks for row in network.taps if row.name in made})
    if not rows:
        return overlay
    for part in ovsdb.batches(rows.values(), lambda item: bridge.reopened(*item)):
        sections = [section for item in part for section in bridge.reopened(*item)]
        with _noted(failures):
            ovsdb.write(commands, sections, "opening again " + ", ".join(row.name for _bridge, row in part))
    until = time.monotonic() + _OPEN_SECONDS
    while True:
        overlay = ovsdb.read(commands)
        if not shut(overlay) or time.monotonic() >= until:
            return overlay
        time.sleep(_PAUSE_SECONDS)


def _networks(overlay: Overlay, ports: Sequence[Port]) -> list[bridge.Wanted]:
    """The networks that these ports need; an existing one keeps its MTU and its declaration."""
    wanted: dict[int, bridge.Wanted] = {}
    for port in ports:
        there = overlay.network(port.vni)
        owner = there.cluster if there else wanted[port.vni].cluster if port.vni in wanted else port.cluster
        if owner != port.cluster:
            raise VcError(
                "conflict", port.cluster, "preparing its network", f"VNI {port.vni} belongs to {owner} on this host", "give it another VNI"
            )
        if there is None:
            wanted.setdefault(port.vni, bridge.Wanted(port.cluster, port.vni, port.mtu, False))
        else:
            wanted[port.vni] = bridge.Wanted(there.cluster, there.vni, there.mtu, there.declared)
    return list(wanted.values())


def _in_place(overlay: Overlay, port: Port) -> bool:
    return _plugged(overlay, port) and taps.usable(port)


def _plugged(overlay: Overlay, port: Port) -> bool:
    network = overlay.network(port.vni)
    rows = [] if network is None else [row for row in network.taps if row.name == port.tap]
    return any(dict(row.ids) == port.external_ids() and row.ofport > 0 for row in rows)


def _anothers(overlay: Overlay, port: Port) -> bool:
    """Whether its tap's name is another's by now: the network is another cluster's, or the tap has another holder."""
    network = overlay.network(port.vni)
    holders = {row.ids.get("vc-holder", port.holder) for there in overlay.networks for row in there.taps if row.name == port.tap}
    return (network is not None and network.cluster != port.cluster) or bool(holders - {port.holder})


def _same_holder(overlay: Overlay, port: Port) -> bool:
    rows = [row for network in overlay.networks for row in network.taps if row.name == port.tap]
    return all(row.ids.get("vc-holder") == port.holder for row in rows)


def _pin(commands: Commands, vnis: Iterable[int], tap_names: Iterable[str]) -> None:
    overlay = ovsdb.read(commands)
    patience = flows.Patience()
    for vni in sorted(vnis):
        network = overlay.network(vni)
        if network is None:
            raise VcError("backend", f"VNI {vni}", "preparing its network", "its bridge is gone again", "see `journalctl -u ovs-vswitchd`")
        check_opened(network, tap_names)
        flows.install(network, patience)


def check_opened(network: Network, tap_names: Iterable[str] = ()) -> None:
    """Raise VcError ``backend`` for the first port that ovs-vswitchd could not open: all tunnels, and these taps."""
    for row in [*network.tunnels, *(row for row in network.taps if row.name in tap_names)]:
        if row.ofport <= 0:
            detail = row.error or "ovs-vswitchd has not opened it"
            remedy = "see /var/log/openvswitch/ovs-vswitchd.log; does this kernel have what the datapath in host.json needs?"
            raise VcError("backend", row.name, "opening it on " + network.bridge, detail, remedy)


def _detach(commands: Commands, tap_names: Sequence[str]) -> None:
    taps.remove(commands, tap_names)
    overlay = ovsdb.read(commands)
    sections, left = [], []
    for network in overlay.networks:
        going = [row.name for row in network.taps if row.name in tap_names]
        if len(going) == len(network.taps) and not network.declared:
            # Also a bridge without any tap, which an attach left behind that was killed half-way.
            sections.append(["del-br", network.bridge])
        elif going:
            sections += [["del-port", network.bridge, tap] for tap in going]
            left.append(network.vni)
    ovsdb.write(commands, sections, "detaching " + ", ".join(tap_names))
    if left:
        overlay = ovsdb.read(commands)
        patience = flows.Patience()
        for network in overlay.networks:
            if network.vni in left:
                flows.install(network, patience)
    for tap in tap_names:
        damaged = overlay.damage(tap)
        if damaged is not None:
            raise damaged.refusal(tap, "detaching it")
