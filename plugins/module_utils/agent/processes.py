# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keeping a job's processes together, and ending every one of them.

libvirt's QEMU is a child of PID 1 in a session of its own, so where Slurm tracks by parents or process groups it cannot see it.
A job's leftovers are told by what they hold, the cgroup, a tap, a file in the job's directories, never by name or environment,
which anybody can forge.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import select
import signal
import time
from collections.abc import Collection, Mapping
from pathlib import Path

from ..model.errors import VcError
from .places import Places

# slurmstepd names a job's cgroup so with either version of cgroups.
_SLURM_CGROUP = re.compile(r"/job_([0-9]+)(?:/|$)", re.MULTILINE)
_TAP = re.compile(r"^iff:\s*(\S+)$", re.MULTILINE)
_MOUNT = re.compile(r"^mnt_id:\s*([0-9]+)$", re.MULTILINE)
_INODE = re.compile(r"^ino:\s*([0-9]+)$", re.MULTILINE)
_DISK = ".qcow2"
# The device of a file whose mount is in no list any more.
_ANY = ""


class JobProcesses:
    """The processes of one job on this host.

    Parameters
    ----------
    places : the host's directories
    job_id, uid : the job and its user
    """

    def __init__(self, places: Places, job_id: int, uid: int) -> None:
        self._places = places
        self._job_id = job_id
        self._uid = uid
        self._cgroup = places.job_cgroup(job_id)

    def adopt(self, pid: int) -> bool:
        """Put a process of the job's user into the job's own cgroup, unless Slurm has it in one.  True when it was moved.

        Everything it starts from then on stays in there: libvirtd, QEMU, and what they start.  Where Slurm tracks by cgroups nothing is
        moved: what Slurm has set for them, memory, CPUs, devices, would no longer hold.
        """
        proc = self._places.proc / str(pid)
        try:
            handle = os.pidfd_open(pid)
        except OSError:
            raise VcError("conflict", f"process {pid}", "adopting it into its job", "it has ended", "start the nodes anew") from None
        try:
            if proc.stat().st_uid != self._uid:
                detail = "it is not the job user's"
                raise VcError("forbidden", f"process {pid}", "adopting it into its job", detail, "call from the job itself")
            within = _SLURM_CGROUP.findall(read_kernel(proc / "cgroup"))
            if str(self._job_id) in within:
                return False
            slurms = f"job {within[0]}" if within else self._cgroup_of_slurm()
            if slurms:
                detail = f"Slurm tracks by cgroups here ({slurms}), and it is not in that of job {self._job_id}"
                raise VcError("forbidden", f"process {pid}", "adopting it into its job", detail, "call from the job itself")
            self._make_cgroup()
            if _has_ended(handle):
                raise VcError("conflict", f"process {pid}", "adopting it into its job", "it has ended", "start the nodes anew")
            (self._cgroup / "cgroup.procs").write_text(f"{pid}\n")
            return True
        except OSError as error:
            remedy = "mount the unified cgroup hierarchy read-write, or let Slurm track by cgroups"
            raise VcError("backend", str(self._cgroup), "putting the job's agent into it", error.strerror or str(error), remedy) from None
        finally:
            os.close(handle)

    def kill_all(self, taps: Collection[str], seconds: float) -> list[int]:
        """Kill until nothing is left or the time is over; the pids that are left, and the one that was being looked at when it was over.

        A user may have as many open files as the host can bear, and looking at all of them takes as long.
        """
        until = time.monotonic() + seconds
        while True:
            self._kill_cgroup()
            holders = self._kill_holders(taps, until)
            left = sorted({*self._in_cgroup(), *holders})
            if not left:
                self._remove_cgroup()
                return []
            if time.monotonic() >= until:
                return left
            time.sleep(0.05)

    def _kill_holders(self, taps: Collection[str], until: float) -> list[int]:
        """Kill every process of the job's user that holds one of the taps or anything in the job's directories.

        Only that user's: a tenant can hand an open file to somebody else's daemon, which must not get that daemon killed.
        """
        things = _Things(self._directories(), taps, until)
        found: list[int] = []
        for entry in os.scandir(self._places.proc):
            if not entry.name.isdigit():
                continue
            with contextlib.suppress(OSError):
                # Before looking at it: should its number go to another process meanwhile, the signal goes nowhere.
                handle = os.pidfd_open(int(entry.name))
                try:
                    if not self._is_users(entry):
                        continue
                    if _holds(Path(entry.path), things, until):
                        found.append(int(entry.name))
                        signal.pidfd_send_signal(handle, signal.SIGKILL)
                except _Late:
                    return [*found, int(entry.name)]
                finally:
                    os.close(handle)
        return found

    def _directories(self) -> tuple[Path, Path]:
        return self._places.overlay_directory(self._job_id), self._places.job_directory(self._job_id)

    def _is_users(self, entry: os.DirEntry[str]) -> bool:
        # /proc/PID belongs to root while a set-user-ID program runs, whoever started it.
        if entry.stat().st_uid not in (self._uid, 0):
            return False
        for line in read_kernel(Path(entry.path, "status")).split("\n"):
            if line.startswith("Uid:"):
                # The real uid: Slurm's own root processes take on the user's as their effective one for a while.
                return line.split()[1] == str(self._uid)
        return False

    def _cgroup_of_slurm(self) -> str:
        """A cgroup on this host that Slurm made for a job, "" when there is none; users can only make some that are theirs."""
        waiting = [self._places.cgroup]
        while waiting:
            with contextlib.suppress(OSError), os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False) and entry.stat(follow_symlinks=False).st_uid == os.getuid():
                        if _SLURM_CGROUP.fullmatch(f"/{entry.name}"):
                            return entry.path
                        waiting.append(Path(entry.path))
        return ""

    def _make_cgroup(self) -> None:
        if not (self._places.cgroup / "cgroup.controllers").exists():
            raise OSError(errno.ENODEV, "it is not in a unified cgroup hierarchy")
        for attempt in range(3):
            try:
                self._cgroup.mkdir(mode=0o755, parents=True, exist_ok=True)
                return
            except FileNotFoundError:
                # The epilog of the last job before us has just removed the slice.
                if attempt == 2:
                    raise

    def _kill_cgroup(self) -> None:
        try:
            (self._cgroup / "cgroup.kill").write_text("1\n")
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.EACCES, errno.ENODEV):
                raise
            # Kernels before 5.14.
            for pid in self._in_cgroup():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    def _in_cgroup(self) -> list[int]:
        try:
            return [int(line) for line in (self._cgroup / "cgroup.procs").read_text().split()]
        except OSError:
            return []

    def _remove_cgroup(self) -> None:
        # A killed process stays in its cgroup for a moment after it has left cgroup.procs.
        for _attempt in range(40):
            try:
                self._cgroup.rmdir()
            except FileNotFoundError:
                break
            except OSError:
                time.sleep(0.05)
        with contextlib.suppress(OSError):
            self._cgroup.parent.rmdir()


def _has_ended(handle: int) -> bool:
    poll = select.poll()
    poll.register(handle, select.POLLIN)
    return bool(poll.poll(0))


def read_kernel(path: Path) -> str:
    """A file of /proc.  Names in it are users', any bytes; of what may end a line, the kernel escapes the newline only."""
    return os.fsdecode(path.read_bytes())


class _Late(Exception):
    """The time for looking is over."""


class _Things:
    """What only processes of the job hold.

    Paths alone do not tell: in a mount namespace of its own a process sees a file under any path.  So files and directories are known
    by device and inode as well, where they can be looked at; nothing is asked of a file system that a user may be answering for.
    """

    def __init__(self, directories: Collection[Path], taps: Collection[str], until: float) -> None:
        self.prefixes = tuple(f"{path}/" for path in directories)
        self.exact = {str(path) for path in directories}
        self.taps = taps
        self._inodes: set[tuple[str, str]] = set()
        self._memory = _mount_of_memory()
        devices = _devices(Path("/proc/self"))
        for directory in directories:
            with contextlib.suppress(OSError):
                handle = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
                try:
                    info = read_kernel(Path("/proc/self/fdinfo") / str(handle))
                    device = _device(info, devices)
                    self._inodes |= {(device, inode) for inode in _INODE.findall(info)}
                    with os.scandir(f"/proc/self/fd/{handle}") as entries:
                        # A million others may lie beside them.
                        disks = (entry for entry in entries if entry.name.endswith(_DISK) and time.monotonic() < until)
                        self._inodes |= {(device, str(entry.inode())) for entry in disks}
                finally:
                    os.close(handle)

    def has_path(self, path: str) -> bool:
        return path in self.exact or path.startswith(self.prefixes)

    def has_mapped(self, device: str, inode: str) -> bool:
        return (device, inode) in self._inodes

    def has_opened(self, path: str, info: str, devices: Mapping[str, str]) -> bool:
        """Whether an open file is one of them, by its path and its fdinfo; no inode before Linux 5.14, which leaves the path."""
        if self.has_path(path) or any(tap in self.taps for tap in _TAP.findall(info)):
            return True
        inode = _INODE.findall(info)
        # Pipes, sockets and the like, whose mounts are in no list, count their inodes for themselves, and so does anonymous memory.
        if not inode or not path.startswith("/") or _MOUNT.findall(info) == self._memory:
            return False
        device = _device(info, devices)
        return (device, inode[0]) in self._inodes or (device == _ANY and inode[0] in {known for _device, known in self._inodes})


def _holds(proc: Path, things: _Things, until: float) -> bool:
    for link in ("cwd", "root", "exe"):
        with contextlib.suppress(OSError):
            if things.has_path(os.readlink(proc / link)):
                return True
    devices = _devices(proc)
    for handle in os.scandir(proc / "fd"):
        _in_time(until)
        with contextlib.suppress(OSError):
            if things.has_opened(os.readlink(handle.path), read_kernel(proc / "fdinfo" / handle.name), devices):
                return True
    with contextlib.suppress(OSError), open(proc / "maps", "rb") as maps:
        for line in map(os.fsdecode, maps):
            _in_time(until)
            field = line.split(None, 5)
            if any(prefix in line for prefix in things.prefixes) or (len(field) > 5 and things.has_mapped(_decimal(field[3]), field[4])):
                return True
    return False


def _in_time(until: float) -> None:
    if time.monotonic() >= until:
        raise _Late


def _devices(proc: Path) -> dict[str, str]:
    """What is mounted where the process lives: number of the mount -> major:minor."""
    try:
        lines = read_kernel(proc / "mountinfo").split("\n")
    except OSError:
        return {}
    return {field[0]: field[2] for field in (line.split(" ", 3) for line in lines if line)}


def _device(info: str, devices: Mapping[str, str]) -> str:
    """The device of an open file by its fdinfo."""
    return next((devices.get(mount, _ANY) for mount in _MOUNT.findall(info)), _ANY)


def _mount_of_memory() -> list[str]:
    """The number of the mount that holds every anonymous file of this kernel; their paths look like those of others."""
    try:
        handle = os.memfd_create("vc")
    except OSError:
        return []
    try:
        return _MOUNT.findall(read_kernel(Path(f"/proc/self/fdinfo/{handle}")))
    finally:
        os.close(handle)


def _decimal(device: str) -> str:
    """A device of maps, which has it in hexadecimal."""
    major, _colon, minor = device.partition(":")
    return f"{int(major, 16)}:{int(minor, 16)}"
