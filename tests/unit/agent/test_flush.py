# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The vault learns how every node ended: once, late, or never, and nothing that had to go home is lost."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Optional

import pytest
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.agent import epilog, flush
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.agent.journal import Journal
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.agent.places import Places
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.agent.processes import JobProcesses
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.agent.record import NodeRecord, Records
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.agent.spool import OVERLAY, Spool
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.command import Commands
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.model.errors import CODES, VcError

from tests.unit.agent.hosts import BOOT, as_user, job, node, overlay_directory, places
from tests.unit.agent.vaults import Vault
from tests.unit.refusal import refused

_STALE = VcError("stale_epoch", "vc1/compute0", "releasing it", "epoch 3 is over", "keep the data as an orphan")
_AWAY = VcError("unreachable", "vault", "asking", "away", "wait")


class Site:
    """A host on which job 7 has run."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.places = places(root)
        self.records = Records(self.places)
        self.spool = Spool(self.places)
        self.vault = Vault()
        self.detached: list[str] = []
        self.broken_switch = False
        self.journal = Journal("test")
        monkeypatch.setattr(epilog, "detach", self._detach)
        monkeypatch.setattr(flush, "detach", self._detach)

    def _detach(self, _commands: Commands, taps: list[str]) -> None:
        if self.broken_switch:
            raise VcError("backend", "vcb10001", "detaching", "no switch", "start it")
        self.detached += taps

    def run(self, *nodes: NodeRecord, boot_id: str = BOOT) -> None:
        self.records.add(replace(job(), boot_id=boot_id))
        self.places.job_directory(7).mkdir()
        directory = overlay_directory(self.places)
        for record in nodes:
            self.records.add_node(replace(record, boot_id=boot_id))
            (directory / record.overlay).write_text("changes")
            as_user(directory / record.overlay)

    def end(self) -> list[str]:
        return [entry.name for entry in epilog.settle(self.places, Commands(), self.journal, 7)]

    def give_back(self, name: str = "vc1.compute0.3") -> None:
        flush.Flush(self.places, Commands(), self.vault, self.journal).give_back(name)

    def an_age_passes(self, name: str) -> None:
        os.utime(self.places.spool / name / "meta.json", (0, time.time() - flush._IN_FLIGHT_SECONDS - 1))

    def recover(self) -> list[str]:
        return flush.Flush(self.places, Commands(), self.vault, self.journal).recover()

    def tidy(self) -> list[str]:
        return flush.Flush(self.places, Commands(), self.vault, self.journal).tidy()

    def left(self, root: Optional[Path] = None) -> list[str]:
        return sorted(
            str(path.relative_to(self.places.run.parent)) for path in (root or self.places.run.parent).rglob("*") if not path.is_dir()
        )


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    return Site(tmp_path, monkeypatch)


def test_an_ephemeral_node_leaves_nothing(site: Site) -> None:
    site.run(node(persistent=False, tap="t002711n1"))
    assert site.end() == ["vc1.compute0.3"]
    assert site.detached == ["t002711n1"]
    site.give_back()
    assert site.vault.asked == [("release", {"cluster": "vc1", "nodes": {"compute0": {"epoch": 3, "outcome": "discarded"}}})]
    assert epilog.empty_trash(site.places, 10)
    assert site.left() == []


def test_a_persistent_node_keeps_its_overlay_until_it_is_home(site: Site) -> None:
    site.run(node())
    site.end()
    site.give_back()
    site.give_back()
    assert [args["nodes"]["compute0"]["outcome"] for _verb, args in site.vault.asked] == ["kept"]
    assert (site.places.spool / "vc1.compute0.3" / OVERLAY).read_text() == "changes"
    assert site.recover() == []


def test_ending_a_job_twice_is_harmless(site: Site) -> None:
    site.run(node())
    assert site.end() == ["vc1.compute0.3"]
    assert site.end() == []
    assert site.spool.names() == ["vc1.compute0.3"]


def test_a_stale_epoch_makes_an_orphan(site: Site) -> None:
    site.run(node())
    site.end()
    site.vault.refusing["release"] = _STALE
    site.give_back()
    assert site.spool.names() == []
    assert (site.places.orphans / "vc1.compute0.3" / OVERLAY).read_text() == "changes"


def test_a_stale_epoch_with_nothing_to_lose_is_forgotten(site: Site) -> None:
    site.run(node(persistent=False))
    site.end()
    site.vault.refusing["release"] = _STALE
    site.give_back()
    assert site.spool.names() == []
    assert list(site.places.orphans.iterdir()) == []


def test_while_the_vault_is_away_everything_waits(site: Site) -> None:
    site.run(node())
    site.end()
    site.vault.refusing["release"] = _AWAY
    refused("unreachable", site.give_back)
    assert site.recover() == ["vc1.compute0.3"]
    site.vault.refusing.clear()
    site.give_back()
    assert site.spool.read("vc1.compute0.3").released


def test_a_tap_that_could_not_go_goes_before_the_lease(site: Site) -> None:
    site.run(node(persistent=False, tap="t002711n1"))
    site.broken_switch = True
    site.end()
    refused("backend", site.give_back)
    assert site.vault.asked == []
    site.broken_switch = False
    site.give_back()
    assert site.detached == ["t002711n1"]
    assert site.spool.names() == []


@pytest.mark.parametrize("boot_id", [BOOT, "11111111-1111-4111-8111-111111111111"])
def test_an_overlay_that_nothing_readable_accounts_for_stays(site: Site, boot_id: str) -> None:
    site.run(replace(node(), boot_id=boot_id), boot_id=boot_id)
    note = next(site.places.lasting.glob("7.*.json"))
    note.write_text(note.read_text().replace('"schema": 1', '"schema": 2'))
    epilog.settle(site.places, Commands(), site.journal, 7)
    flush.Flush(site.places, Commands(), site.vault, site.journal).recover()
    assert (site.places.overlay_directory(7) / "compute0.qcow2").exists()
    assert note.exists()


def test_a_later_jobs_tap_of_the_same_name_stays(site: Site) -> None:
    site.run(node(tap="t002711n1"))
    site.records.add(job(8))
    site.records.add_node(node(job_id=8, epoch=4, tap="t002711n1"))
    site.end()
    assert site.detached == []


@pytest.mark.parametrize("later", [node(job_id=8, epoch=4, tap="t002711n1"), replace(node(epoch=4, tap="t002711n1"), restart_count=1)])
def test_a_flush_unit_leaves_a_later_jobs_tap_alone(site: Site, later: NodeRecord, monkeypatch: pytest.MonkeyPatch) -> None:
    """The lease was broken while Open vSwitch did not answer, and the node has gone to another job, or to this one once more."""
    ended: list[set[str]] = []

    def kill_all(_self: JobProcesses, taps: set[str], _seconds: float) -> list[int]:
        ended.append(set(taps))
        return [4711] if len(ended) < 2 else []

    monkeypatch.setattr(JobProcesses, "kill_all", kill_all)
    site.run(node(persistent=False, tap="t002711n1"), node("compute1", epoch=5, persistent=False, tap="t002711n2"))
    site.broken_switch = True
    assert site.end() == ["vc1.compute0.3", "vc1.compute1.5"]
    site.records.add(replace(job(later.job_id), restart_count=later.restart_count))
    site.records.add_node(later)
    site.broken_switch = False
    site.vault.refusing["release"] = _STALE
    site.give_back()
    site.give_back("vc1.compute1.5")
    assert ended == [{"t002711n1", "t002711n2"}, set(), {"t002711n2"}]
    assert site.detached == ["t002711n2"]
    assert site.spool.names() == []


def test_an_entry_keeps_no_tap_that_is_a_later_jobs(site: Site) -> None:
    site.run(node(tap="t002711n1"), node("compute1", epoch=5, tap="t002711n2"))
    site.records.add(job(8))
    site.records.add_node(node(job_id=8, epoch=4, tap="t002711n1"))
    site.broken_switch = True
    assert {name: site.spool.read(name).tap for name in site.end()} == {"vc1.compute0.3": "", "vc1.compute1.5": "t002711n2"}


@pytest.mark.parametrize("code", sorted(CODES - {"stale_epoch"}))
def test_whatever_else_the_vault_says_is_not_the_last_word(site: Site, code: str) -> None:
    site.run(node(), node("compute1", epoch=5, persistent=False))
    site.end()
    site.vault.refusing["release"] = VcError(code, "vault", "opening the vault", "its file system is not mounted", "mount it")
    for name in ("vc1.compute0.3", "vc1.compute1.5"):
        refused(code, site.give_back, name)
    assert site.recover() == ["vc1.compute0.3", "vc1.compute1.5"]
    assert list(site.places.orphans.iterdir()) == []


def test_an_unknown_epoch_is_learnt_from_the_vault(site: Site) -> None:
    site.run(node(epoch=0, persistent=False))
    site.end()
    holder = {"job_id": 7, "restart_count": 0, "boot_id": BOOT}
    site.vault.status = {"clusters": {"vc1": {"leases": {"compute0": {"epoch": 9, "holder": holder}}}}}
    site.give_back("vc1.compute0.0.7.0")
    assert site.vault.asked[-1][1]["nodes"] == {"compute0": {"epoch": 9, "outcome": "discarded"}}
    assert site.spool.names() == []


@pytest.mark.parametrize(
    "holder", [None, {"job_id": 8, "restart_count": 0, "boot_id": BOOT}, {"job_id": 7, "restart_count": 0, "boot_id": "other"}]
)
def test_a_lease_that_was_never_ours_is_not_given_back(site: Site, holder: Optional[dict[str, object]]) -> None:
    site.run(node(epoch=0))
    site.end()
    site.vault.status = {"clusters": {"vc1": {"leases": {"compute0": {"epoch": 9, "holder": holder}}}}}
    site.an_age_passes("vc1.compute0.0.7.0")
    site.give_back("vc1.compute0.0.7.0")
    assert site.vault.verbs() == ["status"]
    assert site.spool.names() == []


def test_a_request_that_is_still_on_its_way_is_waited_for(site: Site) -> None:
    site.run(node(epoch=0, persistent=False))
    site.end()
    refused("timeout", site.give_back, "vc1.compute0.0.7.0")
    assert site.recover() == ["vc1.compute0.0.7.0"]
    holder = {"job_id": 7, "restart_count": 0, "boot_id": BOOT}
    site.vault.status = {"clusters": {"vc1": {"leases": {"compute0": {"epoch": 9, "holder": holder}}}}}
    site.give_back("vc1.compute0.0.7.0")
    assert site.vault.asked[-1][1]["nodes"] == {"compute0": {"epoch": 9, "outcome": "discarded"}}
    assert site.spool.names() == []


def test_a_reboot_ends_the_jobs_that_were_there(site: Site) -> None:
    site.run(node(), node("compute1", persistent=False, epoch=5), boot_id="00000000-0000-0000-0000-000000000000")
    for path in sorted(site.places.run.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    site.places.make()
    assert site.recover() == ["vc1.compute0.3", "vc1.compute1.5"]
    assert (site.places.spool / "vc1.compute0.3" / OVERLAY).read_text() == "changes"
    assert not site.places.overlay_directory(7).exists()
    assert site.recover() == ["vc1.compute0.3", "vc1.compute1.5"]


def test_a_note_without_a_job_is_settled(site: Site) -> None:
    site.run(node())
    site.records.withdraw(job())
    (site.places.records / "7.0.ending").unlink()
    assert site.recover() == ["vc1.compute0.3"]


def test_recovering_leaves_living_jobs_alone(site: Site) -> None:
    site.run(node())
    assert site.recover() == []
    assert (site.places.overlay_directory(7) / "compute0.qcow2").exists()
    assert site.records.find(7, 0) == job()


def test_an_entry_that_was_not_finished_is_finished_by_its_record(site: Site) -> None:
    site.run(node())
    (site.places.spool / "vc1.compute0.3").mkdir()
    os.rename(site.places.overlay_directory(7) / "compute0.qcow2", site.places.spool / "vc1.compute0.3" / OVERLAY)
    assert site.end() == ["vc1.compute0.3"]
    assert site.spool.read("vc1.compute0.3").outcome == "kept"


def test_what_boots_does_not_wait_for_what_a_tenant_has_left(site: Site) -> None:
    site.run(node(), boot_id="00000000-0000-0000-0000-000000000000")
    (site.places.overlay_directory(7) / "more").mkdir()
    assert site.recover() == ["vc1.compute0.3"]
    assert list(site.places.scratch.glob("trash/*/more"))
    assert site.tidy() == ["vc1.compute0.3"]
    assert not list(site.places.scratch.glob("trash/*"))


def test_a_directory_that_cannot_be_moved_keeps_nothing_else_from_being_done(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.run(node(), boot_id="00000000-0000-0000-0000-000000000000")
    (site.places.overlays / "6").mkdir()

    def busy(_directory: Path, _trash: Path) -> None:
        raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))

    monkeypatch.setattr(flush, "discard", busy)
    assert site.recover() == ["vc1.compute0.3"]


def one_fails(job_id: int, settle: Callable[..., Any]) -> Callable[..., Any]:
    """As `settle`, but for what nobody has foreseen of one job."""

    def fail(places: Places, commands: Commands, journal: Journal, number: int) -> Any:
        if number == job_id:
            raise UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte")
        return settle(places, commands, journal, number)

    return fail


def test_a_job_that_cannot_be_settled_keeps_no_other_from_being(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.run(node(), boot_id="00000000-0000-0000-0000-000000000000")
    site.records.add(job(6))
    site.records.add_node(replace(node(job_id=6), boot_id="00000000-0000-0000-0000-000000000000"))
    monkeypatch.setattr(flush, "settle", one_fails(6, flush.settle))
    assert site.recover() == ["vc1.compute0.3"]


def test_no_error_at_all_makes_the_epilog_fail(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.run(node())
    started: list[str] = []
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.setattr(epilog, "Places", lambda: site.places)
    monkeypatch.setattr(epilog, "settle", one_fails(7, epilog.settle))
    monkeypatch.setattr(epilog, "start_recovery", lambda _commands: started.append("recovery"))
    assert epilog.main([]) == 0
    assert started == ["recovery"]


@pytest.mark.parametrize("verb", ["recover", "reap", "tidy"])
def test_every_look_starts_what_is_due(site: Site, monkeypatch: pytest.MonkeyPatch, verb: str) -> None:
    site.run(node())
    site.end()
    started: list[str] = []

    def no_queue(*_arguments: object) -> bool:
        raise VcError("backend", "Slurm", "listing jobs", "no controller", "wait")

    monkeypatch.setattr(flush, "Places", lambda: site.places)
    monkeypatch.setattr(flush, "load", lambda: None)
    monkeypatch.setattr(flush, "VaultClient", lambda *_arguments: site.vault)
    monkeypatch.setattr(flush, "reap", no_queue)
    monkeypatch.setattr(flush, "start_flush", lambda _commands, names: started.extend(names))
    monkeypatch.setattr(flush, "start_tidying", lambda _commands: started.append("tidy"))
    assert flush.main([verb]) == (1 if verb == "reap" else 0)
    assert started == ["vc1.compute0.3"] + (["tidy"] if verb == "recover" else [])
