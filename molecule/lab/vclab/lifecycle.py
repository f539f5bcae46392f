# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab as a whole: up, down, and what is made along with it."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from . import cache, cgroup, fabric, host, inventory, keys, preflight, ready, users
from .layout import (
    CACHE,
    EVERY_HOST,
    FABRIC,
    HOME_DIR,
    HOSTS,
    HOSTS_DIR,
    IMAGES_DIR,
    PUBLIC,
    RUNTIME,
    SEGMENTS,
    SSH_SOCKETS,
    STATE,
    HostPlan,
    host_plan,
)
from .process import SLOWNESS, LabError, run

SSH_CONFIG = STATE / "ssh_config"


def up(names: Sequence[str], bare: bool = False) -> None:
    """Bring networks and hosts up, all at once (without names, those of the demo); what is up stays untouched."""
    plans = [host_plan(name) for name in names] or list(HOSTS)
    preflight.ensure_packages()
    fabric.clear_foreign_lab()
    bases = ready.roots((plan.release for plan in plans), bare)
    started = time.monotonic()
    with cache.locked(STATE / ".lock"):
        run(["modprobe", "-q", "-a", "overlay", "veth", "bridge", "tun"], check=False)
        fabric.up()
        keys.ensure()
        IMAGES_DIR.mkdir(exist_ok=True)
        users.ensure_homes()
        inventory.write()
        SSH_CONFIG.write_text(ssh_config())
        changed = each(plans, lambda plan: host.create(plan, bases[plan.release]))
    booted = [plan.name for plan, new in zip(plans, changed, strict=True) if new]
    print(f"lab: {len(plans)} hosts up ({len(booted)} started) in {time.monotonic() - started:.1f} s", flush=True)


def ssh_config() -> str:
    """For people: the hosts by name, and the demo's frontend as ``vc1``; guests make new host keys with every disk."""
    lines = []
    for plan in EVERY_HOST:
        lines.append(f"Host {plan.name}\n  HostName {plan.address}\n  IdentityFile {keys.ROOT_KEY}\n")
        lines.append(f"  UserKnownHostsFile {keys.KNOWN_HOSTS}\n")
    address = PUBLIC.network.replace(".0/24", ".101")
    lines.append(f"Host vc1\n  HostName {address}\n  IdentityFile {keys.LABUSER_KEY}\n  UserKnownHostsFile /dev/null\n")
    lines.append("  StrictHostKeyChecking no\n  LogLevel ERROR\nHost *\n  User root\n  IdentitiesOnly yes\n  ConnectTimeout 10\n")
    return "".join(lines)


def down(names: Sequence[str]) -> None:
    """Remove hosts; without names all of them, and the networks."""
    fabric.clear_foreign_lab()
    plans = [host_plan(name) for name in names] or list(EVERY_HOST)
    if not CACHE.is_dir():
        return
    with cache.locked(STATE / ".lock"):
        close_ssh()
        each(plans, lambda plan: host.destroy(plan.name))
        if not names:
            fabric.down()
            for place in (HOSTS_DIR, HOME_DIR, RUNTIME):
                shutil.rmtree(place, ignore_errors=True)
            if left := leftovers():
                raise LabError(
                    f"still there after everything was taken down: {', '.join(left)}; whoever holds it has to go first, then run this again"
                )
    print(f"lab: {'down' if not names else ' '.join(names) + ' down'}")


def leftovers() -> list[str]:
    """What is on this machine of a lab that was taken down, caches excepted."""
    mounts = [line.split()[:2] for line in Path("/proc/self/mounts").read_text().splitlines()]
    groups = [group for hierarchy in cgroup.hierarchies() for group in hierarchy.glob(cgroup.group_of("*"))]
    links = fabric.links()
    ours = {FABRIC, *(fabric.namespace_of(plan.name) for plan in EVERY_HOST)}
    return [
        *(f"network namespace {name}" for name in sorted(fabric.namespaces()) if name in ours),
        *(f"link {segment.leg}" for segment in SEGMENTS if segment.leg in links),
        *(f"mount {target}" for source, target in mounts if source.startswith("vc-lab-") or target.startswith(f"{STATE}/")),
        *(f"cgroup {group}" for group in sorted(groups)),
        *(f"directory {place}" for place in (HOSTS_DIR, HOME_DIR, RUNTIME) if place.exists()),
    ]


def crash(names: Sequence[str]) -> None:
    """Pull the plug of hosts; 'up' boots them again from the disks they had."""
    with cache.locked(STATE / ".lock"):
        close_ssh()
        each([host_plan(name) for name in names], lambda plan: host.stop(plan.name))


def each(plans: Sequence[HostPlan], action: Callable[[HostPlan], object]) -> list[object]:
    """Run the action for all hosts at once; every failure is told, not only the first."""
    with ThreadPoolExecutor(max_workers=len(plans)) as pool:
        futures = [pool.submit(action, plan) for plan in plans]
    errors = [str(error) for future in futures if (error := future.exception()) is not None]
    if errors:
        raise LabError("\n".join(errors))
    return [future.result() for future in futures]


def close_ssh() -> None:
    """End the kept ssh connections; one to a host that has gone would make the next play wait."""
    for socket in SSH_SOCKETS.glob("*") if SSH_SOCKETS.is_dir() else []:
        run(["ssh", "-o", f"ControlPath={socket}", "-O", "exit", "lab"], check=False, timeout=10 * SLOWNESS)
        socket.unlink(missing_ok=True)
