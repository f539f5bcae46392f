# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where Slurm tracks jobs by cgroups, a guest is born in its step's: Slurm's limits hold it, and Slurm alone ends it.

Nothing of ours may help: the epilog is out of Slurm's directory, what cleans up later is stopped, agent and libvirtd are frozen.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from tests.guest import site
from tests.lab.guest import QEMUS
from tests.lab.host import Failed
from tests.lab.virtual_cluster import awaited

EPILOG = "/etc/slurm/epilog.d/50-virtual-cluster"
CLEANERS = ("vc-reap.timer", "vc-reap.service", "vc-recover.service", "vc-host.socket")
CGROUPS = "/sys/fs/cgroup"

FREEZE = """
import glob, json, os, signal
frozen = []
for entry in glob.glob("/proc/[0-9]*"):
    try:
        command = open(entry + "/cmdline", "rb").read()
        if os.stat(entry).st_uid == 2001 and (b"vc-agent" in command or b"vc-job" in command or command.startswith(b"libvirtd")):
            os.kill(int(entry[6:]), signal.SIGSTOP)
            frozen.append(command.replace(b"\\0", b" ").decode())
    except (FileNotFoundError, ProcessLookupError):
        pass
print(json.dumps(frozen))
"""


@pytest.fixture(scope="module")
def running(request: pytest.FixtureRequest) -> Iterator[int]:
    """The id of the job whose guest runs."""
    if not request.config.getoption("--lab-as-is"):
        site.up()
    # How far its boot has come does not matter here, and to wait for the end of it would double the time.
    awaited(lambda: site.python(QEMUS), "the guest", timeout=900)
    yield int(site.on("squeue", "-h", "-n", "vc-alone-sim", "-t", "R", "-o", "%i"))
    if not request.config.getoption("--lab-as-is"):
        site.down()


def test_slurm_is_set_up_for_cgroups(running: int) -> None:
    shown = site.on("scontrol", "show", "config")
    assert re.search(r"(?m)^ProctrackType\s+= proctrack/cgroup$", shown)
    assert re.search(r"(?m)^TaskPlugin\s+= task/cgroup,task/affinity$", shown)
    assert site.on("stat", "-f", "-c", "%T", CGROUPS).strip() == "cgroup2fs"
    assert site.on("systemctl", "is-system-running").strip() == "running"


def test_the_guest_is_in_its_steps_cgroup_and_under_its_limits(running: int) -> None:
    (guest,) = site.python(QEMUS)
    place = guest["cgroup"].partition("0::")[2]
    assert re.search(rf"/job_{running}/step_[0-9]+(/|$)", place), guest["cgroup"]
    job = CGROUPS + place[: place.index(f"/job_{running}/")] + f"/job_{running}"
    asked = re.findall(r" TRES=\S*mem=(\d+)M", site.on("scontrol", "show", "job", str(running)))
    assert int(site.on("cat", f"{job}/memory.max")) == int(asked[0]) * 2**20
    # More than agent and libvirtd use, so the guest is charged there.
    awaited(lambda: int(site.on("cat", f"{job}/memory.current")) > 96 * 2**20, "the guest's memory charged to the job", timeout=300)
    assert "vc.slice" not in site.on("ls", CGROUPS)


def test_more_memory_than_the_job_has_is_not_given(running: int) -> None:
    hog = ["srun", f"--jobid={running}", "--overlap", "--ntasks=1", "--quiet", "/usr/bin/python3", "-c"]
    assert site.on(*hog, "print(len(bytearray(16 << 20)))", user="labuser").strip() == str(16 << 20)
    with pytest.raises(Failed, match="(?i)oom|killed|out of memory"):
        site.on(*hog, "print(len(bytearray(600 << 20)))", user="labuser")
    assert len(site.python(QEMUS)) == 1


def test_scancel_alone_ends_the_guest(running: int) -> None:
    site.on("systemctl", "stop", *CLEANERS)
    site.on("rm", EPILOG)
    frozen = " ".join(site.python(FREEZE))
    assert "vc-job" in frozen
    assert "vc-agent run" in frozen
    assert "libvirtd" in frozen
    (guest,) = site.python(QEMUS)
    taps = site.on("ip", "-br", "link", "show", "type", "tun")
    site.on("scancel", str(running))
    awaited(lambda: not site.on("squeue", "-h", "-u", "labuser").strip(), "the job gone", timeout=300)
    assert site.python(QEMUS) == [], guest
    assert "labuser" not in site.on("ps", "-eo", "user:20").split()
    # Had our epilog run all the same, this would be gone too.
    assert site.on("ip", "-br", "link", "show", "type", "tun").split()[0] == taps.split()[0]


def test_what_the_epilog_would_have_removed_is_found_later(running: int) -> None:
    site.on("systemctl", "start", "vc-reap.service")
    assert site.on("ip", "-br", "link", "show", "type", "tun").strip() == ""
    assert site.on("ls", "/var/lib/vc-scratch/job").strip() == ""
