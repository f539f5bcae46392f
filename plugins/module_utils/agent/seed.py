# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Puts a compute's cloud-init seed where its QEMU, a process of the job's user, can read it."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from pathlib import Path

from ..cloudinit.seed import write_seed
from ..model.cluster import Cluster, Node
from ..model.errors import VcError
from .places import Places
from .record import JobRecord, Records


def seed_name(node: str) -> str:
    """Its file name in the job's scratch directory."""
    return f"{node}.seed.iso"


def put_seed(places: Places, job: JobRecord, cluster: Cluster, node: Node) -> None:
    """Write the seed, root's and read-only.

    It is made in a directory of root's own and then copied by file descriptor: the user can put anything under its name into his directory,
    also while we write, so nothing there is opened that already exists.
    """
    with tempfile.TemporaryDirectory(dir=Records(places).directory(job)) as private:
        made = Path(private) / "seed.iso"
        write_seed(str(made), cluster.to_dict(), node.name)
        try:
            directory = os.open(places.overlay_directory(job.job_id), os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        except OSError as error:
            remedy = "start the nodes anew"
            raise VcError("backend", f"{cluster.name}/{node.name}", "writing its seed", error.strerror or "", remedy) from None
        try:
            _copy(made, directory, seed_name(node.name))
        except OSError as error:
            remedy = "leave the job's scratch directory alone while it starts, and see that it has space"
            raise VcError("backend", f"{cluster.name}/{node.name}", "writing its seed", error.strerror or "", remedy) from None
        finally:
            os.close(directory)


def _copy(source: Path, directory: int, name: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(name, dir_fd=directory)
    handle = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o400, dir_fd=directory)
    with os.fdopen(handle, "wb") as copy, open(source, "rb") as original:
        shutil.copyfileobj(original, copy)
        # Only its user can enter the directory.
        os.fchmod(copy.fileno(), 0o444)
