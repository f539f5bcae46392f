# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where things are on a hypervisor, and which of those directories only root may look into."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Places:
    """The host's directories; tests give other roots.

    Parameters
    ----------
    run : volatile: records, job directories, the helper's socket
    scratch : on disk: overlays, the spool, orphans, and records that must outlive a reboot
    cgroup : the unified cgroup hierarchy
    proc : the process file system
    """

    run: Path = Path("/run/vc")
    scratch: Path = Path("/var/lib/vc-scratch")
    cgroup: Path = Path("/sys/fs/cgroup")
    proc: Path = Path("/proc")

    @property
    def records(self) -> Path:
        return self.run / "jobs"

    @property
    def jobs(self) -> Path:
        return self.run / "job"

    @property
    def overlays(self) -> Path:
        return self.scratch / "job"

    @property
    def spool(self) -> Path:
        return self.scratch / "spool"

    @property
    def orphans(self) -> Path:
        return self.scratch / "orphans"

    @property
    def lasting(self) -> Path:
        """Copies of the node records that a reboot does not take."""
        return self.scratch / "records"

    @property
    def host_socket(self) -> Path:
        return self.run / "host.sock"

    def job_directory(self, job_id: int) -> Path:
        return self.jobs / str(job_id)

    def overlay_directory(self, job_id: int) -> Path:
        return self.overlays / str(job_id)

    def job_cgroup(self, job_id: int) -> Path:
        return self.cgroup / "vc.slice" / f"job-{job_id}"

    def trashes(self, job_id: int) -> tuple[tuple[Path, Path], tuple[Path, Path]]:
        """The job's two directories, each with the root-only place on its file system where it goes to be deleted."""
        volatile, lasting = self.run / "trash", self.scratch / "trash"
        return (self.job_directory(job_id), volatile), (self.overlay_directory(job_id), lasting)

    def boot_id(self) -> str:
        return (self.proc / "sys/kernel/random/boot_id").read_text().strip()

    def make(self) -> None:
        """Create what is missing; only root's own directories get lost on a reboot or exist before the first job."""
        for path, mode in (
            (self.run, 0o755),
            (self.records, 0o755),
            (self.jobs, 0o755),
            (self.scratch, 0o755),
            (self.overlays, 0o755),
            (self.spool, 0o700),
            (self.orphans, 0o700),
            (self.lasting, 0o700),
        ):
            if not path.is_dir():
                path.mkdir(mode=mode, parents=True, exist_ok=True)
                os.chmod(path, mode)
