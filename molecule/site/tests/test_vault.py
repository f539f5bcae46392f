# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The vault answers, has nothing yet, and lets no host in but by its one command."""

from __future__ import annotations

import json

from testinfra.host import Host

testinfra_hosts = ["ssh://nas"]


def test_the_target_daemon_runs_and_serves_nothing_yet(host: Host) -> None:
    assert host.service("tgt").is_running
    assert host.service("tgt").is_enabled
    assert host.socket("tcp://0.0.0.0:3260").is_listening
    status = json.loads(host.check_output("vc-vault status"))
    assert (status["clusters"], status["exports"]) == ({}, {})


def test_every_host_has_one_line_and_one_command(host: Host) -> None:
    lines = [line for line in host.file("/root/.ssh/authorized_keys").content_string.splitlines() if "vc-vault" in line]
    hosts = {
        "head": ("10.77.0.10", "gate"),
        "fe1": ("10.77.0.20", "frontends-and-gate"),
        "hv1": ("10.77.0.21", "guests"),
        "hv2": ("10.77.0.22", "guests"),
    }
    assert len(lines) == len(hosts)
    for name, (address, allowed) in hosts.items():
        (line,) = [line for line in lines if f'serve --host {name} --allow {allowed}"' in line]
        assert "restrict" in line.split(" ssh-")[0]
        assert f'from="{address}"' in line


def test_the_registry_is_roots(host: Host) -> None:
    place = host.file("/srv/vc-vault")
    assert (place.user, place.mode) == ("root", 0o700)
