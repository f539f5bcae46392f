# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Benchmarks can still be run: each goes its whole way here, without hosts and daemons.  What they measure no test holds."""

from __future__ import annotations

import pathlib
import types
from collections.abc import Mapping, Sequence

import pytest
from vclab import rootfs

import benchmarks.__main__ as bench
from benchmarks import converge, inventory, partitions, tunnels
from benchmarks.measure import Contender
from tests.static.checker import COLLECTIONS, ROOT, check

PLAYS = ROOT / "benchmarks" / "plays"
# What a run that did it, and found nothing to change, says.
SAID = "ok=1 changed=0"


class Room:
    """Where every command says that there is one of whatever was asked for."""

    asked: set[str]

    def __init__(self, _rootfs: pathlib.Path, _area: pathlib.Path) -> None:
        pass

    def __enter__(self) -> Room:
        return self

    def __exit__(self, *_error: object) -> None:
        pass

    def run(self, *_command: str, **_variables: str) -> str:
        return "one"

    def daemon(self, *_command: str) -> None:
        pass

    def until(self, *_command: str) -> None:
        pass

    def write(self, _path: str, _text: str, _mode: int = 0o644) -> None:
        pass

    def play(self, name: str, _given: Mapping[str, object]) -> str:
        self.asked.add(name)
        return SAID


def once(contenders: Sequence[Contender], _rounds: int) -> dict[str, float]:
    for contender in contenders:
        contender.before()
        contender.timed()
        contender.after()
    return {contender.name: place for place, contender in enumerate(contenders, 1)}


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> set[str]:
    """The plays that are asked for on the way.  The inventories are real ones, of the smallest size."""
    found: set[str] = set()

    def run(argv: Sequence[str], _variables: Mapping[str, str] | None = None) -> str:
        found.update(path.stem for path in map(pathlib.Path, argv) if path.suffix == ".yml")
        return SAID

    monkeypatch.setattr(Room, "asked", found, raising=False)
    monkeypatch.setattr(bench, "Room", Room)
    monkeypatch.setattr(rootfs, "rootfs", lambda _release: tmp_path)
    monkeypatch.setattr(partitions, "run", run)
    monkeypatch.setattr(partitions, "on", lambda *_words, **_more: "1")
    monkeypatch.setattr(partitions, "attempt", lambda *_words, **_more: types.SimpleNamespace(stdout="0x7fff"))
    monkeypatch.setattr(tunnels, "SIZES", (1,))
    monkeypatch.setattr(inventory, "SIZES", (inventory.COMPUTES + 1,))
    for module in (converge, inventory, partitions, tunnels):
        monkeypatch.setattr(module, "race", once)
    for name, measure in bench.BENCHMARKS.items():
        (tmp_path / name).mkdir()
        assert len(measure(tmp_path / name).lines()) > 3
    return found


def test_every_benchmark_goes_its_way_with_the_plays_that_are_there(asked: set[str]) -> None:
    assert asked == {path.stem for path in PLAYS.glob("*.yml")}


def test_their_plays_are_understood(tmp_path: pathlib.Path) -> None:
    # Of the collection that is measured against only the name; `make bench` gets it.
    other = tmp_path / "ansible_collections" / "community" / "libvirt" / "plugins" / "modules" / "virt.py"
    other.parent.mkdir(parents=True)
    other.touch()
    plays = sorted(map(str, PLAYS.glob("*.yml")))
    said = check("ansible-playbook", "--syntax-check", "-i", "head,", *plays, ANSIBLE_COLLECTIONS_PATH=f"{COLLECTIONS}:{tmp_path}")
    assert said.count("playbook: ") == len(plays)
