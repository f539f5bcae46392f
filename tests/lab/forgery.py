# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A job of another user that says it is part of a cluster, and what it gets for that."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

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
OUTPUT = "/home/otheruser/forged.out"


@contextmanager
def forged(cluster: VirtualCluster, genuine: int, hypervisor: str) -> Iterator[tuple[int, list[dict[str, Any]]]]:
    """A running job with the comment and name of the genuine one, beside it, and what the root helper answered it."""
    host = cluster.submit_host
    comment = on(host, "squeue", "-h", "-j", str(genuine), "-o", "%k").strip()
    name = on(host, "squeue", "-h", "-j", str(genuine), "-o", "%j").strip()
    sbatch = ["sbatch", "--parsable", "-A", "chemistry", "-J", name, "--comment", comment, "-w", hypervisor, "-o", OUTPUT]
    job = int(on(host, *sbatch, stdin=FORGER.replace("@JOB@", str(genuine)), user="otheruser"))
    try:
        yield job, awaited(lambda: said(host), "the forged job's answers")
    finally:
        cancel(job, host)
        on(host, "rm", "-f", OUTPUT)


def said(host: str) -> list[dict[str, Any]]:
    lines = on(host, "sh", "-c", f"cat {OUTPUT} 2>/dev/null || true").splitlines()
    return [json.loads(line) for line in lines[:-1]] if lines[-1:] == ["done"] else []


def got_nothing(answers: list[dict[str, Any]]) -> None:
    """Fail unless the root helper refused every one of the forger's requests."""
    assert len(answers) == 6
    for answer in answers:
        assert "chap_secret" not in json.dumps(answer)
        errors = [answer["error"]] if not answer["ok"] else [node["error"] for node in answer["result"]["nodes"].values() if not node["ok"]]
        assert errors, answer
        assert {error["code"] for error in errors} <= {"forbidden", "invalid", "unknown"}, answer
