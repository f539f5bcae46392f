# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the roles unpack on hosts: complete, importable without Ansible, and the same bytes every time."""

from __future__ import annotations

import io
import os
import stat
import subprocess
import tarfile
from pathlib import Path

import pytest
from ansible.errors import AnsibleLookupError
from ansible_collections.hpc.virtual_cluster.plugins.lookup import agent_archive

MODULE_UTILS = Path(agent_archive.__file__).resolve().parent.parent / "module_utils"


def members(content: bytes) -> dict[str, tarfile.TarInfo]:
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        return {member.name: member for member in archive.getmembers()}


def test_the_same_collection_makes_the_same_bytes(tmp_path: Path) -> None:
    first = agent_archive.package_files(MODULE_UTILS)
    copy = tmp_path / "copy"
    for path in sorted(MODULE_UTILS.rglob("*.py"), reverse=True):
        target = copy / path.relative_to(MODULE_UTILS)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
        os.utime(target, (1, 1))
    assert agent_archive.package_files(copy) == first
    assert agent_archive.host_tar(first, ["vc-host", "vc-flush"], "/usr/bin/python3", []) == agent_archive.host_tar(
        first, ["vc-flush", "vc-host", "vc-host"], "/usr/bin/python3", []
    )


def test_the_package_has_all_but_the_glue_to_ansible() -> None:
    names = set(agent_archive.package_files(MODULE_UTILS))
    assert "virtual_cluster/__init__.py" in names
    assert "virtual_cluster/model/errors.py" in names
    assert not [name for name in names if "module_runner" in name or "__pycache__" in name]


@pytest.mark.parametrize("program", sorted(agent_archive.PROGRAMS))
def test_programs_start_with_the_systems_python_alone(program: str, tmp_path: Path) -> None:
    package = agent_archive.package_files(MODULE_UTILS)
    with tarfile.open(fileobj=io.BytesIO(agent_archive.host_tar(package, [program], "/usr/bin/python3", []))) as archive:
        archive.extractall(tmp_path)
    place = tmp_path / agent_archive.HOME / agent_archive.release_of(package)
    launcher = (tmp_path / agent_archive.HOME / "bin" / program).read_text()
    assert f'"/{place.relative_to(tmp_path)}"' in launcher
    code = f"import sys; sys.path.insert(0, {str(place)!r}); from virtual_cluster.{agent_archive.PROGRAMS[program]} import main; main"
    done = subprocess.run(["/usr/bin/python3", "-I", "-c", code], capture_output=True, text=True, check=False, cwd="/")
    assert done.returncode == 0, done.stderr


def test_places_and_permissions() -> None:
    files = [agent_archive.checked({"path": "/etc/x/y.conf", "content": "z\n", "mode": "0600"})]
    package = {"virtual_cluster/__init__.py": b"", "virtual_cluster/model/names.py": b"x = 1\n"}
    found = members(agent_archive.host_tar(package, ["vc-vault"], "/usr/bin/python3", files))
    release = f"usr/lib/hpc-virtual-cluster/{agent_archive.release_of(package)}"
    # Nobody starts what is not there yet.
    assert list(found).index(f"{release}/virtual_cluster/model/names.py") < list(found).index("usr/lib/hpc-virtual-cluster/bin/vc-vault")
    modes = {name: stat.filemode(member.mode) for name, member in found.items()}
    assert modes == {
        "etc/hpc-virtual-cluster": "?rwxr-xr-x",
        "usr/lib/hpc-virtual-cluster": "?rwxr-xr-x",
        "usr/lib/hpc-virtual-cluster/bin": "?rwxr-xr-x",
        release: "?rwxr-xr-x",
        f"{release}/virtual_cluster": "?rwxr-xr-x",
        f"{release}/virtual_cluster/__init__.py": "?rw-r--r--",
        f"{release}/virtual_cluster/model": "?rwxr-xr-x",
        f"{release}/virtual_cluster/model/names.py": "?rw-r--r--",
        "usr/lib/hpc-virtual-cluster/bin/vc-vault": "?rwxr-xr-x",
        "etc/x/y.conf": "?rw-------",
    }
    assert {(member.uname, member.uid, member.mtime) for member in found.values()} == {("root", 0, agent_archive.TAR_TIME)}


def test_files_alone_bring_no_package() -> None:
    assert list(members(agent_archive.host_tar({}, [], "/usr/bin/python3", [("/etc/a", 0o644, "b")]))) == ["etc/a"]


@pytest.mark.parametrize(
    "item",
    [
        {"path": "etc/a", "content": ""},
        {"path": "/etc/../a", "content": ""},
        {"path": "/a"},
        {"path": "/a", "content": "", "mode": "x"},
        "/a",
    ],
)
def test_bad_files_are_refused(item: object) -> None:
    with pytest.raises(AnsibleLookupError, match="agent_archive"):
        agent_archive.checked(item)
