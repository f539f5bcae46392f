# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests whose real mounts and devices are to be nobody else's: a program in name spaces of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

# Where tests count, they run as root, and one that is skipped has failed.
needs_root = pytest.mark.skipif(os.getuid() != 0, reason="only root can mount, make devices and act for several users")


def run_apart(program: str, root: Path, *spaces: str) -> None:
    """Run a program of asserts, whose argument is `root`, behind ``unshare`` with these options."""
    argv = ["unshare", *spaces, sys.executable, "-c", program, str(root)]
    done = subprocess.run(
        argv, capture_output=True, text=True, timeout=60, check=False, env={**os.environ, "PYTHONPATH": ":".join(sys.path)}
    )
    assert done.returncode == 0, done.stderr
