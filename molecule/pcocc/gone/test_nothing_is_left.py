# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""After the set: no process, no bridge, no directory, no lease."""

from __future__ import annotations

import json
import time

from testinfra.host import Host

testinfra_hosts = ["ssh://hv1", "ssh://hv2", "ssh://nas"]


def test_nothing_is_left(host: Host) -> None:
    if host.backend.hostname == "nas":
        until = time.monotonic() + 20
        while (status := registry(host)) != ({}, {}) and time.monotonic() < until:
            time.sleep(0.5)
        assert status == ({}, {})
        return
    assert host.process.filter(comm="qemu-system-x86") == []
    assert "vcb" not in host.check_output("ovs-vsctl --timeout=5 list-br")
    for place in ("/run/vc/job", "/run/vc/jobs", "/var/lib/vc-scratch/job", "/var/lib/vc-scratch/records"):
        assert host.file(place).listdir() == []


def registry(host: Host) -> tuple[object, object]:
    status = json.loads(host.check_output("/usr/lib/hpc-virtual-cluster/bin/vc-vault status"))
    return {name: entry for name, entry in status["clusters"].items() if name.startswith("job")}, status["exports"]
