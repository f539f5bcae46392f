# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The nodes of the lab's virtual clusters as an inventory: all of the demo's guests answer Ansible, and a forged job is in none of it."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from tests.lab.host import ANSIBLE, BIN, ROOT, finished, on
from tests.lab.virtual_cluster import VirtualCluster, awaited, cancel

NODES = ROOT / "molecule" / "lab" / "lab.vc_nodes.yml"
SETTINGS = {**ANSIBLE, "ANSIBLE_INVENTORY_ANY_UNPARSED_IS_FAILED": "1"}


def ansible(program: str, *argv: str) -> subprocess.CompletedProcess[str]:
    done = finished([str(BIN / program), "-i", str(NODES), *argv], timeout=180, env=SETTINGS)
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def listed() -> dict[str, Any]:
    # Ansible marks texts that are no templates.
    said = ansible("ansible-inventory", "--list").stdout
    found: dict[str, Any] = json.loads(said, object_hook=lambda item: item.get("__ansible_unsafe", item))
    return found


@pytest.fixture
def forged(small: VirtualCluster) -> Iterator[list[int]]:
    """Jobs that say they are vc1's: of another user one that runs and one that waits, and one that waits of somebody who may."""
    comment = json.dumps({"vc": "vc1", "set": "forged", "nodes": "compute[0-1]", "v": 1, "images": "debian12@r1"})
    script = "#!/bin/sh\nsleep 600\n"
    sbatch = ["sbatch", "--parsable", "-J", "vc-vc1-forged", "--comment", comment, "-o", "/dev/null", "-w", "hv1"]
    given = [("otheruser", "chemistry", []), ("otheruser", "chemistry", ["--hold"]), ("labuser", "physics", ["--hold"])]
    jobs = [int(on("head", *sbatch, "-A", account, *more, stdin=script, user=user)) for user, account, more in given]
    try:
        awaited(lambda: on("head", "squeue", "-h", "-j", str(jobs[0]), "-o", "%T").strip() == "RUNNING", "the forged job to run")
        yield jobs
    finally:
        for job in jobs:
            cancel(job)


def test_every_name_leads_to_the_guest_of_that_name(demo: None) -> None:
    said = ansible("ansible", "vc1:&vc_state_running", "-m", "ansible.builtin.command", "-a", "hostname").stdout
    answers = dict(re.findall(r"(?m)^(\S+) \| CHANGED \| rc=0 >>\n(\S+)$", said))
    assert answers == {f"{name}.vc1": name for name in ("frontend", "compute0", "compute1")}, said


def test_groups_and_variables_are_those_of_the_demo(demo: None) -> None:
    found = listed()
    variables = found["_meta"]["hostvars"]
    assert found["vc1__sim"]["hosts"] == ["compute0.vc1", "compute1.vc1"]
    assert "frontend.vc1" in found["vc_role_frontend"]["hosts"]
    assert {variables[f"compute{number}.vc1"]["vc_host"] for number in (0, 1)} == {"hv1", "hv2"}
    assert variables["frontend.vc1"]["vc_public_address"] == "10.79.0.101"
    assert variables["compute0.vc1"]["vc_owner"] == "labuser"
    assert 0 < variables["compute0.vc1"]["vc_left_seconds"] <= 6 * 3600


def test_a_forged_job_is_nowhere(demo: None, forged: list[int]) -> None:
    found = listed()
    assert "forged" not in json.dumps(found)
    assert not set(forged) & {variables["vc_job_id"] for variables in found["_meta"]["hostvars"].values()}
    assert found["vc1__sim"]["hosts"] == ["compute0.vc1", "compute1.vc1"]


def test_the_hosts_own_inventory_is_not_disturbed(demo: None) -> None:
    done = finished([str(BIN / "ansible-inventory"), "-i", str(ROOT / "molecule/lab/inventory"), "--list"], env=SETTINGS)
    assert done.returncode == 0, done.stderr
    assert "vc_nodes" not in json.loads(done.stdout)
