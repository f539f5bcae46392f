# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A scratch file system without room: what fits is put away, nothing is lost, and the rest is tried again."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.agent import epilog, record
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.agent.record import NodeRecord
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.agent.spool import OVERLAY, Entry, Spool
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.command import Commands

from tests.unit.agent.hosts import job, node
from tests.unit.agent.test_flush import Site
from tests.unit.refusal import refused


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    return Site(tmp_path, monkeypatch)


def fill(monkeypatch: pytest.MonkeyPatch, full: Callable[[NodeRecord], bool]) -> None:
    """No entry can be made while `full` says so."""
    admit = Spool.admit

    def admit_if_room(spool: Spool, what: NodeRecord, tap: str, unclean: bool) -> Entry:
        if full(what):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return admit(spool, what, tap, unclean)

    monkeypatch.setattr(Spool, "admit", admit_if_room)


def test_one_node_without_room_does_not_stop_the_others(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.run(node(), node("compute1", epoch=5))
    fill(monkeypatch, lambda what: what.node == "compute0")
    error = refused("backend", site.end)
    assert "vc1/compute0" in str(error)
    assert "No space left" in str(error)
    assert site.spool.names() == ["vc1.compute1.5"]
    assert (site.places.overlay_directory(7) / "compute0.qcow2").read_text() == "changes"
    assert [left.node for left in site.records.nodes(7)] == ["compute0"]
    assert site.records.of_job(7) == [job()]
    monkeypatch.undo()
    assert site.recover() == ["vc1.compute0.3", "vc1.compute1.5"]
    assert (site.places.spool / "vc1.compute0.3" / OVERLAY).read_text() == "changes"


def test_ephemeral_overlays_make_room_for_their_own_entries(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.run(node(persistent=False))
    fill(monkeypatch, lambda _what: (site.places.scratch / "job" / "7").exists())
    assert site.end() == ["vc1.compute0.3"]


def test_the_epilog_empties_the_trash_and_tries_again(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.run(node(persistent=False))
    fill(monkeypatch, lambda _what: any(site.places.scratch.glob("trash/*")))
    entries = epilog._settle_with_room(site.places, Commands(), site.journal, 7)
    assert [entry.name for entry in entries] == ["vc1.compute0.3"]


def test_what_found_no_room_is_put_away_when_there_is_some(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.run(node(persistent=False), boot_id="00000000-0000-0000-0000-000000000000")
    fill(monkeypatch, lambda _what: any(site.places.scratch.glob("trash/*")))
    assert site.recover() == []
    assert site.tidy() == ["vc1.compute0.3"]
    assert not list(site.places.scratch.glob("trash/*"))


def test_a_file_that_could_not_be_written_leaves_no_half(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        record.write_json(tmp_path / "meta.json", {"schema": 1}, lasting=True)
    assert list(tmp_path.iterdir()) == []
