# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The power switch of a cluster's lone frontend, and what libvirt says of it."""

from __future__ import annotations

from typing import Any

from tests.lab import in_process
from tests.lab.host import on
from tests.lab.virtual_cluster import FRONTEND_HOST, VirtualCluster, awaited, boots


def module(name: str, cluster: VirtualCluster, **options: Any) -> dict[str, Any]:
    return in_process.answers(FRONTEND_HOST, name, [{"cluster": cluster.resolved, "wait": False, **options}])[0]


def power(cluster: VirtualCluster, check: bool = False, **options: Any) -> dict[str, Any]:
    return module("vc_power", cluster, nodes="frontend", _ansible_check_mode=check, **options)


def domain_state(cluster: VirtualCluster) -> str:
    return on(FRONTEND_HOST, "virsh", "domstate", f"{cluster.name}.frontend").strip()


def console(cluster: VirtualCluster) -> str:
    return on(FRONTEND_HOST, "cat", f"/var/lib/vc-frontends/{cluster.name}/console.log")


def ready(cluster: VirtualCluster, count: int = 1) -> None:
    """Wait until the console shows this many boots; switching it on begins a console anew."""
    awaited(lambda: len(boots(cluster.name)) == count, f"{count} boots on the console")


def verbs(answer: dict[str, Any]) -> list[str]:
    assert not answer.get("failed"), answer
    return [action["verb"] for action in answer["actions"]]
