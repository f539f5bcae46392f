# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The partition file on disk: one writer at a time, foreign lines as they are at that moment, a link stays a link."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.fabric import document, partition_file
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.fabric.document import Partition
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.fabric.partition_file import PartitionFile
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.model.errors import VcError

from tests.unit.fabric.samples import ONE
from tests.unit.refusal import refused

DEFAULT = b"Default=0x7fff : SELF=full ; # caf\xc3\xa9\n"
VC1 = Partition("vc1", "0x0001", (ONE,))


@pytest.fixture(name="path")
def partitions_conf(tmp_path: Path) -> Path:
    path = tmp_path / "partitions.conf"
    path.write_bytes(DEFAULT)
    path.chmod(0o640)
    return path


def test_a_second_run_waits_for_the_first(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(partition_file, "LOCK_SECONDS", 0.1)
    with PartitionFile(str(path)).locked():
        with pytest.raises(VcError) as caught, PartitionFile(str(path)).locked():
            pass
        assert caught.value.code == "timeout"
    with PartitionFile(str(path)).locked():
        assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def test_foreign_lines_are_those_of_the_moment_of_writing(path: Path) -> None:
    file = PartitionFile(str(path))
    assert file.read().partitions == {}
    path.write_bytes(DEFAULT + b"# an admin came by\n")
    file.put({"vc1": VC1})
    assert path.read_bytes() == DEFAULT + b"# an admin came by\n" + document.render_block({"vc1": VC1}).encode()
    assert path.stat().st_mode & 0o777 == 0o640
    file.put({})
    assert path.read_bytes() == DEFAULT + b"# an admin came by\n"
    assert os.listdir(path.parent) == [path.name]


def test_a_link_stays_a_link(path: Path) -> None:
    link = path.with_name("link.conf")
    link.symlink_to(path.name)
    PartitionFile(str(link)).put({"vc1": VC1})
    assert link.is_symlink()
    assert PartitionFile(str(path)).read().partitions == {"vc1": VC1}


def test_nothing_is_written_into_what_opensm_would_not_read(path: Path) -> None:
    file = PartitionFile(str(path))
    path.write_bytes(DEFAULT + b"rubbish\n")
    refused("invalid", file.put, {"vc1": VC1})
    assert path.read_bytes() == DEFAULT + b"rubbish\n"


def test_what_was_good_is_noted_and_forgotten(path: Path) -> None:
    file = PartitionFile(str(path))
    assert file.good() is None
    file.remember({})
    assert file.good() == {}
    file.remember({"vc1": VC1})
    assert file.good() == {"vc1": VC1}
    file.forget()
    assert file.good() is None
    path.with_name(f"{path.name}.last-good").write_text("rubbish\n")
    refused("invalid", file.good)


def test_without_a_file_or_its_directory_the_role_is_named(path: Path) -> None:
    error = refused("unknown", PartitionFile(str(path.with_name("nosuch"))).read)
    assert "role opensm" in error.remedy
    with pytest.raises(VcError) as caught, PartitionFile(str(path / "nosuch")).locked():
        pass
    assert caught.value.code == "unknown"


def test_a_path_that_starts_nowhere_is_refused() -> None:
    for path in ("partitions.conf", "../../../etc/passwd"):
        assert refused("invalid", PartitionFile, path).item == "path"
