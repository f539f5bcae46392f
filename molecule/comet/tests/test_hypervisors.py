# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What runs on the hypervisors: one guest on each, as its owner and not as root."""

from __future__ import annotations

from testinfra.host import Host

testinfra_hosts = ["ssh://hv1", "ssh://hv2"]


def test_one_guest_of_the_owners(host: Host) -> None:
    assert [found.user for found in host.process.filter(comm="qemu-system-x86")] == ["labuser"]


def test_the_network_is_there_and_closed_by_default(host: Host) -> None:
    bridges = host.check_output("ovs-vsctl --timeout=5 list-br").split()
    assert [name for name in bridges if name.startswith("vcb")] == ["vcb10001"]
    assert host.check_output("ovs-vsctl --timeout=5 get-fail-mode vcb10001") == "secure"
