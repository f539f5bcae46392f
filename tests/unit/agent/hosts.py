# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A hypervisor's directories below a temporary one, and notes as prolog and helper write them."""

from __future__ import annotations

import os
from pathlib import Path

from ansible_collections.hpc.virtual_cluster.plugins.module_utils.agent.places import Places
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.agent.record import JobRecord, NodeRecord

# As root, tests act for a user that exists nowhere; otherwise only one's own files can be made.
USER = 45678 if os.getuid() == 0 else os.getuid()
BOOT = Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def places(root: Path) -> Places:
    """Directories of an emulated host; its processes are the real ones."""
    made = Places(run=root / "run", scratch=root / "scratch", cgroup=root / "cgroup")
    made.make()
    return made


def job(job_id: int = 7, uid: int = USER) -> JobRecord:
    return JobRecord(job_id, 0, uid, "labuser", "physics", "vc1", BOOT)


def node(name: str = "compute0", job_id: int = 7, epoch: int = 3, persistent: bool = True, tap: str = "") -> NodeRecord:
    return NodeRecord(job_id, 0, USER, BOOT, "vc1", name, epoch, 10001, tap, persistent)


def as_user(path: Path) -> Path:
    """Give a file to the job's user."""
    os.chown(path, USER, -1, follow_symlinks=False)
    return path


def overlay_directory(where: Places, job_id: int = 7) -> Path:
    """The job's scratch directory as the prolog makes it."""
    path = where.overlay_directory(job_id)
    path.mkdir(mode=0o700)
    return as_user(path)
