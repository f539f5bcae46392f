# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs a checker of this interpreter's own environment and turns what it found into a readable test failure."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys
from collections.abc import Sequence
from typing import NoReturn

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
BIN = pathlib.Path(sys.executable).parent
COLLECTIONS = ROOT / ".cache" / "collections"


def search_path() -> str:
    """PATH for checkers: our own tools, then every real Python.

    A pyenv shim answers for versions that are not active, with an error; so shims leave and the versions themselves come in.
    """
    inherited = os.environ.get("PATH", os.defpath).split(os.pathsep)
    versions = [
        str(path) for root in inherited if root.endswith("/shims") for path in sorted(pathlib.Path(root).parent.glob("versions/3.*/bin"))
    ]
    kept = [entry for entry in inherited if not entry.endswith("/shims") and entry not in versions]
    return os.pathsep.join([str(BIN), *versions, *kept])


def environment(**variables: str) -> dict[str, str]:
    """What a checker is started with, besides `variables`."""
    return {**os.environ, "PATH": search_path(), "NO_COLOR": "1", **variables}


def check(*argv: str, cwd: pathlib.Path = ROOT, **env: str) -> str:
    """Run to the end; fail the calling test with the checker's whole output unless it exits 0.  Returns all it said."""
    done = subprocess.run(argv, cwd=cwd, env=environment(**env), capture_output=True, text=True, check=False)
    if done.returncode != 0:
        fail(argv, done.returncode, done.stdout + done.stderr)
    return done.stdout + done.stderr


def fail(argv: Sequence[str], status: int, said: str) -> NoReturn:
    """Fail the calling test with the checker's whole output."""
    pytest.fail(f"{' '.join(argv)}: exit {status}\n{said}", pytrace=False)
