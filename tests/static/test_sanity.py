# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""`ansible-test sanity` without a single ignore file, on a copy at the path it insists on."""

from __future__ import annotations

import os
import pathlib
import re
import shutil
import subprocess
import sys

import ansible_test._internal.python_requirements as requirements  # type: ignore[import-not-found]

from tests.static.checker import ROOT, check

CACHE = ROOT / ".cache" / "sanity"
# ansible-test keeps its environments below the home directory; this one goes away with the other caches.
HOME = CACHE / "home"

PIP_FROM_WHEEL = """import sys
wheel = {wheel!r}
sys.path.insert(0, wheel)
if __name__ == "__main__":
    args = [a for a in sys.argv[1:] if a not in ("--no-setuptools", "--no-wheel") and not a.startswith("pip==")]
    from pip._internal.cli.main import main
    sys.exit(main(["install", "--no-index", "--no-deps"] + args + [wheel]))
"""


def test_no_ignore_files() -> None:
    assert not list(ROOT.glob("tests/sanity/ignore-*"))


def test_ansible_test_sanity(tmp_path: pathlib.Path) -> None:
    # Outside the checkout: below it, everything would count as ignored by git, and all tests would be skipped as passed.
    copy = tmp_path / "ansible_collections" / "hpc" / "virtual_cluster"
    copy_tree(copy)
    seed_pip()
    said = check("ansible-test", "sanity", "--color", "no", cwd=copy, HOME=str(HOME))
    assert 'Running sanity test "validate-modules"' in said, said


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


def seed_pip() -> None:
    """Put a stub where ansible-test looks for get-pip, so that pip comes from the package index and from nowhere else."""
    found = re.search(r"pip='([0-9.]+)'", pathlib.Path(requirements.__file__).read_text(encoding="utf-8"))
    assert found, "this ansible-core no longer says which pip it wants; look into seed_pip"
    version = found.group(1)
    cache = HOME / ".ansible" / "test" / "cache"
    wheel = cache / "wheels" / f"pip-{version}-py3-none-any.whl"
    if not wheel.exists():
        check(sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", str(wheel.parent), f"pip=={version}")
    stub = cache / f"get_pip_{version.replace('.', '_')}.py"
    stub.write_text(PIP_FROM_WHEEL.format(wheel=str(wheel)), encoding="utf-8")
    # The user's package index settings stay in force below the other home directory.
    settings = pathlib.Path(os.environ["HOME"]) / ".config" / "pip"
    link = HOME / ".config" / "pip"
    if settings.is_dir() and not link.is_symlink():
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(settings)
