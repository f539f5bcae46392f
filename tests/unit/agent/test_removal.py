# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Root takes files out of directories in which a tenant has prepared traps."""

from __future__ import annotations

import errno
import os
import socket
import time
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.agent import removal

from tests.unit.agent.hosts import USER, as_user


def gone(directory: Path, trash: Path, seconds: float = 30.0) -> bool:
    removal.discard(directory, trash)
    assert not directory.exists()
    return removal.empty(trash, seconds)


def test_everything_goes_but_what_links_point_at(tmp_path: Path) -> None:
    treasure = tmp_path / "treasure"
    treasure.mkdir()
    (treasure / "gold").write_text("mine")
    job = tmp_path / "job"
    (job / "sub" / "subsub").mkdir(parents=True)
    (job / "link").symlink_to(treasure)
    (job / "sub" / "up").symlink_to("../..")
    os.link(treasure / "gold", job / "hard")
    os.mkfifo(job / "fifo")
    (job / "locked").mkdir(mode=0o000)
    assert gone(job, tmp_path / "trash")
    assert (treasure / "gold").read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["treasure"]


def test_a_tree_deeper_than_any_path(tmp_path: Path) -> None:
    job = tmp_path / "job"
    job.mkdir()
    handle = os.open(job, os.O_RDONLY)
    for _level in range(1200):
        os.mkdir("deep", dir_fd=handle)
        below = os.open("deep", os.O_RDONLY, dir_fd=handle)
        os.close(handle)
        handle = below
    os.close(handle)
    assert gone(job, tmp_path / "trash")


def test_a_huge_tree_is_left_for_later_in_time(tmp_path: Path) -> None:
    job = tmp_path / "job"
    job.mkdir()
    for number in range(3000):
        (job / str(number)).touch()
    begun = time.monotonic()
    assert not gone(job, tmp_path / "trash", 0.005)
    assert time.monotonic() - begun < 2
    assert removal.empty(tmp_path / "trash", 60)
    assert not (tmp_path / "trash").exists()


def test_nothing_to_remove_is_no_error(tmp_path: Path) -> None:
    assert gone(tmp_path / "absent", tmp_path / "trash")
    assert removal.empty(tmp_path / "never", 1)


def test_a_file_is_taken_and_is_roots(tmp_path: Path) -> None:
    job = tmp_path / "job"
    job.mkdir()
    (job / "disk").write_text("data")
    as_user(job / "disk")
    os.chmod(job / "disk", 0o666)
    assert removal.take_file(job, "disk", USER, tmp_path / "taken") == ""
    status = (tmp_path / "taken").stat()
    assert (status.st_uid, status.st_mode & 0o777) == (0 if os.getuid() == 0 else USER, 0o600)
    assert removal.take_file(job, "disk", USER, tmp_path / "again") == "missing"


@pytest.mark.parametrize("trap", ["symlink", "fifo", "directory", "socket"])
def test_what_is_no_file_stays_where_it_is(tmp_path: Path, trap: str) -> None:
    job, victim = tmp_path / "job", tmp_path / "victim"
    job.mkdir()
    victim.write_text("secret")
    if trap == "symlink":
        (job / "disk").symlink_to(victim)
    elif trap == "fifo":
        os.mkfifo(job / "disk")
    elif trap == "directory":
        (job / "disk").mkdir()
    else:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(job / "disk"))
    assert removal.take_file(job, "disk", USER, tmp_path / "taken") == "it is not a regular file"
    assert not (tmp_path / "taken").exists()
    assert victim.read_text() == "secret"


def test_a_file_of_somebody_else_is_taken_but_not_trusted(tmp_path: Path) -> None:
    job = tmp_path / "job"
    job.mkdir()
    (job / "disk").write_text("of somebody else")
    assert "belongs to uid" in removal.take_file(job, "disk", os.getuid() + 1, tmp_path / "taken")
    assert (tmp_path / "taken").read_text() == "of somebody else"


@pytest.mark.parametrize("error", [errno.EIO, errno.ENFILE, errno.ENOMEM, errno.EACCES, errno.ENOTCONN])
@pytest.mark.parametrize("name", ["job", "disk"])
def test_what_cannot_be_opened_is_not_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, error: int) -> None:
    job = tmp_path / "job"
    job.mkdir()
    (job / "disk").write_text("data")
    as_user(job / "disk")
    original = os.open

    def fail(path: Any, *arguments: Any, **keywords: Any) -> int:
        if Path(path).name == name:
            raise OSError(error, os.strerror(error))
        return original(path, *arguments, **keywords)

    monkeypatch.setattr(os, "open", fail)
    with pytest.raises(OSError, match=os.strerror(error)):
        removal.take_file(job, "disk", USER, tmp_path / "taken")
    monkeypatch.undo()
    assert (job / "disk").read_text() == "data"


def test_a_directory_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "disk").write_text("x")
    as_user(tmp_path / "real" / "disk")
    (tmp_path / "job").symlink_to(tmp_path / "real")
    with pytest.raises(NotADirectoryError):
        removal.take_file(tmp_path / "job", "disk", USER, tmp_path / "taken")
    assert not (tmp_path / "taken").exists()


def test_a_file_with_a_second_name_is_taken_but_not_trusted(tmp_path: Path) -> None:
    job = tmp_path / "job"
    job.mkdir()
    (job / "disk").write_text("data")
    as_user(job / "disk")
    os.link(job / "disk", tmp_path / "other name")
    assert "2 names" in removal.take_file(job, "disk", USER, tmp_path / "taken")
    assert (tmp_path / "taken").exists()
