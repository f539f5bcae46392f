# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""However a computeset ends, and at whatever moment, nothing of it stays behind on any host, and the demo beside it does not notice.

Every fault has a cluster of its own, so that a round of all of them takes hardly longer than one.  Only slurmd dies alone: a prolog or an
epilog of another fault's job could die with it.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.lab import snapshot
from tests.lab.host import on
from tests.lab.virtual_cluster import VirtualCluster, cancel, define, forget

# Of moments; `make test-slow` asks for more.
ROUNDS = int(os.environ.get("VC_FAULT_ROUNDS", "1"))
# Longer than a tiny guest takes to boot: some moments are in the start, some in a running guest's life.
LATEST_MOMENT = 8.0
HOSTS = ("hv1", "hv2")
# Other moments in every run; a run that failed says which they were.
SEED = int(os.environ.get("VC_FAULT_SEED") or time.time())

# SIGKILL the processes of one job that have a word in their command line, as soon as there are any.
KILL = """
import glob, os, signal, sys, time
word, job = sys.argv[1:]
def victims():
    for entry in glob.glob("/proc/[0-9]*"):
        try:
            command = open(entry + "/cmdline", "rb").read()
            environment = open(entry + "/environ", "rb").read()
        except OSError:
            continue
        ours = ("/run/vc/job/%s/" % job).encode() in command + environment or ("SLURM_JOB_ID=%s\\0" % job).encode() in environment
        if ours and word.encode() in command and b"srun" not in command.split(b"\\0")[0]:
            yield int(entry[6:])
end = time.monotonic() + 60
while time.monotonic() < end:
    # One that is gone by now (libvirtd asks short-lived QEMUs for their features) was no victim.
    killed = 0
    for pid in victims():
        try:
            os.kill(pid, signal.SIGKILL)
            killed += 1
        except ProcessLookupError:
            pass
    if killed:
        sys.exit(0)
    time.sleep(0.05)
sys.exit("nothing with %s in job %s" % (word, job))
"""


def kill(word: str) -> Callable[[int, str], None]:
    def strike(job: int, host: str) -> None:
        on(host, "/usr/bin/python3", "-", word, str(job), stdin=KILL)

    return strike


def kill_slurmd(job: int, host: str) -> None:
    on(host, "pkill", "-KILL", "-x", "slurmd")
    on(host, "systemctl", "restart", "slurmd")


FAULTS: dict[str, Callable[[int, str], None]] = {
    "agent": kill("vc-agent"),
    "qemu": kill("qemu-system"),
    "libvirt": kill("libvirtd"),
    "scancel": lambda job, host: None,
    "terminate": lambda job, host: None,
    "slurmd": kill_slurmd,
}
TOGETHER = tuple(fault for fault in FAULTS if fault != "slurmd")


@pytest.fixture(scope="module")
def victims(demo: None) -> Iterator[dict[str, VirtualCluster]]:
    clusters = {fault: define(f"f-{fault}", 2, "10.12.0.0/24") for fault in FAULTS}
    yield clusters
    for cluster in clusters.values():
        forget(cluster)


def suffer(fault: str, cluster: VirtualCluster, number: int) -> None:
    """Start a set, let a random time pass, let the fault happen; then see to it that the job goes."""
    chance = random.Random(f"{SEED} {fault} {number}")
    job = cluster.start(wait=False)
    try:
        # Not a wait for anything: the moment is what is tried out.
        time.sleep(chance.uniform(0, LATEST_MOMENT))
        FAULTS[fault](job, chance.choice(HOSTS))
        if fault == "terminate":
            cluster.terminate()
    finally:
        cancel(job)


def nothing_left(victims: dict[str, VirtualCluster], number: int) -> None:
    before = snapshot.take_quiet()
    with ThreadPoolExecutor(len(victims)) as pool:
        ends = {fault: pool.submit(suffer, fault, cluster, number) for fault, cluster in victims.items()}
    failed = {fault: error for fault, end in ends.items() if (error := end.exception()) is not None}
    print(f"these moments again: VC_FAULT_SEED={SEED}")
    assert failed == {}
    snapshot.unchanged(before)


@pytest.mark.parametrize("number", range(ROUNDS))
def test_nothing_is_left_of_sets_that_met_a_fault(victims: dict[str, VirtualCluster], number: int) -> None:
    nothing_left({fault: victims[fault] for fault in TOGETHER}, number)


@pytest.mark.parametrize("number", range(ROUNDS))
def test_nothing_is_left_after_slurmd_died(victims: dict[str, VirtualCluster], number: int) -> None:
    nothing_left({"slurmd": victims["slurmd"]}, number)
