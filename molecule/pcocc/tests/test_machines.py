# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One machine on each hypervisor, which have reached each other; no admin has defined anything."""

from __future__ import annotations

import time

from testinfra.host import Host

testinfra_hosts = ["ssh://hv1", "ssh://hv2"]


def test_one_machine_of_a_plain_user(host: Host) -> None:
    assert [found.user for found in host.process.filter(comm="qemu-system-x86")] == ["labuser"]


def test_it_has_reached_the_other(host: Host) -> None:
    until = time.monotonic() + 60
    said = ""
    while "REACHED" not in said and time.monotonic() < until:
        said = host.check_output("cat /var/lib/vc-scratch/job/*/vm?.console.log")
        time.sleep(0.5)
    own, other = ("10.11.0.2", "10.11.0.3") if "READY vm0" in said else ("10.11.0.3", "10.11.0.2")
    assert f" {own}/16 " in said
    assert f"REACHED {other}" in said
