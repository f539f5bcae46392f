# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The demo's nodes are real machines of their own, and what runs them is what the definition and the design say; seen from outside."""

from __future__ import annotations

import base64
import json
import pathlib
import re
import struct
import threading
from dataclasses import dataclass
from typing import Any

import pytest

from tests.lab import vault
from tests.lab.guest import FRONTEND, QEMUS, ssh
from tests.lab.host import HOSTS, UIDS, attempt, on, python
from tests.lab.virtual_cluster import awaited

COMPUTES = ("compute0", "compute1")
# The cluster's own key has its private half on the frontend only, so a compute borrows it through an agent.
CLUSTER_KEY = "/etc/ssh/virtual_cluster_key"

WHO_AM_I = """
import glob, json, os, socket
SCRIPT = "/var/lib/cloud/instance/scripts/runcmd"
print(json.dumps({
    "boot_id": open("/proc/sys/kernel/random/boot_id").read().strip(),
    "hostname": socket.gethostname(),
    "cpus": os.cpu_count(),
    "macs": [open(path).read().strip() for path in sorted(glob.glob("/sys/class/net/*/address"))],
    "addresses": os.popen("ip -o -4 address show scope global").read(),
    "done_once": [os.path.basename(path) for path in glob.glob("/var/lib/cloud/instance/sem/*")],
    "script": open(SCRIPT).read() if os.path.exists(SCRIPT) else "",
}))
"""


@dataclass(frozen=True)
class Guests:
    """What the registry says of vc1's nodes, and what each node says of itself; both by name."""

    cluster: dict[str, Any]
    defined: dict[str, dict[str, Any]]
    seen: dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def guests(demo: None) -> Guests:
    cluster = vault.resolved("vc1")
    defined = {node["name"]: node for node in cluster["nodes"]}
    seen = {name: json.loads(ssh("python3 -", "" if name == "frontend" else name, stdin=WHO_AM_I)) for name in defined}
    return Guests(cluster, defined, seen)


def test_a_kept_disk_was_synced_at_the_end_of_its_first_start(guests: Guests) -> None:
    frontend = guests.seen["frontend"]
    assert frontend["script"].splitlines()[-1:] == ["'sync'"]
    assert {"config_runcmd", "config_scripts_user"} <= set(frontend["done_once"])
    assert {guests.seen[name]["script"] for name in COMPUTES} == {""}


def qemu_of(mac: str) -> tuple[str, dict[str, Any]]:
    """The host and the process that carries this MAC address."""
    found = [(host, entry) for host in HOSTS for entry in python(host, QEMUS) if mac in " ".join(entry["command"])]
    assert len(found) == 1, found
    return found[0]


def test_every_guest_booted_a_kernel_of_its_own(guests: Guests) -> None:
    boots = [on(host, "cat", "/proc/sys/kernel/random/boot_id").strip() for host in HOSTS]
    boots += [pathlib.Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()]
    boots += [seen["boot_id"] for seen in guests.seen.values()]
    assert len(set(boots)) == len(HOSTS) + 1 + 3


def test_guests_are_what_the_definition_says(guests: Guests) -> None:
    for name, node in guests.defined.items():
        seen = guests.seen[name]
        assert seen["hostname"].partition(".")[0] == name
        assert seen["cpus"] == node["cpus"]
        assert node["mac"] in seen["macs"]
        assert f" {node['address']}/24 " in seen["addresses"]
    assert f" {FRONTEND}/24 " in guests.seen["frontend"]["addresses"]


def test_computes_are_one_job_of_the_owner_on_two_hosts(guests: Guests) -> None:
    jobs = on("head", "squeue", "-h", "-u", "labuser", "-t", "R", "-o", "%i|%a|%N").split()
    vc1 = [line for line in jobs if line.endswith("|hv[1-2]")]
    assert len(vc1) == 1, jobs
    assert vc1[0].split("|")[1] == "physics"
    places = {name: qemu_of(guests.defined[name]["mac"]) for name in COMPUTES}
    assert {host for host, _process in places.values()} == {"hv1", "hv2"}
    for host, process in places.values():
        assert set(process["uids"]) == {str(UIDS["labuser"])}, (host, process)
        assert f"job-{vc1[0].split('|')[0]}" in process["cgroup"]


def test_the_frontend_runs_on_its_host(guests: Guests) -> None:
    host = qemu_of(guests.defined["frontend"]["mac"])[0]
    assert host == "fe1"


@pytest.mark.parametrize("name", COMPUTES)
def test_the_root_disk_ends_at_the_vaults_export(guests: Guests, name: str) -> None:
    host, process = qemu_of(guests.defined[name]["mac"])
    overlays = on(host, "find", "/var/lib/vc-scratch/job", "-name", f"*{name}*", "-type", "f", "-size", "+64k").split()
    infos = [
        json.loads(on(host, "qemu-img", "info", "-U", "-f", "qcow2", "--output=json", path)) for path in overlays if path.endswith(".qcow2")
    ]
    assert len(infos) == 1, overlays
    backing = re.fullmatch(r"iscsi://10\.77\.0\.12(?::3260)?/([^/]+)/1", infos[0]["backing-filename"])
    assert backing, infos[0]["backing-filename"]
    assert infos[0]["filename"] in " ".join(process["command"])
    shown = on("nas", "tgtadm", "--lld", "iscsi", "--mode", "target", "--op", "show")
    target = next(part for part in re.split(r"(?m)^Target ", shown) if re.match(rf"\d+: {re.escape(backing.group(1))}\n", part))
    assert "Readonly: Yes" in target
    assert re.search(f"Backing store path: {vault.ROOT}/store/", target), target
    assert re.search(rf"IP Address: {re.escape(on(host, 'hostname', '-I').split()[0])}\b", target), target
    # Whoever has no secret gets nothing, also from the right address.
    refused = attempt(host, "qemu-img", "info", "-f", "raw", infos[0]["backing-filename"])
    assert refused.returncode != 0, refused.stdout


def vxlan_frames(capture: bytes) -> list[tuple[int, str, str, int]]:
    """(VNI, inner source, inner destination, inner TCP port) of every VXLAN packet of a pcap file that carries IPv4 and TCP."""
    order = "<" if capture[:4] in (b"\xd4\xc3\xb2\xa1", b"\x4d\x3c\xb2\xa1") else ">"
    frames, place = [], 24
    while place + 16 <= len(capture):
        length = struct.unpack(f"{order}8xI4x", capture[place : place + 16])[0]
        packet = capture[place + 16 : place + 16 + length]
        place += 16 + length
        start = 14 + (packet[14] & 15) * 4 + 8
        vni = int.from_bytes(packet[start + 4 : start + 7], "big")
        inner = packet[start + 8 + 14 :]
        if packet[start + 8 + 12 : start + 8 + 14] == b"\x08\x00" and inner[9] == 6:
            tcp = inner[(inner[0] & 15) * 4 :]
            ports = struct.unpack(">HH", tcp[:4])
            frames.append((vni, ".".join(map(str, inner[12:16])), ".".join(map(str, inner[16:20])), min(ports)))
    return frames


def test_traffic_between_computes_crosses_the_underlay_with_the_clusters_vni(guests: Guests) -> None:
    host = qemu_of(guests.defined["compute0"]["mac"])[0]
    caught: list[str] = []
    command = "timeout 60 tcpdump -q -i eth1 -U -w - 'udp port 4789 and greater 120' 2>/dev/null | base64 -w0"
    sniffer = threading.Thread(target=lambda: caught.append(on(host, "sh", "-c", command, timeout=90)))
    sniffer.start()
    try:
        awaited(lambda: on(host, "sh", "-c", "pgrep -x tcpdump || true").strip(), "tcpdump to listen")
        said = ssh(f"ssh-agent sh -c 'ssh-add -q {CLUSTER_KEY} && ssh -A -o BatchMode=yes compute0 ssh -o BatchMode=yes compute1 hostname'")
        assert said.strip().partition(".")[0] == "compute1"
    finally:
        attempt(host, "pkill", "-INT", "-x", "tcpdump")
        sniffer.join(90)
    addresses = {guests.defined[name]["address"] for name in COMPUTES}
    frames = [frame for frame in vxlan_frames(base64.b64decode(caught[0])) if {frame[1], frame[2]} == addresses and frame[3] == 22]
    assert frames, "no ssh between the computes was seen on the underlay"
    assert {frame[0] for frame in frames} == {guests.cluster["network"]["vni"]}
