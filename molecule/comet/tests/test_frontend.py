# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The virtual cluster as its owner sees it: logged in on the frontend by its public address."""

from __future__ import annotations

from testinfra.host import Host

testinfra_hosts = ["ssh://vc1"]


def test_it_is_a_machine_of_its_own(host: Host) -> None:
    name, kind, *addresses = host.check_output("hostname; systemd-detect-virt; hostname --all-ip-addresses").split()
    assert name == "frontend"
    assert kind in ("kvm", "qemu")
    assert set(addresses) == {"10.11.0.1", "10.79.0.101"}


def test_it_reaches_its_computes_by_name(host: Host) -> None:
    said = [host.check_output(f"ssh -o BatchMode=yes compute{number} 'hostname; cat /proc/sys/kernel/random/boot_id'") for number in (0, 1)]
    names, boots = zip(*(answer.split() for answer in said))
    assert names == ("compute0", "compute1")
    assert len(set(boots)) == 2
