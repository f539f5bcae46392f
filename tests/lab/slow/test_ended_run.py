# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A role that was ended between its files and what makes the host go by them is finished by the next run."""

from __future__ import annotations

import re

import pytest

from tests.lab.host import on, play
from tests.lab.recap import changes


@pytest.mark.usefixtures("demo")
def test_what_an_ended_run_had_only_written_is_put_in_force_by_the_next() -> None:
    """As if each role had been ended between its files and what makes the host go by them."""
    settings = "/etc/hpc-virtual-cluster"
    places = {"overlay_host": "hv1", "frontend_host": "fe1", "vault": "nas", "gate": "head"}
    notes = [(host, f"{settings}/{role}.in-force") for role, host in {**places, "hypervisor": "hv1"}.items()]
    notes += [("head", "/etc/slurm/slurm_controller_controller.in-force"), ("hv1", "/etc/slurm/slurm_controller_compute.in-force")]
    daemons = {
        ("nas", "tgt.service"): "ActiveEnter",
        ("nas", "ssh.service"): "StateChange",
        ("head", "ssh.service"): "StateChange",
        ("head", "slurmctld.service"): "ActiveEnter",
        ("hv1", "slurmd.service"): "ActiveEnter",
        ("hv1", "vc-host.socket"): "ActiveEnter",
    }

    def since() -> list[str]:
        asked = [(host, unit, f"--property={moment}TimestampMonotonic") for (host, unit), moment in daemons.items()]
        return [on(host, "systemctl", "show", moment, unit) for host, unit, moment in asked]

    wanted = on("fe1", "cat", f"{settings}/public-filter.xml")
    older = re.sub(r" *<rule [^>]*>\s*<arp [^>]*0\.0\.0\.0'/>\s*</rule>\n", "", wanted)
    assert older != wanted
    before, rules = since(), on("fe1", "virsh", "nwfilter-dumpxml", "vc-public")
    on("fe1", "virsh", "-q", "nwfilter-define", "/dev/stdin", stdin=older)
    assert on("fe1", "virsh", "nwfilter-dumpxml", "vc-public") != rules
    on("hv1", "nft", "delete", "element", "inet", "vc_underlay", "peers", "{ 10.88.0.22 }")
    for host, note in notes:
        on(host, "tee", note, stdin="of an older release")
    only = ["--limit", ",".join(places.values()), "--tags", "network,frontend,vault,gate,hypervisor,slurm"]
    assert changes(play("site.yml", *only).stdout)
    assert "10.88.0.22" in on("hv1", "nft", "list", "set", "inet", "vc_underlay", "peers")
    assert on("fe1", "virsh", "nwfilter-dumpxml", "vc-public") == rules
    assert not set(since()) & set(before)
