# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A host of frontends that loses power brings them back by itself.  Last of all, because the demo's own takes its time to boot."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.lab import in_process, vault
from tests.lab.host import LAB, attempt, finished, on
from tests.lab.virtual_cluster import FRONTEND_HOST, VirtualCluster, awaited, lone_frontend

NAME = "plugged"
TAP, BRIDGE = "t002711n0", "vcb10001"


def frontend(cluster: dict[str, Any], **options: Any) -> dict[str, Any]:
    answer = in_process.answers(FRONTEND_HOST, "vc_frontend", [{"cluster": cluster, "wait": False, **options}])[0]
    assert not answer.get("failed"), answer
    return answer


@pytest.fixture
def plugged(demo: None) -> Iterator[VirtualCluster]:
    with lone_frontend(NAME, "10.19.0.0/24") as cluster:
        frontend(cluster.resolved)
        yield cluster


def boots() -> list[str]:
    return re.findall(r"READY .* boot_id=(\S+)", on(FRONTEND_HOST, "cat", f"/var/lib/vc-frontends/{NAME}/console.log"))


def test_a_host_that_lost_power_brings_its_frontends_back_pinned(plugged: VirtualCluster) -> None:
    (before,) = awaited(boots, "the small frontend to be up")
    flows = on(FRONTEND_HOST, "ovs-ofctl", "dump-flows", BRIDGE).count("actions=")
    for argv in (["crash", FRONTEND_HOST], ["up"]):
        done = finished([str(LAB), *argv], timeout=300)
        assert done.returncode == 0, done.stdout + done.stderr
    for domain in ("vc1.frontend", f"{NAME}.frontend"):
        awaited(lambda name=domain: attempt(FRONTEND_HOST, "virsh", "domstate", name).stdout.strip() == "running", f"{domain} started")
    assert on(FRONTEND_HOST, "ovs-ofctl", "dump-flows", BRIDGE).count("actions=") == flows
    assert on(FRONTEND_HOST, "cat", f"/sys/class/net/{TAP}/carrier").strip() == "1"
    awaited(lambda: boots() not in ([], [before]), "another boot of the small frontend")
    for cluster in (vault.resolved("vc1"), plugged.resolved):
        assert frontend(cluster)["actions"] == []
