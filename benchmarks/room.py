# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A host for benchmarks: the lab's root file system in namespaces of its own, with real daemons and no way out.

Ansible runs inside as well, with connection `local`: no ssh is in any time, and every module is started as on a target.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.measure import BenchError, run

ROOT = Path(__file__).resolve().parent.parent
PROGRAMS = Path(sys.executable).parent
# What only benchmarks need: others' collections, and packages for the Python of the targets.
COLLECTIONS = ROOT / ".cache" / "bench" / "collections"
PACKAGES = ROOT / ".cache" / "bench" / "packages"
ADDRESS = "10.88.0.1"
# Everything disappears with the first process of the namespaces.  Of this machine's devices only what every host has: a KVM device that
# opens for root and not for libvirt's user makes libvirt try QEMU again at every call.
FURNISH = """
set -eu
mount --make-rprivate /
mount -t tmpfs -o mode=755 room "$AREA"
mkdir "$AREA/upper" "$AREA/work" "$AREA/root"
mount -t overlay -o "lowerdir=$ROOTFS,upperdir=$AREA/upper,workdir=$AREA/work,index=off,metacopy=off" room "$AREA/root"
cd "$AREA/root"
mount -t proc proc proc
mount --rbind /sys sys
mount -t tmpfs -o mode=755 dev dev
mkdir dev/net dev/pts dev/shm
for node in null zero full random urandom tty net/tun; do touch "dev/$node"; mount --bind "/dev/$node" "dev/$node"; done
mount -t devpts -o newinstance,ptmxmode=666 devpts dev/pts
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
mount -t tmpfs -o mode=755 run run
mount -t tmpfs -o mode=1777 tmp tmp
mkdir -p ".$REPOSITORY" run/lock run/vc
mount --rbind "$REPOSITORY" ".$REPOSITORY"
ip link set lo up
ip link add net0 type bridge
ip link set net0 mtu 1600 up
ip address add "$ADDRESS/16" dev net0
hostname room
printf '127.0.0.1 localhost\n%s room\n' "$ADDRESS" > etc/hosts
exec chroot . /usr/bin/python3 -c "$KEEPER"
"""

# Whoever daemonizes in here becomes its child: libvirtd waits until the QEMU that it has tried is gone, not a zombie.
KEEPER = "import signal; signal.signal(signal.SIGCHLD, signal.SIG_IGN)\nwhile True: signal.pause()"


class Room:
    """A context: the namespaces with their root file system, and processes in them."""

    def __init__(self, rootfs: Path, area: Path) -> None:
        area.mkdir(parents=True, exist_ok=True)
        variables = {**os.environ, "AREA": str(area), "ROOTFS": str(rootfs), "REPOSITORY": str(ROOT), "ADDRESS": ADDRESS, "KEEPER": KEEPER}
        flags = ["--mount", "--net", "--pid", "--uts", "--ipc", "--fork", "--kill-child"]
        self._keeper = subprocess.Popen(
            ["setpriv", "--pdeathsig=KILL", "unshare", *flags, "sh", "-c", FURNISH], env=variables, stdin=subprocess.DEVNULL
        )

    def __enter__(self) -> Room:
        deadline = time.monotonic() + 20
        while not self._ready():
            if time.monotonic() > deadline or self._keeper.poll() is not None:
                raise BenchError("the room for the daemons did not come up; root and the lab's root file system are needed")
            time.sleep(0.05)
        return self

    def __exit__(self, *_error: object) -> None:
        self._keeper.kill()
        self._keeper.wait()

    def _first(self) -> str:
        return Path(f"/proc/{self._keeper.pid}/task/{self._keeper.pid}/children").read_text().strip()

    def _ready(self) -> bool:
        try:
            return Path(f"/proc/{self._first()}/comm").read_text().strip() == "python3"
        except OSError:
            return False

    def argv(self, command: Sequence[str]) -> list[str]:
        return ["nsenter", "-t", self._first(), "-m", "-n", "-p", "-u", "-i", "--root", "--wd", "--", *command]

    def run(self, *command: str, **variables: str) -> str:
        return run(self.argv(command), variables)

    def daemon(self, *command: str) -> None:
        """Start something that stays; it ends with the room."""
        subprocess.Popen(
            self.argv(command), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )

    def until(self, *command: str, seconds: float = 30) -> None:
        """Wait for a command to succeed."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                self.run(*command)
                return
            except BenchError:
                if time.monotonic() > deadline:
                    raise
            time.sleep(0.1)

    def write(self, path: str, text: str, mode: int = 0o644) -> None:
        target = Path(f"/proc/{self._first()}/root{path}")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
        target.chmod(mode)

    def play(self, name: str, given: Mapping[str, Any]) -> str:
        """Run a playbook of this directory inside, on the room itself, with these variables."""
        self.write("/tmp/variables.json", json.dumps(given))
        settings = {
            "ANSIBLE_COLLECTIONS_PATH": f"{ROOT / '.cache' / 'collections'}:{COLLECTIONS}",
            "ANSIBLE_LOCALHOST_WARNING": "0",
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_PIPELINING": "1",
            "ANSIBLE_PYTHON_INTERPRETER": "/usr/bin/python3",
            "PYTHONPATH": str(PACKAGES),
            "PATH": f"{PROGRAMS}:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME": "/root",
        }
        playbook = str(ROOT / "benchmarks" / "plays" / f"{name}.yml")
        return self.run("ansible-playbook", "-i", "localhost,", "-c", "local", "-e", "@/tmp/variables.json", playbook, **settings)
