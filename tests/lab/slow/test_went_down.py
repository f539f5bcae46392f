# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Slurm takes a host that is down out of its jobs and never speaks to it of them again: neither guests nor jobs without guests stay behind,
and a set is not taken for running because Slurm says so.

A host is down for everybody, so the demo's computes go as well; they are started again at the end.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from tests.lab import vault
from tests.lab.host import INVENTORY, attempt, on
from tests.lab.virtual_cluster import VirtualCluster, awaited, cancel_all, define, forget

DOWN, OTHER = "hv1", "hv2"
WISH: dict[str, Any] = {"nodes": "compute[0-1]", "per_host": 1, "walltime": "1h", "grace": "5s"}
# Everything of a job's steps but its guests: those are what must not be forgotten.
STRIKE = """
import contextlib, glob, os, signal, sys
job, number = sys.argv[1], signal.Signals[sys.argv[2]]
for entry in glob.glob("/proc/[0-9]*"):
    try:
        command = open(entry + "/cmdline", "rb").read()
        environment = open(entry + "/environ", "rb").read()
    except OSError:
        continue
    if command.startswith(("slurmstepd: [%s." % job).encode()) or ("SLURM_JOB_ID=%s\\0" % job).encode() in environment:
        # What is gone by now was no victim.
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(entry[6:]), number)
"""


def in_service() -> None:
    """slurmd runs on the host, and Slurm takes it for fit."""
    on(DOWN, "systemctl", "start", "slurmd")
    if "down" in on("head", "sinfo", "-h", "-n", DOWN, "-o", "%t"):
        attempt("head", "scontrol", "update", f"nodename={DOWN}", "state=resume")
    awaited(lambda: on("head", "sinfo", "-h", "-n", DOWN, "-o", "%t").strip() in ("idle", "mix"), f"{DOWN} back in service")


def strike(host: str, job: int, signal: str = "SIGKILL") -> None:
    on(host, "/usr/bin/python3", "-", str(job), signal, stdin=STRIKE)


def mark_down() -> None:
    on("head", "scontrol", "update", f"nodename={DOWN}", "state=down", "reason=proof")


def reap() -> None:
    """What the timer does every other minute, now; its exit status is the unit's."""
    on(DOWN, "systemctl", "start", "vc-reap.service")


@pytest.fixture(scope="module")
def hosts(demo: None) -> Iterator[None]:
    """Both hypervisors; afterwards they are as before, and the demo's computes are on their way again."""
    yield
    in_service()
    reap()
    site = yaml.safe_load((INVENTORY / "group_vars/all/vc_clusters.yml").read_text(encoding="utf-8"))
    for wish in site["vc_computesets"]:
        cluster = VirtualCluster(vault.resolved(wish["cluster"]))
        cluster.terminate(wish["name"])
        wanted = {key: value for key, value in wish.items() if key not in ("cluster", "name")}
        answer = cluster.computeset(wish["name"], **wanted, wait=False)
        assert not answer.get("failed"), answer.get("msg")


@pytest.fixture(autouse=True)
def recovered(hosts: None) -> Iterator[None]:
    """What one proof has done to the host, the next one does not meet."""
    yield
    in_service()


@pytest.fixture(scope="module")
def cluster(hosts: None) -> Iterator[VirtualCluster]:
    made = define("went-down", 2, "10.17.0.0/24")
    yield made
    in_service()
    cancel_all(made)
    reap()
    awaited(lambda: not any(vault.lease(made.name, node)["holder"] for node in ("compute0", "compute1")), "the leases given back")
    forget(made)


def of_job(cluster: VirtualCluster, job: int) -> dict[str, Any]:
    """What the host that goes down has of a job's compute0."""
    mac = next(node["mac"] for node in cluster.resolved["nodes"] if node["name"] == "compute0")
    vni = int(cluster.resolved["network"]["vni"])
    names = on(DOWN, "sh", "-c", "ls -d /run/vc/job/* /run/vc/jobs/* /var/lib/vc-scratch/job/* /var/lib/vc-scratch/records/* || true")
    return {
        "guest": attempt(DOWN, "pgrep", "-f", f"^/[^ ]*qemu-system.*{mac}").stdout.split(),
        "taps": [name for name in on(DOWN, "ls", "/sys/class/net").split() if name.startswith(f"t{vni:06x}n")],
        "files": [name for name in names.split() if name.rpartition("/")[2].split(".")[0] == str(job)],
        "lease": [job for holder in [vault.lease(cluster.name, "compute0")["holder"]] if holder and holder["job_id"] == job],
    }


def queued(job: int) -> list[str]:
    return attempt("head", "squeue", "-h", "-a", "-j", str(job), "-t", "PD,R,S,CG,CF", "-o", "%T %N %B").stdout.split()


def test_a_set_that_lost_its_hosts_is_started_again(cluster: VirtualCluster) -> None:
    job = cluster.start(**WISH)
    assert queued(job) == ["RUNNING", "hv[1-2]", DOWN]
    # Silent, as a host without power is: the death of its srun would be told to the other one.
    on(DOWN, "pkill", "-KILL", "-x", "slurmd")
    strike(DOWN, job, "SIGSTOP")
    mark_down()
    awaited(lambda: queued(job) == ["RUNNING", OTHER, DOWN], "the job going on without the host of its batch script")
    # Half of it lives: that is told, and nothing is done about it.
    broken = cluster.computeset(**WISH)
    assert (broken.get("error_code"), broken["changed"]) == ("conflict", False), broken
    assert f"has lost {DOWN}, and the rest of it still runs on {OTHER}" in broken["msg"]
    assert queued(job)
    # The other one goes down and comes back, at once.
    strike(OTHER, job)
    strike(DOWN, job)
    in_service()
    reap()
    awaited(lambda: not any(of_job(cluster, job).values()), f"what {DOWN} had of the job that goes on without it gone")
    assert queued(job) == ["RUNNING", OTHER, DOWN]
    again = cluster.computeset(**WISH)
    assert not again.get("failed"), again
    assert [action["verb"] for action in again["actions"]] == ["cancel", "submit"]
    assert again["computeset"]["state"] == "running"
    assert not queued(job)
    assert cluster.computeset(**WISH)["changed"] is False


def test_a_set_that_is_just_going_is_started_behind_it(cluster: VirtualCluster) -> None:
    # The last proof has left it running.
    job = cluster.start(**WISH)
    told = cluster.computeset(state="absent", wait=False)
    assert (told.get("failed"), told["computeset"]["state"]) == (None, "stopping")
    again = cluster.computeset(**WISH)
    assert not again.get("failed"), again
    (action,) = again["actions"]
    # On a quick host the first one is over by now.
    assert (action["verb"], action.get("after_jobs") or [job]) == ("submit", [job])
    assert again["computeset"]["state"] == "running"


def test_guests_of_a_host_that_was_marked_down_are_not_forgotten(cluster: VirtualCluster) -> None:
    assert on(DOWN, "systemctl", "is-active", "vc-reap.timer").strip() == "active"
    job = cluster.start(**WISH)
    # It would be quicker than this proof now and then.
    on(DOWN, "systemctl", "stop", "vc-reap.timer")
    try:
        mark_down()
        awaited(lambda: not queued(job), "the job over, as far as Slurm is concerned")
        # No epilog has run here and none ever will: Slurm is done with this host's part of the job.
        in_service()
        left = of_job(cluster, job)
    finally:
        on(DOWN, "systemctl", "start", "vc-reap.timer")
    assert all(left.values()), left
    reap()
    awaited(lambda: not any(of_job(cluster, job).values()), "guest, taps, files and lease of the forgotten job gone")
