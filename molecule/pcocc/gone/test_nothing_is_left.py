# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""After the set: no process, no bridge, no directory, no lease. What declared clusters have is not looked at."""

from __future__ import annotations

import json
import time

from testinfra.host import Host

testinfra_hosts = ["ssh://hv1", "ssh://hv2", "ssh://nas"]
# Networks of throw-away machines are taken from the upper end of all VNIs.
FIRST_VNI = 2**24 - 2**22


def test_nothing_is_left(host: Host) -> None:
    if host.backend.hostname == "nas":
        until = time.monotonic() + 20
        while (left := registry(host)) and time.monotonic() < until:
            time.sleep(0.5)
        assert left == []
        return
    assert host.process.filter(comm="qemu-system-x86") == []
    bridges = host.check_output("ovs-vsctl --timeout=5 list-br").split()
    assert [name for name in bridges if name.startswith("vcb") and int(name.removeprefix("vcb")) >= FIRST_VNI] == []
    for place in ("/run/vc/job", "/run/vc/jobs", "/var/lib/vc-scratch/job", "/var/lib/vc-scratch/records"):
        assert host.file(place).listdir() == []


def registry(host: Host) -> list[str]:
    """Clusters made for jobs, and exports of their disks."""
    status = json.loads(host.check_output("/usr/lib/hpc-virtual-cluster/bin/vc-vault status"))
    return [name for name in status["clusters"] if name.startswith("job")] + [iqn for iqn in status["exports"] if ":job" in iqn]
