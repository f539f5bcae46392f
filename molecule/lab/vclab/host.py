# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One lab host: an overlay of the root file system, booted with systemd by systemd-nspawn in its own network namespace."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Optional

from . import cgroup, fabric, infiniband, keys
from .layout import EVERY_HOST, HOME_DIR, HOSTS_DIR, IMAGES_DIR, HostPlan
from .process import ENVIRONMENT, SLOWNESS, LabError, run

# The loop is ours because nspawn, unregistered, leaves a host's reboot (status 133) to its caller.
# nspawn is started inside the namespace as well: it mounts the host's /sys before it joins one.
SUPERVISE = """
for door in $DOORS; do echo $$ > "$door"; done
while :; do
  nsenter --net="$NETNS" systemd-nspawn --network-namespace-path="$NETNS" "$@"
  [ $? = 133 ] || break
done
"""
NSPAWN_ENVIRONMENT = {
    "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1",
    "SYSTEMD_NSPAWN_API_VFS_WRITABLE": "1",
    "SYSTEMD_SECCOMP": "0",
}
NSPAWN = (
    "--quiet",
    "--register=no",
    "--keep-unit",
    "--boot",
    "--capability=all",
    "--resolv-conf=off",
    "--timezone=off",
    "--link-journal=no",
    "--console=read-only",
)
BOOT_SECONDS = 90 * SLOWNESS
END_SECONDS = 20 * SLOWNESS


def directory(name: str) -> Path:
    return HOSTS_DIR / name


def supervisor(name: str) -> Optional[int]:
    """Pid of the host's restart loop, None when the host is down."""
    try:
        pid = int((directory(name) / "supervisor.pid").read_text())
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except (OSError, ValueError):
        return None
    return pid if fabric.SUPERVISOR.encode() in words and f"--machine={name}".encode() in words else None


def children(pid: int) -> list[int]:
    try:
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def leader(name: str) -> Optional[int]:
    """Pid, on this machine, of the host's PID 1."""
    loop = supervisor(name)
    for nspawn in children(loop) if loop else []:
        for inner in children(nspawn):
            return inner
    return None


def enter(name: str) -> list[str]:
    """The argv prefix that runs a command as root inside the host, past PAM and logind."""
    pid = leader(name)
    if pid is None:
        raise LabError(f"lab host {name} is not up: run 'lab up' first")
    return ["nsenter", "-t", str(pid), "-m", "-p", "-u", "-i", "-n", "-C", "--"]


def state(name: str) -> str:
    """'absent', 'down', or systemd's own word for the host: starting, running, degraded, ..."""
    if leader(name) is None:
        return "down" if directory(name).exists() else "absent"
    return run([*enter(name), "systemctl", "is-system-running"], check=False).stdout.strip() or "starting"


def is_mounted(path: Path) -> bool:
    return any(line.split()[1] == str(path) for line in Path("/proc/self/mounts").read_text().splitlines())


def create(plan: HostPlan, rootfs: Path) -> bool:
    """Bring a host up; False when it was up already. A host that crashed boots from the disk it had."""
    if leader(plan.name) is not None:
        return False
    stop(plan.name)
    place = directory(plan.name)
    root = place / "root"
    ready = place / "furnished"
    fresh = not ready.exists() or ready.read_text() != str(rootfs)
    if fresh:
        destroy(plan.name)
    for part in ("upper", "work", "root"):
        (place / part).mkdir(parents=True, exist_ok=True)
    if not is_mounted(root):
        # Written as a list of plain options: a kernel's defaults for these differ.
        options = f"lowerdir={rootfs},upperdir={place / 'upper'},workdir={place / 'work'},index=off,metacopy=off"
        run(["mount", "-t", "overlay", "-o", options, f"vc-lab-{plan.name}", str(root)])
    if fresh:
        furnish(plan, root)
        ready.write_text(str(rootfs))
    fabric.plug(plan)
    start(plan.name, root)
    wait_booted(plan.name)
    return True


def furnish(plan: HostPlan, root: Path) -> None:
    """What an installer would have left on the host: names, keys, users' homes."""
    (root / "etc/hostname").write_text(f"{plan.name}\n")
    names = "".join(f"{other.address} {other.name}\n" for other in EVERY_HOST)
    (root / "etc/hosts").write_text(f"127.0.0.1 localhost\n{names}")
    ssh = root / "root/.ssh"
    ssh.mkdir(mode=0o700, exist_ok=True)
    (ssh / "authorized_keys").write_text(keys.ROOT_KEY.with_suffix(".pub").read_text())
    key = root / "etc/ssh/ssh_host_ed25519_key"
    shutil.copyfile(keys.host_key(plan.name), key)
    key.chmod(0o600)
    shutil.copyfile(keys.host_key(plan.name).with_suffix(".pub"), key.with_suffix(".pub"))
    infiniband.furnish(plan, root)


def start(name: str, root: Path) -> None:
    doors = " ".join(str(door) for door in cgroup.create(cgroup.group_of(name)))
    environment = {**ENVIRONMENT, **NSPAWN_ENVIRONMENT, "DOORS": doors, "NETNS": f"/run/netns/{fabric.namespace_of(name)}"}
    arguments = [
        f"--directory={root}",
        f"--machine={name}",
        *NSPAWN,
        f"--bind={HOME_DIR}:/home",
        f"--bind-ro={IMAGES_DIR}:/srv/images",
    ]
    with (directory(name) / "console.log").open("wb") as console:
        loop = subprocess.Popen(
            ["/bin/sh", "-c", SUPERVISE, fabric.SUPERVISOR, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=console,
            stderr=console,
            env=environment,
            start_new_session=True,
            cwd="/",
        )
    (directory(name) / "supervisor.pid").write_text(f"{loop.pid}\n")


def wait_booted(name: str) -> None:
    deadline = time.monotonic() + BOOT_SECONDS
    seen = "starting"
    while time.monotonic() < deadline:
        time.sleep(0.1)
        if supervisor(name) is None:
            break
        seen = state(name)
        if seen in ("running", "degraded"):
            return
    tail = "\n  ".join((directory(name) / "console.log").read_text(errors="replace").splitlines()[-15:])
    raise LabError(f"lab host {name} did not boot (state {seen}); its console ends:\n  {tail}")


def stop(name: str) -> None:
    """Pull the host's plug: its processes, links and cgroups are gone, its disk stays."""
    loop = supervisor(name)
    if loop is not None:
        inner = leader(name)
        # Never nspawn itself: it would leave its host running.
        os.kill(inner if inner is not None else loop, signal.SIGKILL)
        deadline = time.monotonic() + END_SECONDS
        while supervisor(name) is not None:
            if time.monotonic() > deadline:
                raise LabError(f"lab host {name} does not end (supervisor pid {loop})")
            time.sleep(0.05)
    fabric.unplug(name)
    cgroup.remove(cgroup.group_of(name))


def destroy(name: str) -> None:
    """Remove a host and its disk; nothing to do is fine."""
    stop(name)
    root = directory(name) / "root"
    if is_mounted(root):
        run(["umount", str(root)])
    shutil.rmtree(directory(name), ignore_errors=True)


def execute(name: str, command: Sequence[str]) -> None:
    """Replace this process by the command inside the host."""
    argv = [*enter(name), *command]
    os.execvpe(argv[0], argv, {**ENVIRONMENT, "TERM": os.environ.get("TERM", "dumb")})
