# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What ended nodes leave behind, whatever their users did to it and wherever root was interrupted."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.agent import removal
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.agent import spool as module
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.agent.spool import OVERLAY, Entry, Spool, entry_name

from tests.unit.agent.hosts import as_user, node, overlay_directory, places
from tests.unit.hostile import HOSTILE
from tests.unit.refusal import refused


def admitted(root: Path, content: str = "changes") -> tuple[Spool, Entry]:
    where = places(root)
    (overlay_directory(where) / "compute0.qcow2").write_text(content)
    as_user(where.overlay_directory(7) / "compute0.qcow2")
    spool = Spool(where)
    return spool, spool.admit(node(), tap="", unclean=False)


def test_a_persistent_overlay_moves_in(tmp_path: Path) -> None:
    spool, entry = admitted(tmp_path)
    assert entry.outcome == "kept"
    assert (tmp_path / "scratch/spool/vc1.compute0.3" / OVERLAY).read_text() == "changes"
    assert spool.read(entry.name) == entry


def test_admitting_again_changes_nothing(tmp_path: Path) -> None:
    spool, entry = admitted(tmp_path)
    assert spool.admit(node(), tap="", unclean=False) == entry
    assert (tmp_path / "scratch/spool/vc1.compute0.3" / OVERLAY).read_text() == "changes"


def test_killed_between_the_overlay_and_its_description(tmp_path: Path) -> None:
    spool, entry = admitted(tmp_path)
    (tmp_path / "scratch/spool" / entry.name / "meta.json").unlink()
    refused("unknown", spool.read, entry.name)
    assert spool.admit(node(), tap="", unclean=False) == entry


def test_jobs_that_never_learned_their_epoch_have_an_entry_each(tmp_path: Path) -> None:
    spool = Spool(places(tmp_path))
    entries = [spool.admit(node(job_id=job, epoch=0, persistent=False), tap="", unclean=False) for job in (7, 8)]
    assert spool.entries() == entries
    assert spool.names() == [entry_name(entry.name) for entry in entries] == ["vc1.compute0.0.7.0", "vc1.compute0.0.8.0"]


def test_an_ephemeral_overlay_is_dropped(tmp_path: Path) -> None:
    where = places(tmp_path)
    (overlay_directory(where) / "compute0.qcow2").write_text("x")
    entry = Spool(where).admit(node(persistent=False), tap="", unclean=False)
    assert entry.outcome == "discarded"
    assert not (where.spool / entry.name / OVERLAY).exists()


def test_a_guest_that_never_started_leaves_nothing_to_bring_home(tmp_path: Path) -> None:
    where = places(tmp_path)
    overlay_directory(where)
    entry = Spool(where).admit(node(), tap="", unclean=False)
    assert (entry.outcome, entry.reason) == ("discarded", "")


def test_an_overlay_that_its_user_can_still_write_is_set_aside(tmp_path: Path) -> None:
    where = places(tmp_path)
    overlay = overlay_directory(where) / "compute0.qcow2"
    overlay.write_text("x")
    as_user(overlay)
    os.link(overlay, tmp_path / "second name")
    entry = Spool(where).admit(node(), tap="", unclean=False)
    assert entry.outcome == "discarded"
    assert "2 names" in entry.reason
    assert (where.orphans / entry.name / OVERLAY).exists()


def test_it_is_not_trusted_after_a_kill_either(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    where = places(tmp_path)
    overlay = overlay_directory(where) / "compute0.qcow2"
    overlay.write_text("changes")
    os.link(as_user(overlay), tmp_path / "second name")

    def kill(*_arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Spool, "_set_aside", kill)
    with pytest.raises(KeyboardInterrupt):
        Spool(where).admit(node(), "", False)
    monkeypatch.undo()
    entry = Spool(where).admit(node(), "", False)
    assert (entry.outcome, "2 names" in entry.reason) == ("discarded", True)
    assert len(list(where.orphans.iterdir())) == 1


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    where = places(tmp_path)
    (tmp_path / "shadow").write_text("secret")
    (overlay_directory(where) / "compute0.qcow2").symlink_to(tmp_path / "shadow")
    entry = Spool(where).admit(node(), tap="", unclean=False)
    assert entry.outcome == "discarded"
    assert "not a regular file" in entry.reason
    assert (tmp_path / "shadow").read_text() == "secret"


def test_a_file_that_is_not_its_users_is_set_aside(tmp_path: Path) -> None:
    where = places(tmp_path)
    (overlay_directory(where) / "compute0.qcow2").write_text("of somebody else")
    entry = Spool(where).admit(replace(node(), uid=node().uid + 1), tap="", unclean=False)
    assert entry.outcome == "discarded"
    assert "belongs to uid" in entry.reason
    assert (where.orphans / entry.name / OVERLAY).read_text() == "of somebody else"


def test_an_overlay_that_another_attempt_takes_at_this_moment_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    where = places(tmp_path)
    (overlay_directory(where) / "compute0.qcow2").write_text("changes")
    as_user(where.overlay_directory(7) / "compute0.qcow2")

    def late(*arguments: Any) -> str:
        assert removal.take_file(*arguments) == ""
        return removal.take_file(*arguments)

    monkeypatch.setattr(module, "take_file", late)
    entry = Spool(where).admit(node(), tap="", unclean=False)
    assert (entry.outcome, (where.spool / entry.name / OVERLAY).read_text()) == ("kept", "changes")


def test_while_processes_remain_the_overlay_stays(tmp_path: Path) -> None:
    where = places(tmp_path)
    overlay = overlay_directory(where) / "compute0.qcow2"
    overlay.write_text("x")
    as_user(overlay)
    spool = Spool(where)
    entry = spool.admit(node(), tap="t002711n1", unclean=True)
    assert (entry.outcome, entry.unclean, entry.tap) == ("kept", True, "t002711n1")
    assert overlay.exists()
    assert spool.admit(node(), tap="", unclean=False).unclean is False
    assert not overlay.exists()


def test_orphans_are_never_overwritten(tmp_path: Path) -> None:
    spool, entry = admitted(tmp_path)
    first = spool.orphan(entry)
    where = places(tmp_path)
    (where.overlay_directory(7) / "compute0.qcow2").write_text("other changes")
    as_user(where.overlay_directory(7) / "compute0.qcow2")
    second = spool.orphan(spool.admit(node(), tap="", unclean=False))
    assert first != second
    assert (first / OVERLAY).read_text() == "changes"
    assert (second / OVERLAY).read_text() == "other changes"


def test_released_entries_are_remembered(tmp_path: Path) -> None:
    spool, entry = admitted(tmp_path)
    spool.write(replace(entry, released=True))
    assert spool.read(entry.name).released
    spool.remove(entry)
    assert spool.names() == []


@pytest.mark.parametrize(
    "text", [*HOSTILE.values(), "vc1.compute0", "vc1.compute0.x", "vc1.compute0.1.1", "../.compute0.1", "vc1.compute0.-1"]
)
def test_entry_names_come_from_unit_names(text: str) -> None:
    refused("invalid", entry_name, text)
    assert entry_name("vc1.compute0.12") == "vc1.compute0.12"
