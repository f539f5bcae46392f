# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Input that is well formed and still wrong is refused before the first write, by name and with a way out."""

from __future__ import annotations

from typing import Any

import pytest

from tests.lab import in_process, snapshot
from tests.lab.host import on
from tests.lab.virtual_cluster import VAULT_HOST, VirtualCluster

pytestmark = pytest.mark.usefixtures("demo")

GROUP = {"nodes": "n[0-1]", "cpus": 1, "memory": "128MiB", "source": {"image": "tiny"}}


def cluster(**changes: Any) -> dict[str, Any]:
    return {"name": "bad", "owner": "labuser", "account": "physics", "computes": [GROUP], **changes}


def checked(answer: dict[str, Any], code: str, item: str) -> None:
    assert answer.get("failed"), answer
    assert answer["error_code"] == code, answer["msg"]
    assert item in answer["msg"]
    assert "Remedy:" in answer["msg"]
    assert answer["changed"] is False
    assert "Traceback" not in str(answer)


def refused(host: str, module: str, cases: list[tuple[dict[str, Any], str, str]], user: str = "") -> None:
    answers = in_process.answers(host, module, [args for args, _code, _item in cases], user)
    for answer, (_args, code, item) in zip(answers, cases):
        checked(answer, code, item)


def test_wrong_definitions_are_refused(small: VirtualCluster) -> None:
    taken = small.resolved
    wrong: list[tuple[dict[str, Any], str, str]] = [
        (cluster(network={"vni": taken["network"]["vni"]}), "conflict", str(taken["network"]["vni"])),
        (cluster(network={"pkey": taken["pkey"]}), "conflict", taken["pkey"]),
        (cluster(computes=[{**GROUP, "macs": [taken["nodes"][0]["mac"], "02:00:00:00:00:77"]}]), "conflict", taken["nodes"][0]["mac"]),
        (cluster(computes=[{**GROUP, "macs": ["02:00:00:00:00:77", "02:00:00:00:00:77"]}]), "duplicate", "02:00:00:00:00:77"),
        (cluster(computes=[GROUP, {**GROUP, "nodes": "n1"}]), "duplicate", "n1"),
        (cluster(computes=[{**GROUP, "nodes": "n[]"}]), "invalid", "n[]"),
        (cluster(computes=[{**GROUP, "nodes": "n[3-1]"}]), "invalid", "n[3-1]"),
        (cluster(computes=[{**GROUP, "nodes": ""}]), "invalid", "nodes"),
        (cluster(computes=[]), "invalid", "computes"),
        (cluster(computes=[{**GROUP, "address": "192.0.2.1"}]), "invalid", "192.0.2.1"),
    ]
    before = snapshot.take_quiet()
    refused(VAULT_HOST, "vc_cluster", wrong)
    snapshot.unchanged(before, timeout=5)


def test_wrong_computesets_are_refused(small: VirtualCluster) -> None:
    whole = small.resolved
    wrong: list[tuple[dict[str, Any], str, str]] = [
        ({"cluster": whole, "name": "other", "nodes": "compute0"}, "in_use", "compute0"),
        ({"cluster": whole, "name": "other", "nodes": "compute[0-1]"}, "in_use", "compute0"),
        ({"cluster": whole, "name": "live", "nodes": "compute1"}, "conflict", "live"),
        ({"cluster": whole, "name": "other", "nodes": "compute7"}, "unknown", "compute7"),
        ({"cluster": whole, "name": "other", "nodes": "compute[]"}, "invalid", "compute[]"),
        ({"cluster": whole, "name": "other", "count": 3}, "in_use", "small"),
        ({"cluster": whole, "name": "other", "nodes": "compute1", "account": "chemistry"}, "forbidden", "chemistry"),
        ({"cluster": {**whole, "owner": "otheruser"}, "name": "other", "nodes": "compute1"}, "forbidden", "small"),
    ]
    before = snapshot.take_quiet(("head", "nas"))
    small.start("live", nodes="compute0", per_host=None, wait=False)
    try:
        jobs = on("head", "squeue", "-h", "-a", "-o", "%i %u %j")
        refused("head", "vc_computeset", wrong, "labuser")
        refused("head", "vc_computeset", [({"cluster": whole, "name": "other", "nodes": "compute1"}, "forbidden", "root")])
        assert on("head", "squeue", "-h", "-a", "-o", "%i %u %j") == jobs
    finally:
        small.terminate("live")
    snapshot.unchanged(before, hosts=("head", "nas"))


def test_a_cluster_that_nobody_knows_gets_no_lease(small: VirtualCluster) -> None:
    """The submit host cannot know what is registered; the vault does, so the job says it and ends."""
    before = snapshot.take_quiet()
    unknown = {"cluster": {**small.resolved, "name": "nosuch"}, "name": "other", "nodes": "compute1", "walltime": "1h", "wait_timeout": 60}
    answer = in_process.answers("head", "vc_computeset", [unknown], "labuser")[0]
    assert answer.get("failed")
    assert "nosuch" in answer["msg"]
    snapshot.unchanged(before)


def test_wrong_images_are_refused() -> None:
    before = snapshot.take_quiet(("nas",))
    wrong: list[tuple[dict[str, Any], str, str]] = [
        ({"goldens": [{"name": "new", "source": "/srv/images/nosuch.raw"}]}, "unknown", "/srv/images/nosuch.raw"),
        ({"goldens": [{"name": "new", "source": "/etc"}]}, "invalid", "/etc"),
        ({"goldens": [{"name": "new", "source": "/srv/images/tiny.raw", "format": "qcow2"}]}, "invalid", "new"),
        ({"disks": [{"cluster": "nosuch", "node": "x"}]}, "unknown", "nosuch"),
        ({"goldens": [{"name": "debian12", "state": "absent"}]}, "in_use", "debian12"),
    ]
    refused("nas", "image_vault", wrong)
    snapshot.unchanged(before, timeout=5, hosts=("nas",))
