# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The linters, each as one test, so that one report and one exit status hold for all."""

from __future__ import annotations

import pathlib
import subprocess

from tests.static.checker import COLLECTIONS, ROOT, check

MODULE_UTILS = "ansible_collections.hpc.virtual_cluster.plugins.module_utils"


def test_ruff_check() -> None:
    check("ruff", "check", "--no-cache", ".")


def test_ruff_format() -> None:
    check("ruff", "format", "--no-cache", "--check", ".")


def test_mypy_module_utils() -> None:
    check("mypy", "-p", MODULE_UTILS, MYPYPATH=str(COLLECTIONS))


def test_what_runs_on_targets_needs_no_newer_python_than_they_have() -> None:
    """Also of the standard library; mypy no longer knows 3.9."""
    check("vermin", "-t=3.9-", "--violations", "--no-tips", "--eval-annotations", "plugins/modules", "plugins/module_utils")


def test_yamllint() -> None:
    check("yamllint", "--strict", ".")


def test_ansible_lint() -> None:
    check("ansible-lint", "--offline", "--strict", "-q", "--nocolor", ANSIBLE_COLLECTIONS_PATH=str(COLLECTIONS))


def test_changelog_fragments() -> None:
    check("antsibull-changelog", "lint")


def test_shell_scripts() -> None:
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")
    scripts = [name for name in tracked if name and is_shell(ROOT / name)]
    if scripts:
        check("shellcheck", "--severity=warning", *scripts)


def is_shell(path: pathlib.Path) -> bool:
    if path.is_symlink() or not path.is_file():
        return False
    with path.open("rb") as stream:
        first = stream.readline(80)
    return first.startswith(b"#!") and first.rstrip().endswith((b"/sh", b"/bash", b"env bash", b"sh -eu"))
