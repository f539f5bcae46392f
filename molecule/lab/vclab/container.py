# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A machine without an emulator: its disk's root file system, booted by systemd-nspawn on this machine's kernel, as fast as this machine.

It has a network namespace that slirp4netns leads out of, with the addresses of QEMU's user network, so that the same disk fits both.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path

from . import cgroup, host, keys, machine, machine_image
from .disk import FIRST_SECTOR
from .process import ENVIRONMENT, LabError, run

PROGRAMS = {"systemd-nspawn": "systemd-container", "slirp4netns": "slirp4netns"}
ADDRESS = "10.0.2.15"
# What a machine's kernel would have made: for images of guests and for a lab's hosts.
DEVICES = "".join(
    [
        "c! /dev/loop-control 0660 root disk - 10:237\nc! /dev/fuse 0666 root root - 10:229\n",
        "d /dev/net 0755 root root -\nc! /dev/net/tun 0666 root root - 10:200\n",
        *(f"b! /dev/loop{number} 0660 root disk - 7:{number}\n" for number in range(32)),
    ]
)
SUPERVISE = 'for door in $DOORS; do echo $$ > "$door"; done; exec "$@"'


def plan(name: str, kind: machine_image.Kind) -> machine.Machine:
    return machine.Machine(name, kind, address=ADDRESS, way=("ip", "netns", "exec", namespace(name)))


def namespace(name: str) -> str:
    return f"vc-machine-{name}"


def start(container: machine.Machine) -> float:
    """Boot it from a new disk and wait until ssh answers; how many seconds that took. One that runs is ended before."""
    if missing := [package for program, package in PROGRAMS.items() if shutil.which(program, path=ENVIRONMENT["PATH"]) is None]:
        raise LabError(f"a container needs {' and '.join(missing)}: apt-get install --no-install-recommends {' '.join(missing)}")
    keys.ensure()
    image = machine_image.image(container.kind)
    stop(container)
    started = time.monotonic()
    place, root, name = container.place, container.place / "root", namespace(container.name)
    root.mkdir(parents=True)
    # A file system of its own: the lab's hosts are overlays, which an overlay cannot carry.
    run(["cp", "--sparse=always", str(image), str(place / "disk.raw")])
    run(["mount", "-o", f"loop,offset={FIRST_SECTOR * 512}", str(place / "disk.raw"), str(root)])
    (root / "root/.ssh").mkdir(mode=0o700, exist_ok=True)
    shutil.copyfile(keys.ROOT_KEY.with_suffix(".pub"), root / "root/.ssh/authorized_keys")
    (root / "etc/tmpfiles.d/machine.conf").write_text(DEVICES)
    run(["ip", "netns", "add", name])
    way_out = ["slirp4netns", "--netns-type=path", "--configure", f"/run/netns/{name}", "eth0"]
    launched(way_out, place / "network.log", place / "network.pid")
    variables = {"DOORS": " ".join(map(str, cgroup.create(name))), **host.NSPAWN_ENVIRONMENT}
    nspawn = [f"--directory={root}", f"--network-namespace-path=/run/netns/{name}", f"--machine={name}", *host.NSPAWN]
    inside = ["nsenter", f"--net=/run/netns/{name}", "systemd-nspawn", *nspawn]
    supervisor = launched(["/bin/sh", "-c", SUPERVISE, "machine", *inside], container.console, place / "pid", variables)
    machine.wait_booted(container, lambda: supervisor.poll() is None)
    return time.monotonic() - started


def launched(argv: list[str], log: Path, pid: Path, variables: dict[str, str] | None = None) -> subprocess.Popen[bytes]:
    """Start something that stays, and write down what it is."""
    with log.open("wb") as stream:
        process = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=stream, stderr=stream, env={**ENVIRONMENT, **(variables or {})}, start_new_session=True
        )
    pid.write_text(str(process.pid))
    return process


def running(container: machine.Machine, file: str) -> int:
    """Pid of what was started for it, 0 when that has ended."""
    try:
        pid = int((container.place / file).read_text())
        command = Path(f"/proc/{pid}/cmdline").read_text()
    except (OSError, ValueError):
        return 0
    return pid if namespace(container.name) in command else 0


def stop(container: machine.Machine) -> None:
    """Pull its plug and remove it; nothing to do is fine."""
    if nspawn := running(container, "pid"):
        # Never nspawn itself: it would leave its machine running.
        for pid in host.children(nspawn) or [nspawn]:
            machine.end(pid, container.name)
    if network := running(container, "network.pid"):
        machine.end(network, container.name)
    name = namespace(container.name)
    if Path(f"/run/netns/{name}").exists():
        run(["ip", "netns", "del", name])
    cgroup.remove(name)
    if os.path.ismount(container.place / "root"):
        # nspawn may still be on its way out.
        run(["umount", "-l", str(container.place / "root")])
    shutil.rmtree(container.place, ignore_errors=True)
