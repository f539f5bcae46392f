# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hypervisors are fit for guests, and nobody but root gets what is root's."""

from __future__ import annotations

import json

import pytest
from testinfra.host import Host

testinfra_hosts = ["ssh://hv1", "ssh://hv2"]


@pytest.mark.parametrize("unit", ["slurmd.service", "openvswitch-switch.service", "vc-host.socket", "vc-overlay.path"])
def test_units_run_and_come_back_at_boot(host: Host, unit: str) -> None:
    found = host.service(unit)
    assert found.is_running
    assert found.is_enabled


def test_the_accelerator_was_found_out(host: Host) -> None:
    config = json.loads(host.file("/etc/hpc-virtual-cluster/host.json").content_string)
    assert config["name"] == host.check_output("hostname")
    assert config["accelerator"] in ("kvm", "tcg")
    assert config["overlay"]["local_ip"] in host.check_output("hostname --all-ip-addresses").split()


def test_the_key_to_the_vault_is_roots(host: Host) -> None:
    key = host.file("/etc/hpc-virtual-cluster/vault_key")
    assert (key.user, key.mode) == ("root", 0o600)
    said = host.run("setpriv --reuid=2001 --regid=2001 --clear-groups cat %s", key.path)
    assert said.rc != 0
    # And it opens one command, nothing else.
    ssh = "ssh -F none -o BatchMode=yes -o UserKnownHostsFile=/etc/hpc-virtual-cluster/known_hosts -i %s root@%s id"
    assert "uid=" not in host.run(ssh, key.path, "10.77.0.12").stdout


def test_no_unit_has_failed(host: Host) -> None:
    assert host.check_output("systemctl list-units --failed --plain --no-legend") == ""
