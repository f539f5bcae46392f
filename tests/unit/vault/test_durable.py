# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files that survive a kill at any moment."""

from __future__ import annotations

import json
import os
import random
import signal
import time
from pathlib import Path

import pytest
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.vault import durable

from tests.unit.refusal import refused


def test_writing_the_same_leaves_every_byte(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    assert durable.write_json(path, {"b": 1, "a": [1]})
    before = path.stat()
    assert not durable.write_json(path, {"a": [1], "b": 1})
    after = path.stat()
    assert (before.st_mtime_ns, before.st_ino) == (after.st_mtime_ns, after.st_ino)
    assert path.stat().st_mode & 0o777 == 0o600
    assert durable.read_json(path) == {"schema": 1, "a": [1], "b": 1}


def test_reading_what_is_not_there_makes_nothing(tmp_path: Path) -> None:
    assert durable.read_json(tmp_path / "x" / "a.json") is None
    assert durable.names(tmp_path / "x") == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ('{"schema": 2}', "version"),
        ("{", "backend"),
        ("[]", "backend"),
        ("{}", "backend"),
        ('{"schema": true}', "backend"),
        ("", "backend"),
    ],
)
def test_foreign_files_are_refused(tmp_path: Path, text: str, code: str) -> None:
    path = tmp_path / "a.json"
    path.write_text(text)
    refused(code, durable.read_json, path)
    assert path.read_text() == text


def test_creating_twice(tmp_path: Path) -> None:
    assert durable.create_exclusive(tmp_path / "a", b"one")
    assert not durable.create_exclusive(tmp_path / "a", b"two")
    assert (tmp_path / "a").read_bytes() == b"one"
    assert durable.names(tmp_path) == ["a"]
    assert os.listdir(tmp_path) == ["a"]


def test_killed_at_any_moment(tmp_path: Path) -> None:
    """Forty writers, each killed in the middle: the file is always one whole version, and the next writer cleans up."""
    path = tmp_path / "a.json"
    durable.write_json(path, {"fill": ["start"] * 5000})
    choose = random.Random(1)
    for round_number in range(40):
        child = os.fork()
        if child == 0:
            try:
                while True:
                    for version in range(1000):
                        durable.write_json(path, {"fill": [f"{round_number}.{version}"] * 5000})
            finally:
                os._exit(1)
        time.sleep(choose.uniform(0.001, 0.02))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        data = durable.read_json(path)
        assert data is not None
        assert len(set(data["fill"])) == 1
        assert len(data["fill"]) == 5000
    durable.sweep(tmp_path)
    assert os.listdir(tmp_path) == ["a.json"]
    json.loads(path.read_text())


def test_lock_keeps_others_out_and_leaves_nothing(tmp_path: Path) -> None:
    with durable.locked(tmp_path, "vc1"):
        refused("timeout", _take, tmp_path)
    _take(tmp_path)
    assert os.listdir(tmp_path) == []
    refused("backend", _take, tmp_path / "missing")


def test_lock_of_a_killed_writer_is_free(tmp_path: Path) -> None:
    ready, tell = os.pipe()
    child = os.fork()
    if child == 0:
        with durable.locked(tmp_path, "vc1"):
            os.write(tell, b"x")
            time.sleep(60)
        os._exit(0)
    os.read(ready, 1)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    _take(tmp_path)


def _take(path: Path) -> None:
    with durable.locked(path, "vc1", timeout=0.2):
        pass
