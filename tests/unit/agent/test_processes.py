# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A job's leftovers are found by what they hold, and nobody else's processes are touched."""

from __future__ import annotations

import dataclasses
import os
import re
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.agent import processes
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.agent.processes import JobProcesses
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.agent.supervisor import supervise

from tests.unit.agent.hosts import USER, overlay_directory, places
from tests.unit.apart import needs_root
from tests.unit.refusal import refused

_HOLD = "import sys, time; file = open(sys.argv[1], 'a'); print('held', flush=True); time.sleep(60)"
_MAP = """
import sys, mmap, time
with open(sys.argv[1], "r+b") as file:
    held = mmap.mmap(file.fileno(), 0)
print("held", flush=True)
time.sleep(60)
"""
_CWD = "import sys, os, time; os.chdir(os.path.dirname(sys.argv[1])); print('held', flush=True); time.sleep(60)"


def start(program: str, path: Path, user: int) -> subprocess.Popen[str]:
    # A path of its own, since the interpreter of a virtual environment may be out of another user's reach.
    interpreter = "/usr/bin/python3" if os.getuid() == 0 else sys.executable
    keywords = {"user": user} if os.getuid() == 0 else {}
    process = subprocess.Popen([interpreter, "-c", program, str(path)], stdout=subprocess.PIPE, text=True, cwd="/", **keywords)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


@pytest.fixture
def disk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("host")
    for parent in (root, *root.parents):
        if parent.stat().st_uid == os.getuid() and parent != Path("/"):
            parent.chmod(parent.stat().st_mode | 0o011)
    path = overlay_directory(places(root)) / "compute0.qcow2"
    path.write_text("x")
    os.chown(path, USER, -1)
    return path


# Holds the file under another path, in name spaces that every user can make.
ELSEWHERE = """
import mmap, os, subprocess, sys, time
root = os.path.dirname(os.path.dirname(os.path.dirname(sys.argv[1])))
elsewhere = os.path.join(os.path.dirname(root), "elsewhere")
subprocess.run(["mount", "--bind", root, elsewhere], check=True)
with open(os.path.join(elsewhere, os.path.relpath(sys.argv[1], root)), "r+b") as file:
    held = mmap.mmap(file.fileno(), 0) if "mapped" in sys.argv else os.dup(file.fileno())
if "detached" in sys.argv:
    subprocess.run(["umount", "--lazy", elsewhere], check=True)
print("held", flush=True)
time.sleep(60)
"""


@needs_root
@pytest.mark.parametrize("how", ["opened", "mapped"])
@pytest.mark.parametrize("mount", ["kept", "detached"])
def test_a_file_under_another_path_is_still_the_jobs(disk: Path, how: str, mount: str) -> None:
    (disk.parents[3] / "elsewhere").mkdir()
    argv = ["unshare", "--user", "--map-root-user", "--mount", "/usr/bin/python3", "-c", ELSEWHERE, str(disk), how, mount]
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, cwd="/", user=USER)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        assert JobProcesses(places(disk.parents[3]), 7, USER).kill_all(set(), 10) == []
        assert process.wait(5) == -9
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("program", [_HOLD, _MAP, _CWD], ids=["open file", "mapped file", "working directory"])
def test_whoever_holds_the_jobs_files_is_killed(disk: Path, program: str) -> None:
    process = start(program, disk, USER)
    where = places(disk.parents[3])
    assert JobProcesses(where, 7, USER).kill_all(set(), 10) == []
    assert process.wait(5) == -9


def test_a_deleted_file_is_still_the_jobs(disk: Path) -> None:
    process = start(_HOLD, disk, USER)
    disk.unlink()
    assert JobProcesses(places(disk.parents[3]), 7, USER).kill_all(set(), 10) == []
    assert process.wait(5) == -9


def test_when_the_time_is_over_what_was_not_looked_at_counts_as_left(disk: Path) -> None:
    process = start(_HOLD, disk, USER)
    try:
        assert JobProcesses(places(disk.parents[3]), 70, USER).kill_all(set(), -1) != []
        assert process.poll() is None
    finally:
        process.kill()
        process.wait()


# As `prctl` takes it: 15 bytes at most, and the kernel gives every one of them back but the newline.
_NAMED = """
import ctypes
ctypes.CDLL(None).prctl(15, {name!r})
"""
# As whatever a user starts that is set-user-ID root, under a name that he gives it.
_STRANGER = """
import os, time
os.setresuid({user}, 0, 0)
print("held", flush=True)
time.sleep(60)
"""


def outlives(process: subprocess.Popen[str], disk: Path, job: int) -> None:
    """A process that is none of the job's is left alone."""
    try:
        assert JobProcesses(places(disk.parents[3]), job, USER).kill_all(set(), 10) == []
        assert process.poll() is None
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("name", [b"\xff\xfe", b"a\rUid:\t0\r", b"a\x0bUid:\t0"])
def test_a_process_may_have_any_name(disk: Path, name: bytes) -> None:
    process = start(_NAMED.format(name=name) + _HOLD, disk, USER)
    try:
        assert JobProcesses(places(disk.parents[3]), 7, USER).kill_all(set(), 10) == []
        assert process.wait(5) == -9
    finally:
        process.kill()
        process.wait()


@needs_root
def test_a_strangers_process_may_have_any_name(disk: Path) -> None:
    outlives(start(_NAMED.format(name=b"\xff") + _STRANGER.format(user=USER + 1), disk, 0), disk, 7)


_MAPS = """
import mmap, os, sys, time
with open(os.fsencode(sys.argv[2]) + b"/x\\ra b c d e f\\xff", "w+b") as file:
    file.write(b"x")
    file.flush()
    held = mmap.mmap(file.fileno(), 0)
print("held", flush=True)
time.sleep(60)
"""
_MOUNTS = """
import os, subprocess, sys, time
path = sys.argv[2] + "/a\\rb\\rc"
os.mkdir(path)
subprocess.run(["mount", "-t", "tmpfs", "tmpfs", path], check=True)
print("held", flush=True)
time.sleep(60)
"""
_TUN = """
import fcntl, os, struct, sys, time
handle = os.open(sys.argv[3] + "/tun", os.O_RDWR)
fcntl.ioctl(handle, 0x400454CA, struct.pack("16sH22x", b"\\xff\\xfe", 0x1002))
print("held", flush=True)
time.sleep(60)
"""


@pytest.fixture
def devices() -> Iterator[Path]:
    """A directory where device nodes can be opened; /tmp may be mounted so that they cannot."""
    with tempfile.TemporaryDirectory(prefix="vc-proof-", dir="/dev") as place:
        Path(place).chmod(0o755)
        yield Path(place)


@needs_root
@pytest.mark.parametrize("program", [_MAPS, _MOUNTS, _TUN], ids=["mapped file", "mount", "interface"])
def test_what_a_process_uses_may_have_any_name(disk: Path, program: str, devices: Path) -> None:
    elsewhere = disk.parent.parent / "elsewhere"
    elsewhere.mkdir()
    os.chown(elsewhere, USER, -1)
    # Everybody may open it where udev runs.
    os.mknod(devices / "tun", stat.S_IFCHR, os.stat("/dev/net/tun").st_rdev)
    os.chmod(devices / "tun", 0o666)
    python = ["/usr/bin/python3", "-c", program, str(disk), str(elsewhere), str(devices)]
    argv = ["unshare", "--user", "--map-root-user", "--mount", "--net", *python]
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, cwd="/", user=USER)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        assert JobProcesses(places(disk.parents[3]), 7, USER).kill_all(set(), 10) == []
        assert process.poll() is None
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("kind", ["pipe", "anonymous memory"])
def test_what_only_has_the_number_of_a_file_is_not_that_file(disk: Path, kind: str) -> None:
    """A user's other guests on this host have hundreds of these."""
    held = os.pipe() if kind == "pipe" else (os.memfd_create("memory"),)
    directory = places(disk.parents[3]).overlay_directory(7)
    things = processes._Things([directory], set(), time.monotonic() + 10)
    try:
        for handle in held:
            path, info = os.readlink(f"/proc/self/fd/{handle}"), Path(f"/proc/self/fdinfo/{handle}").read_text()
            things._inodes = {("0:0", str(os.fstat(handle).st_ino))}
            assert not things.has_opened(path, info, {})
    finally:
        for handle in held:
            os.close(handle)


def test_a_kernel_that_tells_no_inode_leaves_the_path(disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As before Linux 5.14."""
    monkeypatch.setattr(processes, "_INODE", re.compile("(?!)"))
    other = disk.parent.parent / "notes"
    other.touch()
    os.chown(other, USER, -1)
    bystander, holder = start(_HOLD, other, USER), start(_HOLD, disk, USER)
    try:
        assert JobProcesses(places(disk.parents[3]), 7, USER).kill_all(set(), 10) == []
        assert holder.wait(5) == -9
        assert bystander.poll() is None
    finally:
        for process in (bystander, holder):
            process.kill()
            process.wait()


@needs_root
def test_another_users_process_with_the_same_file_is_left_alone(disk: Path) -> None:
    outlives(start(_HOLD, disk, 0), disk, 7)


def test_another_jobs_files_are_not_this_ones(disk: Path) -> None:
    outlives(start(_HOLD, disk, USER), disk, 70)


def test_without_unified_cgroups_the_agent_is_told(disk: Path) -> None:
    error = refused("backend", JobProcesses(places(disk.parents[3]), 7, os.getuid()).adopt, os.getpid())
    assert "unified" in str(error)


class Hierarchy:
    """A caller in one cgroup or another of a host whose hierarchy is a plain directory."""

    def __init__(self, root: Path, within: str) -> None:
        made = places(root)
        self.root = made.cgroup
        self.root.mkdir()
        (self.root / "cgroup.controllers").touch()
        process = root / "proc" / str(os.getpid())
        process.mkdir(parents=True)
        (process / "cgroup").write_text(f"0::{within}\n")
        self.job = JobProcesses(dataclasses.replace(made, proc=root / "proc"), 7, os.getuid())

    def has(self, path: str) -> Path:
        (self.root / path).mkdir(parents=True)
        return self.root / path

    def moved(self) -> list[Path]:
        return list(self.root.glob("vc.slice/**/cgroup.procs"))


def test_where_slurm_does_not_track_by_cgroups_the_caller_gets_one(tmp_path: Path) -> None:
    host = Hierarchy(tmp_path, "/system.slice/slurmd.service")
    host.has("system.slice/slurmd.service")
    assert host.job.adopt(os.getpid()) is True
    assert [path.read_text() for path in host.moved()] == [f"{os.getpid()}\n"]


def test_a_caller_in_its_own_jobs_cgroup_stays_there(tmp_path: Path) -> None:
    host = Hierarchy(tmp_path, "/system.slice/slurmstepd.scope/job_7/step_0/user/task_0")
    host.has("system.slice/slurmstepd.scope/job_7/step_0")
    assert host.job.adopt(os.getpid()) is False
    assert host.moved() == []


@pytest.mark.parametrize(
    ("within", "cgroups"),
    [
        # Of another job: what that one may use would no longer hold for its processes.
        ("/system.slice/slurmstepd.scope/job_8/step_0/user/task_0", []),
        ("/slurm/uid_1000/job_8/step_batch", []),
        # A log-in, or cron, where Slurm keeps jobs in cgroups.
        ("/user.slice/user-1000.slice/session-1.scope", ["system.slice/slurmstepd.scope/job_7"]),
        ("/user.slice/user-1000.slice/session-1.scope", ["memory/slurm/uid_1000/job_70"]),
    ],
)
def test_nobody_leaves_a_cgroup_that_slurm_has_put_him_into(tmp_path: Path, within: str, cgroups: list[str]) -> None:
    host = Hierarchy(tmp_path, within)
    for path in cgroups:
        host.has(path)
    error = refused("forbidden", host.job.adopt, os.getpid())
    assert "Slurm tracks by cgroups" in str(error)
    assert host.moved() == []


@needs_root
def test_a_cgroup_of_a_users_own_making_keeps_nobody_out(tmp_path: Path) -> None:
    host = Hierarchy(tmp_path, "/system.slice/slurmd.service")
    os.chown(host.has("user.slice/user-45678.slice/job_7"), USER, -1)
    assert host.job.adopt(os.getpid()) is True


def test_only_the_users_own_processes_are_adopted(disk: Path) -> None:
    refused("forbidden", JobProcesses(places(disk.parents[3]), 7, os.getuid() + 1).adopt, os.getpid())


# Other tests of this process may have left threads.
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_the_supervisor_passes_on_how_the_agent_ended() -> None:
    told: list[int] = []
    assert supervise(lambda: 3, told.append) == 3
    assert supervise(lambda: os.kill(os.getpid(), 9) or 0, told.append) == 1
    assert told == [9]
