# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab's networks: bridges in a namespace of their own, and this machine's legs on two of them."""

from __future__ import annotations

import contextlib
import hashlib
import ipaddress
import json
import shutil
from pathlib import Path

from . import cgroup
from .layout import EVERY_HOST, FABRIC, PUBLIC, REPOSITORY, RUNTIME, SEGMENTS, SSH_SOCKETS, UNDERLAY, HostPlan
from .process import LabError, run

OWNER = RUNTIME / "owner"
# The word by which a host's supervising process is known.
SUPERVISOR = "vc-lab-supervisor"
INOTIFY = Path("/proc/sys/fs/inotify/max_user_instances")
INOTIFY_BEFORE = RUNTIME / "inotify-before"
# Each host's systemd and udev take about eight; the kernel's default of 128 ends at a dozen hosts.
INOTIFY_WANTED = 1024


def namespace_of(host: str) -> str:
    return f"vc-{host}"


def namespaces() -> set[str]:
    return {path.name for path in Path("/run/netns").glob("*")} if Path("/run/netns").is_dir() else set()


def in_namespace(namespace: str, *words: str) -> None:
    run(["ip", "-n", namespace, *words])


def owner() -> str:
    """The work tree whose lab is up on this machine, empty for none."""
    return OWNER.read_text().strip() if OWNER.exists() and FABRIC in namespaces() else ""


def foreign_owner() -> str:
    """Another work tree whose lab runs on this machine. One without a single running host is nobody's: its owner was killed."""
    running = owner()
    return running if running != str(REPOSITORY) and hosts_of(running) else ""


def hosts_of(tree: str) -> list[str]:
    """The roots of the hosts that run from a work tree's lab."""
    roots = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            words = path.read_text(errors="replace").split("\0")
            if SUPERVISOR in words:
                roots.extend(word for word in words if tree and word.startswith(f"--directory={tree}/"))
    return roots


def clear_foreign_lab() -> None:
    """Refuse beside the live lab of another work tree; what a killed one left mounted and plugged is taken away, but for its files."""
    if running := foreign_owner():
        raise LabError(f"a lab of another work tree is up on this machine: take it down first (make -C {running} demo-down)")
    if owner() in ("", str(REPOSITORY)):
        return
    for line in Path("/proc/self/mounts").read_text().splitlines():
        source, target = line.split()[:2]
        if source.startswith("vc-lab-"):
            run(["umount", target])
    for plan in EVERY_HOST:
        unplug(plan.name)
        cgroup.remove(cgroup.group_of(plan.name))
    down()
    shutil.rmtree(RUNTIME, ignore_errors=True)


def address_clashes() -> list[str]:
    """Addresses and routes of this machine, other than the lab's own, that overlap the lab's ranges on it."""
    legs = {segment.leg for segment in SEGMENTS if segment.leg} if owner() else set()
    used: list[tuple[str, str]] = []
    for link in json.loads(run(["ip", "-j", "-4", "addr"]).stdout or "[]"):
        for entry in link.get("addr_info", []):
            used.append((link["ifname"], f"{entry['local']}/{entry['prefixlen']}"))
    for route in json.loads(run(["ip", "-j", "-4", "route", "show", "table", "all"]).stdout or "[]"):
        if route["dst"] != "default" and route.get("type", "unicast") == "unicast":
            used.append((route.get("dev", "a route"), route["dst"]))
    clashes = []
    for device, text in used:
        taken = ipaddress.ip_network(text, strict=False)
        for segment in SEGMENTS:
            if segment.leg and device not in legs and taken.overlaps(ipaddress.ip_network(segment.network)):
                clashes.append(f"{segment.network} overlaps {text} on {device}")
    return sorted(set(clashes))


def up() -> None:
    """Bridges and legs, where they are missing; LabError before the first change when an address range is taken."""
    clear_foreign_lab()
    clashes = address_clashes()
    if clashes:
        raise LabError(f"address clash: {'; '.join(clashes)}; free the range, nothing has been changed")
    SSH_SOCKETS.mkdir(parents=True, exist_ok=True, mode=0o700)
    OWNER.write_text(f"{REPOSITORY}\n")
    before = int(INOTIFY.read_text())
    if before < INOTIFY_WANTED:
        INOTIFY_BEFORE.write_text(f"{before}\n")
        INOTIFY.write_text(f"{INOTIFY_WANTED}\n")
    if FABRIC not in namespaces():
        run(["ip", "netns", "add", FABRIC])
        in_namespace(FABRIC, "link", "set", "lo", "up")
    present = links(FABRIC)
    for segment in SEGMENTS:
        if segment.bridge not in present:
            in_namespace(FABRIC, "link", "add", segment.bridge, "type", "bridge")
            in_namespace(FABRIC, "link", "set", segment.bridge, "mtu", str(segment.mtu), "up")
        if segment.leg and segment.leg not in links():
            far = f"l-{segment.bridge}"
            run(["ip", "link", "add", segment.leg, "type", "veth", "peer", "name", far, "netns", FABRIC])
            in_namespace(FABRIC, "link", "set", far, "master", segment.bridge, "up")
            prefix = segment.network.split("/")[1]
            run(["ip", "addr", "add", f"{segment.leg_address}/{prefix}", "dev", segment.leg])
            run(["ip", "link", "set", segment.leg, "up"])


def links(namespace: str = "") -> set[str]:
    where = ["-n", namespace] if namespace else []
    return {link["ifname"] for link in json.loads(run(["ip", "-j", *where, "link"]).stdout or "[]")}


def down() -> None:
    """Take bridges, legs and the raised limit back."""
    for segment in SEGMENTS:
        if segment.leg and segment.leg in links():
            run(["ip", "link", "del", segment.leg])
    if FABRIC in namespaces():
        run(["ip", "netns", "del", FABRIC])
    if INOTIFY_BEFORE.exists():
        INOTIFY.write_text(INOTIFY_BEFORE.read_text())
        INOTIFY_BEFORE.unlink()


def plug(plan: HostPlan) -> None:
    """Give a host its namespace and NICs; they exist before it boots and survive its reboots."""
    namespace = namespace_of(plan.name)
    run(["ip", "netns", "add", namespace])
    in_namespace(namespace, "link", "set", "lo", "up")
    cable(plan.name, "eth0", SEGMENTS[0].bridge, 1500)
    in_namespace(namespace, "addr", "add", f"{plan.address}/24", "dev", "eth0")
    if plan.underlay:
        cable(plan.name, "eth1", UNDERLAY.bridge, UNDERLAY.mtu)
        in_namespace(namespace, "addr", "add", f"{plan.underlay}/24", "dev", "eth1")
    if plan.public:
        cable(plan.name, "eth2", PUBLIC.bridge, PUBLIC.mtu)
        in_namespace(namespace, "link", "add", "br-public", "type", "bridge")
        in_namespace(namespace, "link", "set", "br-public", "up")
        in_namespace(namespace, "link", "set", "eth2", "master", "br-public")


def cable(host: str, nic: str, bridge: str, mtu: int) -> None:
    namespace = namespace_of(host)
    far = f"{nic}-{host}"
    peer = ["peer", "name", far, "mtu", str(mtu), "netns", FABRIC]
    run(["ip", "-n", namespace, "link", "add", nic, "address", mac_of(host, nic), "mtu", str(mtu), "type", "veth", *peer])
    in_namespace(FABRIC, "link", "set", far, "master", bridge, "up")
    in_namespace(namespace, "link", "set", nic, "up")


def mac_of(host: str, nic: str) -> str:
    """A card keeps its address when its host comes back: neighbours remember it for a minute."""
    digest = hashlib.sha256(f"{host} {nic}".encode()).digest()
    return ":".join(f"{byte:02x}" for byte in (0x06, *digest[:5]))


def unplug(host: str) -> None:
    if namespace_of(host) in namespaces():
        run(["ip", "netns", "del", namespace_of(host)])
    if FABRIC in namespaces():
        for link in links(FABRIC):
            if link.endswith(f"-{host}"):
                run(["ip", "-n", FABRIC, "link", "del", link], check=False)
