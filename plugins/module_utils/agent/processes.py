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
import stat
import time
from collections.abc import Collection
from pathlib import Path

from ..model.errors import VcError
from .places import Places

# slurmstepd names a job's cgroup so with either version of cgroups.
_SLURM_CGROUP = re.compile(r"/job_([0-9]+)(?:/|$)", re.MULTILINE)
_TUN = os.makedev(10, 200)
_TAP = re.compile(r"^iff:\s*(\S+)$", re.MULTILINE)


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
            within = _SLURM_CGROUP.findall((proc / "cgroup").read_text())
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
        prefixes = tuple(f"{path}/" for path in self._directories())
        exact = {str(path) for path in self._directories()}
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
                    if _holds(Path(entry.path), prefixes, exact, taps, until):
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
        # /proc/PID belongs to root while a process is not dumpable, whoever runs it.
        if entry.stat().st_uid not in (self._uid, 0):
            return False
        with open(f"{entry.path}/status") as status:
            for line in status:
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


class _Late(Exception):
    """The time for looking is over."""


def _holds(proc: Path, prefixes: tuple[str, ...], exact: Collection[str], taps: Collection[str], until: float) -> bool:
    for link in ("cwd", "root", "exe"):
        with contextlib.suppress(OSError):
            target = os.readlink(proc / link)
            if target in exact or target.startswith(prefixes):
                return True
    for handle in os.scandir(proc / "fd"):
        _in_time(until)
        with contextlib.suppress(OSError):
            target = os.readlink(handle.path)
            if target in exact or target.startswith(prefixes):
                return True
            # By device number: inside a mount namespace of its own a process can give the device any path.
            device = os.stat(handle.path)
            if stat.S_ISCHR(device.st_mode) and device.st_rdev == _TUN and _tap_of(proc, handle.name) in taps:
                return True
    with contextlib.suppress(OSError), open(proc / "maps", errors="replace") as maps:
        for line in maps:
            _in_time(until)
            if any(prefix in line for prefix in prefixes):
                return True
    return False


def _in_time(until: float) -> None:
    if time.monotonic() >= until:
        raise _Late


def _tap_of(proc: Path, name: str) -> str:
    found = _TAP.findall((proc / "fdinfo" / name).read_text())
    return found[0] if found else ""
