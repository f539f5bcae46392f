# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real ZFS pool under zfs-fuse, in a mount namespace of its own: nothing of the machine sees its mounts or its daemon's socket."""

from __future__ import annotations

import contextlib
import ctypes
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

POOL = "vcpool"
_CLONE_NEWNS = 0x00020000
_LIBC = ctypes.CDLL(None, use_errno=True)


def _system(call: str, *args: int) -> None:
    if getattr(_LIBC, call)(*args):
        number = ctypes.get_errno()
        raise OSError(number, f"{call}: {os.strerror(number)}")


@contextlib.contextmanager
def _elsewhere(*, namespace: int | None) -> Iterator[None]:
    """In another mount namespace (a new one without `namespace`) until the end; the process has one thread, so all of it moves."""
    home, here = os.getcwd(), os.open("/proc/self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
    try:
        if namespace is None:
            _system("unshare", _CLONE_NEWNS)
        else:
            _system("setns", namespace, _CLONE_NEWNS)
        os.chdir("/")
        yield
    finally:
        _system("setns", here, _CLONE_NEWNS)
        os.close(here)
        os.chdir(home)


def _run(*argv: str) -> str:
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout


class Pool:
    """The pool, on a sparse file in `directory`, and its daemon."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._count = 0
        with _elsewhere(namespace=None):
            _run("mount", "--make-rprivate", "/")
            # zfs-fuse keeps its socket, its lock and its list of pools there.
            for place in ("/run/zfs", "/run/lock/zfs", "/var/lib/zfs", "/etc/zfs"):
                os.makedirs(place, exist_ok=True)
                _run("mount", "-t", "tmpfs", "tmpfs", place)
            self._namespace = os.open("/proc/self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
            self._daemon = self._start()
            disk = directory / "pool.img"
            with disk.open("wb") as stream:
                stream.truncate(8 * 2**30)
            _run("zpool", "create", "-m", str(directory / "pool"), POOL, str(disk))

    def _start(self) -> subprocess.Popen[bytes]:
        argv = ["setpriv", "--pdeathsig", "KILL", "zfs-fuse", "-n", "-p", "/run/zfs/pid", "--no-kstat-mount", "-m", "64"]
        quiet = subprocess.DEVNULL
        daemon = subprocess.Popen(argv, stdin=quiet, stdout=quiet, stderr=quiet)
        for _attempt in range(200):
            if subprocess.run(["zpool", "list"], capture_output=True, check=False).returncode == 0:
                return daemon
            time.sleep(0.05)
        raise RuntimeError("zfs-fuse did not start")

    @contextlib.contextmanager
    def inside(self, mountpoint: Path) -> Iterator[str]:
        """Where its mounts are seen; a new dataset, mounted there, which is gone afterwards."""
        with _elsewhere(namespace=self._namespace):
            self._count += 1
            dataset = f"{POOL}/vault{self._count}"
            _run("zfs", "create", "-p", "-o", f"mountpoint={mountpoint}", dataset)
            try:
                yield dataset
            finally:
                # Busy for a moment after the last file in it was closed.
                for _attempt in range(50):
                    if subprocess.run(["zfs", "destroy", "-R", dataset], capture_output=True, check=False).returncode == 0:
                        break
                    time.sleep(0.1)

    def restart(self) -> None:
        """kill -9 the daemon, clear its dead mounts away, and start it as its unit would."""
        self._daemon.kill()
        self._daemon.wait()
        mounts = [line.split() for line in Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines()]
        for place in reversed([words[1] for words in mounts if words[2].startswith("fuse") and words[0].startswith(POOL)]):
            # One that was below another is gone with that.
            subprocess.run(["umount", "-l", place], capture_output=True, check=False)
        for left in ("/run/zfs/pid", "/run/zfs/zfs_socket"):
            Path(left).unlink(missing_ok=True)
        self._daemon = self._start()
        subprocess.run(["zpool", "import", "-d", str(self._directory), POOL], capture_output=True, check=False)
        _run("zfs", "mount", "-a")

    def close(self) -> None:
        self._daemon.kill()
        self._daemon.wait()
        os.close(self._namespace)
