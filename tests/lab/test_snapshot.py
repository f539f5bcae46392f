# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The proofs rest on the whole-host diff; so leaks planted on purpose, one of every kind, must show in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pytest

from tests.lab import snapshot, vault
from tests.lab.host import on


@dataclass(frozen=True)
class Leak:
    """What is planted where, how it goes away again, and the category that has to show it."""

    category: str
    host: str
    plant: str
    remove: str
    shown_as: str


LEAKS = (
    Leak("processes", "hv1", "setsid sleep 98765 >/dev/null 2>&1 </dev/null &", "pkill -x -f 'sleep 98765'", "sleep 98765"),
    Leak(
        "processes", "hv1", "setsid setpriv --reuid=2001 sleep 98764 >/dev/null 2>&1 </dev/null &", "pkill -x -f 'sleep 98764'", "uid 2001"
    ),
    Leak("mounts", "hv1", "mount -t tmpfs leak /mnt", "umount /mnt", "/mnt tmpfs leak"),
    Leak("links", "hv1", "ip tuntap add leak0 mode tap", "ip link delete leak0", "leak0"),
    Leak("links", "hv2", "ip address add 192.0.2.77/32 dev lo", "ip address delete 192.0.2.77/32 dev lo", "192.0.2.77"),
    Leak("ovsdb", "hv1", "ovs-vsctl add-br leakbr -- set bridge leakbr datapath_type=netdev", "ovs-vsctl del-br leakbr", "leakbr"),
    Leak(
        "targets",
        "nas",
        "tgtadm --lld iscsi --mode target --op new --tid 997 -T iqn.2026-11.leak:x",
        "tgtadm --lld iscsi --mode target --op delete --tid 997",
        "iqn.2026-11.leak:x",
    ),
    Leak("run", "hv2", "touch /run/vc/leak", "rm /run/vc/leak", "/run/vc/leak"),
    Leak("shm", "hv2", "touch /dev/shm/leak", "rm /dev/shm/leak", "/dev/shm/leak"),
    Leak("tmp", "hv2", "mkdir /tmp/leak", "rmdir /tmp/leak", "/tmp/leak"),
    Leak("scratch", "hv2", "touch /var/lib/vc-scratch/leak", "rm /var/lib/vc-scratch/leak", "/var/lib/vc-scratch/leak"),
    Leak("nftables", "hv2", "nft add table inet leak", "nft delete table inet leak", "table inet leak"),
    Leak("cgroups", "hv2", "mkdir /sys/fs/cgroup/leak", "rmdir /sys/fs/cgroup/leak", "/sys/fs/cgroup/leak"),
    Leak("units", "hv2", "systemd-run --no-block --unit=vc-leak sleep 98763", "systemctl stop vc-leak", "vc-leak.service"),
    Leak(
        "registry",
        "nas",
        f"echo x > {vault.ROOT}/registry/leak.json",
        f"rm {vault.ROOT}/registry/leak.json",
        "leak.json unreadable",
    ),
    Leak("slurm", "head", "scontrol update nodename=hv2 state=drain reason=leak", "scontrol update nodename=hv2 state=resume", "leak"),
    Leak(
        "slurm",
        "head",
        "setpriv --reuid=2002 --regid=2002 --clear-groups sbatch -H -A chemistry -J leak -o /dev/null --wrap true",
        "scancel -n leak",
        "leak",
    ),
)


@pytest.mark.usefixtures("demo")
def test_a_planted_leak_of_every_kind_is_seen() -> None:
    before = snapshot.take_quiet()
    planted: list[Leak] = []
    try:
        for leak in LEAKS:
            planted.append(leak)
            on(leak.host, "/bin/sh", "-c", leak.plant)
        seen = snapshot.take().changes_since(before)
    finally:
        for leak in planted:
            on(leak.host, "/bin/sh", "-c", leak.remove)
    missed = [leak for leak in LEAKS if not shows(seen, leak)]
    assert not missed, f"planted and not seen: {missed}\nseen: {seen}"
    assert {leak.category for leak in LEAKS} == {category for _host, category in before.lines} - {"domains"}
    snapshot.unchanged(before, timeout=20)


def shows(seen: Sequence[str], leak: Leak) -> bool:
    return any(line.startswith(f"+ {leak.host} {leak.category}:") and leak.shown_as in line for line in seen)
