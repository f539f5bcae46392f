# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Artifacts built once: keyed by the hash of their recipe, complete or absent (built aside, then renamed)."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from .process import run


def recipe_key(recipe: str) -> str:
    return hashlib.sha256(recipe.encode()).hexdigest()[:12]


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock; a second builder waits and then finds the artifact."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def artifact(directory: Path, name: str, recipe: str, build: Callable[[Path], None], suffix: str = "") -> Path:
    """The artifact of this recipe, built by ``build(path)`` when it is not there; older ones, when unused, are removed."""
    wanted = directory / f"{name}-{recipe_key(recipe)}{suffix}"
    if wanted.exists():
        return wanted
    with locked(directory / f".{name}.lock"):
        if wanted.exists():
            return wanted
        aside = directory / f".{name}.building.{os.getpid()}{suffix}"
        started = time.monotonic()
        print(f"building {name} (once) ...", flush=True)
        try:
            build(aside)
            os.rename(aside, wanted)
        except BaseException:
            remove(aside)
            raise
        print(f"built {name} in {time.monotonic() - started:.0f} s", flush=True)
        mounts = Path("/proc/self/mounts").read_text()
        for old in [*directory.glob(f"{name}-*{suffix}"), *directory.glob(f".{name}.building.*")]:
            if old != wanted and str(old) not in mounts:
                remove(old)
    return wanted


def remove(path: Path) -> None:
    """Remove a file or a whole root file system, but never through a mount point."""
    if path.is_dir() and not path.is_symlink():
        for line in Path("/proc/self/mounts").read_text().splitlines():
            if line.split()[1].startswith(f"{path}/"):
                run(["umount", "-l", line.split()[1]], check=False)
        shutil.rmtree(path, ignore_errors=True)
    elif path.exists():
        path.unlink()


def publish(path: Path, name: str) -> Path:
    """Give the artifact a second ``name`` beside it, so that others need not know its key.  No symbolic link: the vault follows none."""
    known = path.parent / name
    if known.is_symlink() or not known.exists() or not known.samefile(path):
        aside = path.parent / f".{name}.{os.getpid()}"
        os.link(path, aside)
        os.replace(aside, known)
    return known
