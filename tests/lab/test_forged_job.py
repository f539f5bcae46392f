# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A job that only claims to be part of a cluster is shown as rejected, counts for nothing and gets nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.lab.host import on
from tests.lab.virtual_cluster import VirtualCluster, awaited, cancel

# What a forger would try from inside such a job: its own number, and the number of the job it wants to be.
FORGER = """#!/usr/bin/python3
import json, os, socket, time
def ask(**args):
    with socket.socket(socket.AF_UNIX) as helper:
        helper.settimeout(60)
        helper.connect("/run/vc/host.sock")
        helper.sendall(json.dumps({"schema": 1, "verb": args.pop("verb"), "args": args}).encode() + b"\\n")
        print(helper.makefile().readline().strip(), flush=True)
mine = {"job_id": int(os.environ["SLURM_JOB_ID"]), "restart_count": 0}
theirs = {"job_id": @JOB@, "restart_count": 0}
for job in (mine, theirs):
    ask(verb="prepare", nodes=["compute0"], **job)
    ask(verb="prepare", nodes=["../../etc/shadow", "compute0;id", "$(id)"], **job)
    ask(verb="state", nodes={"compute0": "running"}, **job)
print("done", flush=True)
time.sleep(600)
"""


@pytest.fixture
def forged(small: VirtualCluster, genuine: int) -> Iterator[tuple[int, list[dict[str, Any]]]]:
    """A running job of another user with the comment and name of the genuine one, and what the root helper answered it."""
    comment = on("head", "squeue", "-h", "-j", str(genuine), "-o", "%k").strip()
    name = on("head", "squeue", "-h", "-j", str(genuine), "-o", "%j").strip()
    sbatch = ["sbatch", "--parsable", "-A", "chemistry", "-J", name, "--comment", comment, "-w", "hv1", "-o", "/home/otheruser/forged.out"]
    job = int(on("head", *sbatch, stdin=FORGER.replace("@JOB@", str(genuine)), user="otheruser"))
    try:
        said = awaited(lambda: said_by(job), "the forged job's answers")
        yield job, said
    finally:
        cancel(job)
        on("head", "rm", "-f", "/home/otheruser/forged.out")


def said_by(job: int) -> list[dict[str, Any]]:
    lines = on("head", "sh", "-c", "cat /home/otheruser/forged.out 2>/dev/null || true").splitlines()
    return [json.loads(line) for line in lines[:-1]] if lines[-1:] == ["done"] else []


@pytest.fixture
def genuine(small: VirtualCluster) -> Iterator[int]:
    job = small.start(hosts=["hv1"], nodes="compute0", per_host=None)
    yield job
    small.terminate()


def test_a_forged_job_is_rejected(small: VirtualCluster, genuine: int, forged: tuple[int, list[dict[str, Any]]]) -> None:
    job, answers = forged
    assert len(answers) == 6
    for answer in answers:
        assert "chap_secret" not in json.dumps(answer)
        errors = [answer["error"]] if not answer["ok"] else [node["error"] for node in answer["result"]["nodes"].values() if not node["ok"]]
        assert errors, answer
        assert {error["code"] for error in errors} <= {"forbidden", "invalid", "unknown"}, answer
    again = small.computeset(nodes="compute0", hosts=["hv1"], walltime="1h")
    assert again["changed"] is False
    assert again["computeset"]["job_id"] == genuine
    assert again["computeset"]["nodes"]["compute0"]["state"] == "running"
    assert [rejected["job_id"] for rejected in again["computeset"]["rejected_jobs"]] == [job]
