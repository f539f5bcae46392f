# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A host of frontends that loses power brings them back by itself; the demo's own takes its time to boot."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.lab import in_process, vault
from tests.lab.host import attempt, on
from tests.lab.virtual_cluster import FRONTEND_HOST, VirtualCluster, awaited, boots, lone_frontend, power_cycled

NAME = "plugged"
# What Open vSwitch counts, or says anew at every dump.
COUNTED = re.compile(r"(cookie|duration|n_packets|n_bytes|idle_age)=[^,]*, ?")


def frontend(cluster: dict[str, Any], **options: Any) -> dict[str, Any]:
    answer = in_process.answers(FRONTEND_HOST, "vc_frontend", [{"cluster": cluster, "wait": False, **options}])[0]
    assert not answer.get("failed"), answer
    return answer


def flows(cluster: dict[str, Any]) -> list[str]:
    shown = on(FRONTEND_HOST, "ovs-ofctl", "--names", "dump-flows", f"vcb{cluster['network']['vni']}")
    return sorted(COUNTED.sub("", line).strip() for line in shown.splitlines() if "actions=" in line)


def plugged_in(cluster: dict[str, Any]) -> bool:
    """Whether QEMU has the frontend's tap."""
    tap = f"t{cluster['network']['vni']:06x}n0"
    return on(FRONTEND_HOST, "cat", f"/sys/class/net/{tap}/carrier").strip() == "1"


@pytest.fixture
def plugged(demo: None) -> Iterator[VirtualCluster]:
    with lone_frontend(NAME, "10.19.0.0/24") as cluster:
        frontend(cluster.resolved)
        yield cluster


def test_a_host_that_lost_power_brings_its_frontends_back_pinned(plugged: VirtualCluster) -> None:
    (first,) = awaited(lambda: boots(NAME), "the small frontend to be up")
    clusters = {name: vault.resolved(name) for name in ("vc1", NAME)}
    before = {name: flows(cluster) for name, cluster in clusters.items()}
    assert all(before.values())
    power_cycled(FRONTEND_HOST)
    for name, cluster in clusters.items():
        shown = ["virsh", "domstate", f"{name}.frontend"]
        awaited(lambda argv=shown: attempt(FRONTEND_HOST, *argv).stdout.strip() == "running", f"{name}'s frontend to be started")
        assert flows(cluster) == before[name]
        assert plugged_in(cluster)
        assert frontend(cluster)["actions"] == []
    awaited(lambda: boots(NAME) not in ([], [first]), "another boot of the small frontend")
    # Whoever comes next has a machine that is not busy with its boot.
    frontend(clusters["vc1"], wait=True, wait_timeout=300)
