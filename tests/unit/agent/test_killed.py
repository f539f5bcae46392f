# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""An epilog that is killed anywhere, with processes that it cannot end: whoever goes on with it, in whatever order, no overlay is lost."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.agent import epilog, prolog
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.agent.processes import JobProcesses
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.agent.spool import OVERLAY, Spool
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.command import Commands
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.model.errors import VcError

from tests.unit.agent.hosts import job, node
from tests.unit.agent.test_flush import Site
from tests.unit.refusal import refused

ENTRIES = ("vc1.compute0.3", "vc1.compute1.5")
# Every change that counts is one of these, of records, entries, overlays and directories.
STEPS = ("rename", "unlink")


class Killed(BaseException):
    """SIGKILL: nothing that the program would do afterwards is done."""


class Host(Site):
    """A host with two persistent nodes, whose processes end when the proof says so."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__(root, monkeypatch)
        self.alive = [4711]
        monkeypatch.setattr(JobProcesses, "kill_all", lambda *_arguments: list(self.alive))
        self.run(node(), node("compute1", epoch=5))

    def flush_all(self) -> None:
        """Every unit that is due, as any other job's epilog starts them."""
        for name in self.spool.pending():
            with contextlib.suppress(VcError):
                self.give_back(name)

    def settle(self) -> None:
        with contextlib.suppress(VcError):
            epilog.settle(self.places, Commands(), self.journal, 7)

    def check(self) -> None:
        """Both nodes' changes are there, the vault knows of them, and nothing else is left."""
        assert {name: (self.places.spool / name / OVERLAY).read_text() for name in self.spool.names()} == dict.fromkeys(ENTRIES, "changes")
        assert {(entry.outcome, entry.released) for entry in self.spool.entries()} == {("kept", True)}
        told = [args["nodes"] for _verb, args in self.vault.asked]
        assert {name for nodes in told for name in nodes} == {"compute0", "compute1"}
        assert {answer["outcome"] for nodes in told for answer in nodes.values()} == {"kept"}
        assert not self.places.overlay_directory(7).exists()


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    return Host(tmp_path, monkeypatch)


def kill_at(monkeypatch: pytest.MonkeyPatch, step: int, after: bool) -> Callable[[], bool]:
    """Die at this change, before or after it; tells whether it came to that."""
    made = 0

    def counted(original: Callable[..., Any]) -> Callable[..., Any]:
        def change(*arguments: Any, **keywords: Any) -> None:
            nonlocal made
            made += 1
            if made > step or (made == step and not after):
                raise Killed
            original(*arguments, **keywords)
            if made == step:
                raise Killed

        return change

    for name in STEPS:
        monkeypatch.setattr(os, name, counted(getattr(os, name)))
    return lambda: made >= step


def go_on(host: Host, order: str) -> None:
    """The rest of the site's life: other jobs' epilogs, the timer, a recovery."""
    for what in order.split(", "):
        if what == "flush":
            host.flush_all()
        elif what == "reap":
            host.settle()
        elif what == "recover":
            host.recover()
        else:
            host.alive = []


@pytest.mark.parametrize("order", ["die, flush, reap, flush", "flush, reap, die, flush", "die, reap, flush", "die, recover, flush"])
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_an_epilog_killed_anywhere_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, order: str, after: bool) -> None:
    for step in range(1, 40):
        with monkeypatch.context() as patched:
            host = Host(tmp_path / str(step), patched)
            with patched.context() as deadly, contextlib.suppress(Killed):
                reached = kill_at(deadly, step, after)
                epilog.settle(host.places, Commands(), host.journal, 7)
            go_on(host, f"{order}, reap, recover, flush")
            host.check()
        if not reached():
            break
    assert 8 < step < 39


def test_a_full_disk_between_two_nodes_loses_neither(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as full:
        admit = Spool.admit

        def admit_one(spool: Spool, record: Any, tap: str, unclean: bool) -> Any:
            if record.node == "compute1":
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return admit(spool, record, tap, unclean)

        full.setattr(Spool, "admit", admit_one)
        refused("backend", epilog.settle, host.places, Commands(), host.journal, 7)
        go_on(host, "reap, flush, die, flush")
    go_on(host, "recover, flush")
    host.check()


def test_the_jobs_next_run_waits_until_all_is_put_away(host: Host) -> None:
    host.settle()
    refused("in_use", prolog.check_leftovers, host.places, 7)
    go_on(host, "die, flush")
    prolog.check_leftovers(host.places, 7)
    host.check()


def test_a_note_that_cannot_be_read_holds_up_the_next_run(host: Host) -> None:
    go_on(host, "die, reap")
    (host.places.lasting / "7.0.compute0.json").write_text("{")
    refused("in_use", prolog.check_leftovers, host.places, 7)


def test_a_directory_of_the_jobs_next_run_is_not_the_last_ones(host: Host) -> None:
    host.settle()
    host.alive = []
    host.records.add(job())
    host.flush_all()
    assert host.places.overlay_directory(7).exists()
