# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A whole machine under an emulating QEMU, as root of this machine starts it for a slow proof: reached by ssh only.

It needs no networks of the lab and leaves nothing outside its directory; its disk is an overlay of the kind's image.
"""

from __future__ import annotations

import base64
import os
import select
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from . import keys, machine_image
from .cache import locked
from .layout import CACHE
from .process import ENVIRONMENT, LabError, run

DIRECTORY = CACHE / "machines"
# Of the machine that it runs on, besides what the lab needs.
PROGRAMS = {"qemu-system-x86_64": "qemu-system-x86", "qemu-img": "qemu-utils"}
BOOT_SECONDS = 900
END_SECONDS = 60


@dataclass(frozen=True)
class Machine:
    """Its name, what it is, its memory, the port of this machine's loopback where its ssh answers, and its CPUs.

    One that is a container (container.py) has neither of the last three, and is reached in its namespace.
    """

    name: str
    kind: machine_image.Kind
    memory_mib: int = 0
    port: int = 22
    cpus: int = 1
    address: str = "127.0.0.1"
    way: tuple[str, ...] = ()

    @property
    def place(self) -> Path:
        return DIRECTORY / self.name

    @property
    def console(self) -> Path:
        return self.place / "console.log"

    def ssh(self, *words: str) -> list[str]:
        """argv that runs a command in it as root; the words are given to its shell, as ssh does it."""
        options = ["BatchMode=yes", "StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "LogLevel=ERROR", "ConnectTimeout=30"]
        options += ["ServerAliveInterval=30", "ServerAliveCountMax=20"]
        login = [f"-p{self.port}", f"root@{self.address}", *words]
        return [*self.way, "ssh", "-i", str(keys.ROOT_KEY), *(f"-o{option}" for option in options), *login]


def pid_of(machine: Machine) -> int:
    """Pid of its QEMU, 0 for none."""
    try:
        pid = int((machine.place / "pid").read_text())
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except (OSError, ValueError):
        return 0
    return pid if f"vc-machine-{machine.name}".encode() in words else 0


def start(machine: Machine) -> float:
    """Boot it from a new disk and wait until ssh answers; how many seconds that took. One that runs is ended before."""
    if missing := [package for program, package in PROGRAMS.items() if shutil.which(program, path=ENVIRONMENT["PATH"]) is None]:
        raise LabError(f"a machine needs {' and '.join(missing)}: apt-get install --no-install-recommends {' '.join(missing)}")
    keys.ensure()
    image = machine_image.image(machine.kind)
    stop(machine)
    machine.place.mkdir(parents=True)
    disk = machine.place / "disk.qcow2"
    run(["qemu-img", "create", "-q", "-f", "qcow2", "-b", str(image), "-F", "raw", str(disk)])
    started = time.monotonic()
    with locked(machine.place / ".lock"):
        run(["nice", "-n", "10", *command(machine, disk)], timeout=60)
    wait_booted(machine, lambda: bool(pid_of(machine)))
    return time.monotonic() - started


def wait_booted(machine: Machine, runs: Callable[[], bool]) -> None:
    """Until ssh answers; LabError when it does not run any more, or that takes too long."""
    started = time.monotonic()
    while subprocess.run(machine.ssh("true"), capture_output=True, check=False, env=dict(os.environ)).returncode != 0:
        if not runs() or time.monotonic() - started > BOOT_SECONDS:
            tail = "\n  ".join(machine.console.read_text(errors="replace").splitlines()[-15:])
            raise LabError(f"machine {machine.name} did not boot; its console ends:\n  {tail}")
        time.sleep(2)


def command(machine: Machine, disk: Path) -> list[str]:
    """QEMU's command line. The second card is connected to nothing: for roles that want an underlay."""
    key = base64.b64encode(keys.ROOT_KEY.with_suffix(".pub").read_bytes()).decode()
    return [
        "qemu-system-x86_64",
        *("-name", f"vc-machine-{machine.name}"),
        # A machine with the KVM device of its own would be another proof, and a faster one.
        *("-accel", "tcg,tb-size=1024", "-cpu", "max", "-smp", str(machine.cpus), "-m", str(machine.memory_mib)),
        *("-nodefaults", "-display", "none", "-serial", f"file:{machine.console}"),
        *("-drive", f"file={disk},if=virtio,format=qcow2,cache=unsafe,discard=unmap", "-device", "virtio-rng-pci"),
        *("-nic", f"user,model=virtio-net-pci,hostfwd=tcp:127.0.0.1:{machine.port}-:22"),
        *("-nic", "user,model=virtio-net-pci,restrict=on,net=192.0.2.0/24"),
        *("-smbios", f"type=11,value=io.systemd.credential.binary:ssh.authorized_keys.root={key}"),
        *("-daemonize", "-pidfile", str(machine.place / "pid")),
    ]


def stop(machine: Machine) -> None:
    """Pull its plug and remove it; nothing to do is fine."""
    if pid := pid_of(machine):
        end(pid, machine.name)
    shutil.rmtree(machine.place, ignore_errors=True)


def end(pid: int, what: str) -> None:
    """Kill a process that may not be ours to wait for, and see it gone."""
    with os.fdopen(os.pidfd_open(pid)) as process:
        os.kill(pid, signal.SIGKILL)
        if not select.select([process], [], [], END_SECONDS)[0]:
            raise LabError(f"machine {what} does not end (process {pid})")


def put(machine: Machine, source: Path, target: str) -> None:
    """Copy a file into it, sparse and compressed: the way there is slow."""
    with subprocess.Popen(["gzip", "-c1", str(source)], stdout=subprocess.PIPE) as packed:
        done = subprocess.run(machine.ssh(f"mkdir -p $(dirname {target}) && gzip -dc > {target}"), stdin=packed.stdout, check=False)
    if done.returncode != 0:
        raise LabError(f"{source} did not get into machine {machine.name} as {target}")


def execute(machine: Machine, words: Sequence[str], timeout: float) -> subprocess.CompletedProcess[str]:
    """Run a command in it; whatever it says."""
    return subprocess.run(machine.ssh(*words), capture_output=True, text=True, errors="replace", timeout=timeout, check=False)
