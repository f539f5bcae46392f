# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a guest may put on the wire, on the real switches of hv1 and hv2: everything else has to disappear, and without flows everything.

Networks of its own, with ports that no guest is on: the programs of frames.py open the taps instead.
"""

from __future__ import annotations

import concurrent.futures
import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.lab.frames import KNOCK, LISTEN, SEND
from tests.lab.host import attempt, on, python
from tests.lab.virtual_cluster import awaited

VNI, OTHER_VNI = 16000001, 16000002
HOSTS = ("hv1", "hv2")
# How listeners and whoever makes them listen hear of each other.
STAGE = "/tmp/vc-proof-frames"
ALLOWED = ["arp", "arp-probe", "broadcast", "dhcp-question", "udp"]
FLOODED = ["arp", "arp-probe", "broadcast", "dhcp-question"]
_CALL = """
import json, re, sys
sys.path.insert(0, re.search('"(/.*virtual_cluster-.*)"', open("/usr/lib/hpc-virtual-cluster/bin/vc-overlay").read()).group(1))
from virtual_cluster.command import Commands
from virtual_cluster.host_config import load
from virtual_cluster.overlay import ports
verb, given = json.loads(sys.argv[1])
if verb == "attach":
    ports.attach(Commands(), load().overlay, [ports.Port(**port) for port in given])
else:
    ports.detach(Commands(), given)
print("{}")
"""


def tap(vni: int, index: int) -> str:
    return f"t{vni:06x}n{index}"


def port(vni: int, index: int) -> dict[str, Any]:
    return {
        "tap": tap(vni, index),
        "vni": vni,
        "mac": mac(index),
        "address": address(index),
        "mtu": 1500,
        "user_id": 0,
        "cluster": f"proof-{vni}",
        "holder": "job:4000000000.0",
    }


def mac(index: int) -> str:
    # The same in both networks: only the VNI tells them apart.
    return f"02:00:00:00:00:{index:02x}"


def address(index: int) -> str:
    return f"10.99.0.{index + 1}"


def call(host: str, verb: str, given: list[Any]) -> None:
    python(host, _CALL, json.dumps([verb, given]))


@pytest.fixture(scope="module")
def wire(demo: None) -> Iterator[None]:
    """Nodes 0 and 2 on hv1, node 1 on hv2, in two networks."""
    before = {host: on(host, "ovs-vsctl", "list-br") for host in HOSTS}
    indexes = {"hv1": (0, 2), "hv2": (1,)}
    for host, here in indexes.items():
        call(host, "attach", [port(vni, index) for vni in (VNI, OTHER_VNI) for index in here])
    yield
    for host, here in indexes.items():
        call(host, "detach", [tap(vni, index) for vni in (VNI, OTHER_VNI) for index in here])
    assert {host: on(host, "ovs-vsctl", "list-br") for host in HOSTS} == before


def sent() -> dict[str, list[str]]:
    """Node 0 sends everything; what arrives where."""
    listeners = {"hv1": [tap(VNI, 2), tap(OTHER_VNI, 0), tap(OTHER_VNI, 2)], "hv2": [tap(VNI, 1), tap(OTHER_VNI, 1)]}
    heard: dict[str, list[str]] = {}
    forget = ["rm", "-f", f"{STAGE}.ready", f"{STAGE}.said"]
    for host in listeners:
        on(host, *forget)
    with concurrent.futures.ThreadPoolExecutor() as pool:
        ears = [pool.submit(python, host, LISTEN, json.dumps([60, STAGE, *names])) for host, names in listeners.items()]
        awaited(lambda: all(attempt(host, "test", "-e", f"{STAGE}.ready").returncode == 0 for host in listeners), "all who listen", 30)
        python("hv1", SEND, json.dumps([tap(VNI, 0), mac(0), address(0), mac(1), address(1), mac(9), address(9)]))
        # Silence is worth nothing from those who were gone before everything was said.
        assert not any(ear.done() for ear in ears)
        for host in listeners:
            on(host, "touch", f"{STAGE}.said")
        for ear in ears:
            heard.update(ear.result())
    for host in listeners:
        on(host, *forget)
    return heard


def only_ours(heard: dict[str, list[str]]) -> dict[str, list[str]]:
    return {name: [mark for mark in marks if mark != "unmarked"] for name, marks in heard.items()}


def test_a_node_can_only_be_itself_and_only_in_its_network(wire: None) -> None:
    heard = only_ours(sent())
    assert heard[tap(VNI, 1)] == ALLOWED
    # Unicast may or may not be flooded, depending on what the switch has learned.
    assert [mark for mark in heard[tap(VNI, 2)] if mark != "udp"] == FLOODED
    for index in (0, 1, 2):
        assert heard[tap(OTHER_VNI, index)] == []


def test_the_host_itself_is_out_of_reach(wire: None) -> None:
    own = on("hv1", "hostname", "-I").split()[0]
    assert python("hv1", KNOCK, json.dumps([tap(VNI, 0), mac(0), address(0), own])) == {"heard": 0, "answered": 0}


def test_without_flows_nothing_passes_until_they_are_restored(wire: None) -> None:
    on("hv1", "ovs-ofctl", "del-flows", f"vcb{VNI}")
    assert not any(only_ours(sent()).values())
    on("hv1", "/usr/lib/hpc-virtual-cluster/bin/vc-overlay", "restore")
    assert only_ours(sent())[tap(VNI, 1)] == ALLOWED


def test_a_tap_that_was_set_down_is_mended_under_whoever_has_it_open(wire: None) -> None:
    device = f"/sys/class/net/{tap(VNI, 1)}"
    before = on("hv2", "cat", f"{device}/ifindex")
    on("hv2", "ip", "link", "set", tap(VNI, 1), "down", "arp", "on")
    on("hv2", "/usr/lib/hpc-virtual-cluster/bin/vc-overlay", "restore")
    assert int(on("hv2", "cat", f"{device}/flags"), 0) & 0x81 == 0x81
    on("hv2", "ip", "link", "set", tap(VNI, 1), "down")
    call("hv2", "attach", [port(VNI, 1)])
    assert int(on("hv2", "cat", f"{device}/flags"), 0) & 0x81 == 0x81
    assert on("hv2", "cat", f"{device}/ifindex") == before
    # Another holder's is replaced, and ovs-vswitchd does not go on with the one that is gone.
    call("hv2", "attach", [{**port(VNI, 1), "holder": "job:4000000001.0"}])
    assert on("hv2", "cat", f"{device}/ifindex") != before
    assert only_ours(sent())[tap(VNI, 1)] == ALLOWED


@pytest.mark.parametrize("flow", ["priority=5,ip,nw_ttl=64", "table=3,priority=7,tcp,tcp_flags=+syn", "priority=9,ip,nw_frag=first"])
def test_flows_that_somebody_else_has_put_there_go(wire: None, flow: str) -> None:
    def flows() -> set[str]:
        return {line.strip() for line in on("hv1", "ovs-ofctl", "--no-stats", "dump-flows", f"vcb{VNI}").splitlines() if "actions=" in line}

    before = flows()
    on("hv1", "ovs-ofctl", "add-flow", f"vcb{VNI}", f"{flow},actions=NORMAL")
    assert flows() != before
    on("hv1", "/usr/lib/hpc-virtual-cluster/bin/vc-overlay", "restore")
    assert flows() == before


def test_a_crashed_switch_gets_its_flows_back(wire: None) -> None:
    def flows() -> int:
        # There is a moment in which nobody answers.
        return attempt("hv1", "ovs-ofctl", "dump-flows", f"vcb{VNI}").stdout.count("actions=")

    before = flows()
    old = on("hv1", "cat", "/run/openvswitch/ovs-vswitchd.pid")
    on("hv1", "kill", "-SEGV", old.strip())
    awaited(lambda: attempt("hv1", "cat", "/run/openvswitch/ovs-vswitchd.pid").stdout not in ("", old), "another ovs-vswitchd", 30)
    awaited(lambda: flows() == before, "its flows", 30)
    assert only_ours(sent())[tap(VNI, 1)] == ALLOWED
