# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Copies of the work tree: all that a commit of it would hold, and what would be released of that."""

from __future__ import annotations

import pathlib
import shutil
import subprocess

from tests.static.checker import ROOT, check


def copy_tree(copy: pathlib.Path) -> None:
    """What a commit of the work tree would hold, without history: a link is refused by ansible-test."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    for name in filter(None, listed.stdout.split("\0")):
        source, target = ROOT / name, copy / name
        if source.is_file() or source.is_symlink():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target, follow_symlinks=False)


def build_artifact(directory: pathlib.Path) -> pathlib.Path:
    """The file that would be released of the work tree, in this directory."""
    copy_tree(directory / "collection")
    check("ansible-galaxy", "collection", "build", str(directory / "collection"), "--output-path", str(directory))
    (built,) = directory.glob("*.tar.gz")
    return built
