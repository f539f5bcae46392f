# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module ovs_vxlan against one batched ovs-vsctl, and against a task for each port."""

from __future__ import annotations

from functools import partial
from typing import Any

from ansible_collections.hpc.virtual_cluster.plugins.module_utils.model.host import OverlayHost
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.overlay import bridge

from benchmarks.measure import BenchError, Contender, race
from benchmarks.room import ADDRESS, Room
from benchmarks.table import Table, seconds

SIZES = (1, 100, 500)
GOAL = 1.5
TEXT = (
    "A bridge with VXLAN ports to that many peers, made from nothing on a real Open vSwitch (userspace datapath) that has none: by "
    "one task of `ovs_vxlan`, by one task of `ansible.builtin.command` with the same changes in one `ovs-vsctl` (the floor), and by "
    "one such task for each port. Each is a whole run of `ansible-playbook`. The module besides reads what is there, closes the "
    "bridge by flows, and reads back that every port was opened. *Again* is its second run, which changes nothing."
)


def measure(room: Room, rounds: int) -> Table:
    start_switch(room)
    columns = ("ports", "`ovs_vxlan`", "one `ovs-vsctl`", "loop", "again", "module / floor", "loop / module")
    table = Table("Tunnel ports", TEXT, columns, f"at most {GOAL} times one batched `ovs-vsctl`")
    for size in SIZES:
        host = OverlayHost(ADDRESS, "netdev", 1600, tuple(f"10.88.{number // 250}.{number % 250 + 2}" for number in range(size)))
        tunnels = [{"port": name, "peer": options["remote_ip"]} for name, options in bridge.tunnels(host, 10001).items()]
        batch = ["ovs-vsctl"]
        for section in bridge.changes(None, bridge.Wanted("bench", 10001, 1500, declared=True), host):
            batch += ["--", *section]
        given: dict[str, dict[str, Any]] = {
            "module": {"peers": list(host.peers)},
            "batch": {"batch": batch},
            "loop": {"tunnels": tunnels},
        }
        ways = [_way(room, name, given[name], size) for name in given]
        times = race(ways[:2], rounds)
        # It takes minutes.
        times.update(race(ways[2:], 1))
        _reset(room)
        room.play("tunnels_module", given["module"])
        times.update(race([Contender("again", partial(_unchanged, room, given["module"]))], rounds))
        ratio = times["module"] / times["batch"]
        shown = [seconds(times[name]) for name in ("module", "batch", "loop", "again")]
        table.add((str(size), *shown, f"{ratio:.2f}", f"{times['loop'] / times['module']:.0f}"), ratio <= GOAL)
    return table


def start_switch(room: Room) -> None:
    room.run("mkdir", "-p", "/run/openvswitch", "/etc/openvswitch", "/var/log/openvswitch")
    room.run("ovsdb-tool", "create", "/etc/openvswitch/conf.db", "/usr/share/openvswitch/vswitch.ovsschema")
    room.daemon("ovsdb-server", "--remote=punix:/run/openvswitch/db.sock", "--pidfile", "/etc/openvswitch/conf.db")
    room.until("ovs-vsctl", "--no-wait", "--timeout=5", "init")
    room.daemon("ovs-vswitchd", "--pidfile", "--log-file=/var/log/openvswitch/ovs-vswitchd.log")
    room.until("ovs-appctl", "-t", "ovs-vswitchd", "version")


def _way(room: Room, name: str, variables: dict[str, Any], size: int) -> Contender:
    return Contender(name, partial(room.play, f"tunnels_{name}", variables), partial(_reset, room), partial(_check, room, name, size))


def _check(room: Room, name: str, size: int) -> None:
    made = room.run("ovs-vsctl", "--bare", "--columns=name", "find", "Interface", "type=vxlan", "ofport>0").split()
    if len(made) != size:
        raise BenchError(f"{name} made {len(made)} of {size} ports")


def _unchanged(room: Room, variables: dict[str, Any]) -> None:
    said = room.play("tunnels_module", variables)
    if "changed=0" not in said:
        raise BenchError(f"the second run changed something\n{said}")


def _reset(room: Room) -> None:
    for name in room.run("ovs-vsctl", "list-br").split():
        room.run("ovs-vsctl", "del-br", name)
