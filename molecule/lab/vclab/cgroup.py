# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A cgroup per host in every hierarchy of this machine (v1, hybrid or unified), where no systemd of its own hands them out."""

from __future__ import annotations

import time
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")


def hierarchies() -> list[Path]:
    """Mount points of the cgroup hierarchies, the unified one included."""
    found = []
    for line in Path("/proc/self/mounts").read_text().splitlines():
        where, kind = line.split()[1:3]
        if kind in ("cgroup", "cgroup2") and where.startswith(str(ROOT)):
            found.append(Path(where))
    return found


def group_of(host: str) -> str:
    return f"vc-lab-{host}.scope"


def create(name: str) -> list[Path]:
    """Make its cgroups; returns the cgroup.procs files a process has to enter."""
    doors = []
    for hierarchy in hierarchies():
        group = hierarchy / name
        group.mkdir(exist_ok=True)
        for setting in ("cpuset.cpus", "cpuset.mems"):
            # A v1 cpuset takes no process before both are filled.
            if (hierarchy / setting).exists() and (group / setting).exists() and not (group / setting).read_text().strip():
                (group / setting).write_text((hierarchy / setting).read_text())
        doors.append(group / "cgroup.procs")
    return doors


def remove(name: str) -> None:
    """Remove its cgroups, deepest first; the last processes may take a moment to leave."""
    for hierarchy in hierarchies():
        group = hierarchy / name
        if not group.is_dir():
            continue
        inner = sorted((path for path in group.rglob("*") if path.is_dir()), key=lambda path: len(path.parts), reverse=True)
        for path in [*inner, group]:
            for _attempt in range(40):
                try:
                    path.rmdir()
                except OSError:
                    time.sleep(0.05)
                else:
                    break
