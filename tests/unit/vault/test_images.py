# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Golden images and disks, planned and carried out."""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import pytest
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.applier.images import ImageActions
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.applier.isos import IsoActions
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.applier.snapshots import SnapshotActions
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.model.errors import VcError
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.planner import images, isos, snapshots
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.planner.plan import Action, Plan
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.vault import source_file

from tests.unit.apart import needs_root
from tests.unit.hostile import every_hostile
from tests.unit.refusal import refused
from tests.unit.vault.site import MIB, Site, before_the_first_copy, caller, definition


def golden(name: str = "debian12", **changes: Any) -> dict[str, Any]:
    return {"name": name, "source": "", "format": "raw", "revision": None, "access": None, "state": "present", **changes}


def disk(node: str, **changes: Any) -> dict[str, Any]:
    return {"cluster": "vc1", "node": node, "image": None, "size": None, "state": "present", **changes}


def snapshot(name: str, node: str = "disk0", **changes: Any) -> dict[str, Any]:
    return {"cluster": "vc1", "node": node, "name": name, "state": "present", **changes}


def iso(name: str, file: str = "", **changes: Any) -> dict[str, Any]:
    return {"name": name, "source": file, "checksum": None, "state": "present", **changes}


class Vault:
    """What the module does, without Ansible around it."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.actions = ImageActions(site.registry, site.store)
        self.snapshots = SnapshotActions(site.registry, site.store)
        self.isos = IsoActions(site.registry, site.store)

    def plan(self, *items: dict[str, Any]) -> tuple[Plan, list[dict[str, Any]]]:
        if "checksum" in items[0]:
            return self.isos.plan(isos.parse_isos(items))
        if "node" in items[0] and "name" in items[0]:
            return self.snapshots.plan(snapshots.parse_snapshots(items))
        if "node" in items[0]:
            return self.actions.plan_disks(images.parse_disks(items))
        return self.actions.plan_goldens(images.parse_goldens(items))

    def apply(self, plan: Plan, item: dict[str, Any]) -> Mapping[str, VcError]:
        if "checksum" in item:
            return self.isos.apply(plan.actions)
        if "node" in item:
            return (self.snapshots.apply if "name" in item else self.actions.apply_disks)(plan.actions)
        return self.actions.apply_goldens(plan.actions)

    def run(self, *items: dict[str, Any]) -> tuple[list[str], list[dict[str, Any]]]:
        """Verbs done and what is there then; check mode must have said exactly that, and a second run must do nothing."""
        plan, predicted = self.plan(*items)
        assert not plan.errors, plan.errors
        assert self.apply(plan, items[0]) == {}
        before = self.site.content()
        again, shown = self.plan(*items)
        assert again.actions == []
        assert shown == predicted
        assert self.site.content() == before
        return [action.verb for action in plan.actions], shown

    def codes(self, *items: dict[str, Any]) -> list[str]:
        before = self.site.content()
        plan, _shown = self.plan(*items)
        assert self.site.content() == before
        return [item.error.code if item.error else "ok" for item in plan.items]


@pytest.fixture
def vault(any_site: Site) -> Vault:
    return Vault(any_site)


def source(site: Site, name: str, content: bytes, size: int = 2 * MIB) -> str:
    path = site.root.parent / name
    path.write_bytes(content.ljust(size, b"\0"))
    return str(path)


def test_revisions(vault: Vault) -> None:
    first = str(vault.site.source)
    assert vault.run(golden(source=first))[0] == []
    other = source(vault.site, "other", b"other")
    verbs, shown = vault.run(golden(source=other))
    assert verbs == ["import"]
    assert shown == [
        {"name": "debian12", "revision": 2, "image": "debian12@r2", "format": "raw", "size_mib": 2, "access": [], "state": "present"}
    ]
    assert vault.run(golden(source=first)) == ([], [{**shown[0], "revision": 1, "image": "debian12@r1"}])
    assert vault.run(golden(source=other, revision=7))[1][0]["image"] == "debian12@r7"
    assert vault.run(golden(source=source(vault.site, "third", b"third")))[1][0]["image"] == "debian12@r8"
    assert vault.codes(golden(source=other, revision=1)) == ["conflict"]
    assert vault.codes(golden(source=source(vault.site, "large", b"other", 3 * MIB), revision=2)) == ["conflict"]


def test_who_may_use_an_image(vault: Vault) -> None:
    first = str(vault.site.source)
    everybody = ["user:labuser", "account:Physics", "all"]
    assert refused("duplicate", images.parse_goldens, [golden(source=first, access=["all", "all"])]).item == "goldens[0]: access[1]"
    verbs, shown = vault.run(golden(source=first, access=everybody))
    assert (verbs, shown[0]["access"]) == (["grant"], ["account:physics", "all", "user:labuser"])
    # It is the image's, whichever revision, and what is not said stays.
    other = source(vault.site, "other", b"other")
    verbs, shown = vault.run(golden(source=other))
    assert (verbs, shown[0]["access"]) == (["import"], ["account:physics", "all", "user:labuser"])
    assert vault.run(golden(source=first, access=["all"]))[0] == ["grant"]
    new = golden("new", source=other, access=["user:labuser"])
    assert vault.run(new)[0] == ["import", "grant"]
    assert vault.site.registry.access() == {"debian12": ("all",), "new": ("user:labuser",)}
    assert vault.run(golden("new", source=other, access=[]))[0] == ["grant"]
    vault.run(golden("new", source=other, access=["user:labuser"]))
    # Another image of that name, later, is another image.
    vault.run(golden("new", state="absent"))
    assert vault.run(golden("new", source=other))[1][0]["access"] == []


def test_a_removal_that_fails_keeps_who_may_use_the_image(vault: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    other = source(vault.site, "other", b"other")
    vault.run(golden("new", source=other, access=["user:labuser"]))
    before = vault.site.content()
    plan, _shown = vault.plan(golden("new", state="absent"))

    def busy(*_arguments: object) -> None:
        raise VcError("in_use", "new@r1", "removing it", "dataset is busy", "see zfs list")

    with monkeypatch.context() as patched:
        patched.setattr(type(vault.site.store), "remove_golden", busy)
        done: list[Action] = []
        assert vault.actions.apply_goldens(plan.actions, done.append)["new"].code == "in_use"
    assert done == []
    assert {place: kept for place, (kept, _when) in vault.site.content().items()} == {
        place: kept for place, (kept, _when) in before.items()
    }
    assert vault.run(golden("new", state="absent"))[0] == ["remove"]


@every_hostile
def test_nobody_with_a_hostile_name_may_use_an_image(hostile: str) -> None:
    for entry in (hostile, f"user:{hostile}", f"account:{hostile}"):
        refused("invalid", images.parse_goldens, [golden(source="/x", access=[entry])])
    both = [golden(source="/x", revision=1, access=["all"]), golden(source="/y", revision=2, access=[])]
    refused("conflict", images.parse_goldens, both)


def test_a_file_that_was_only_touched_is_not_imported_again(vault: Vault) -> None:
    os.utime(vault.site.source)
    assert vault.run(golden(source=str(vault.site.source)))[0] == []
    copied = source(vault.site, "copy", b"golden")
    assert vault.run(golden(source=copied))[0] == []


def test_a_link_is_no_source(vault: Vault) -> None:
    # Whoever may make one there would have root read any file of the vault.
    link = vault.site.root.parent / "link"
    link.symlink_to(vault.site.source)
    assert vault.codes(golden(source=str(link)), golden("new", source=str(link))) == ["invalid", "invalid"]


def test_a_second_run_does_not_read_the_image(vault: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    def reading(stream: BinaryIO) -> str:
        raise AssertionError(stream.name)

    monkeypatch.setattr(source_file, "sha256_of_stream", reading)
    assert vault.run(golden(source=str(vault.site.source)))[0] == []


def test_an_image_that_is_needed_stays(vault: Vault) -> None:
    gone = golden(state="absent")
    error = vault.plan(gone)[0].errors[0]
    assert error.code == "in_use"
    assert "vc1/compute0" in error.detail
    other = source(vault.site, "other", b"other")
    vault.run(golden(source=other))
    # Nodes without a revision mean r2 from now on; r1 goes unless somebody runs on it.
    assert vault.codes(golden(state="absent", revision=2)) == ["in_use"]
    vault.site.define(definition(computes=[]))
    vault.site.define(definition("vc2", computes=[{"nodes": "c0", "cpus": 1, "memory": "512MiB", "source": {"image": "debian12@r1"}}]))
    vault.site.lease("c0", cluster="vc2")
    assert vault.codes(golden(state="absent", revision=1)) == ["in_use"]
    vault.site.leases.release(caller(), {"cluster": "vc2", "nodes": {"c0": {"epoch": 1, "outcome": "discarded"}}})
    vault.site.clusters.apply_absent(vault.site.clusters.plan_absent("vc2"))
    verbs, shown = vault.run(golden(state="absent", revision=1))
    assert (verbs, shown[0]["state"]) == (["remove"], "absent")
    # A disk needs what it began as, and it is never removed on the side.
    vault.run(disk("frontend"))
    vault.run(golden(source=source(vault.site, "third", b"third")))
    error = vault.plan(golden(state="absent", revision=2))[0].errors[0]
    assert error.code == "in_use"
    assert "the disk of vc1/frontend" in error.detail
    assert vault.run(golden(state="absent", revision=3))[0] == ["remove"]
    vault.run(disk("frontend", state="absent"))
    vault.site.clusters.apply_absent(vault.site.clusters.plan_absent("vc1"))
    assert vault.run(gone)[0] == ["remove"]
    assert vault.site.store.goldens() == {}


def test_a_lease_that_came_after_the_plan_saves_the_image(vault: Vault) -> None:
    other = source(vault.site, "other", b"other")
    vault.run(golden(source=other))
    plan, _shown = vault.plan(golden(state="absent", revision=1))
    vault.site.define(definition(computes=[{"nodes": "c0", "cpus": 1, "memory": "512MiB", "source": {"image": "debian12@r1"}}]))
    failed = vault.actions.apply_goldens(plan.actions)
    assert failed["debian12@r1"].code == "in_use"
    assert sorted(vault.site.store.goldens()["debian12"]) == [1, 2]


def test_disks(vault: Vault) -> None:
    verbs, shown = vault.run(disk("disk0", size="3MiB"), disk("frontend"))
    assert verbs == ["clone", "clone"]
    new = {"cluster": "vc1", "node": "disk0", "generation": 1, "disk_mib": 3, "image": "debian12@r1", "pristine": True, "state": "present"}
    assert shown == [new, {**new, "node": "frontend", "disk_mib": 2}]
    assert vault.run(disk("disk0", size="8MiB"))[0] == ["grow"]
    assert vault.run(disk("disk0"))[0] == []
    assert vault.codes(disk("disk0", size="4MiB")) == ["conflict"]
    assert vault.codes(disk("disk0", image="tiny")) == ["conflict"]
    assert vault.codes(disk("disk1", size="1MiB"), disk("disk1x"), disk("compute0")) == ["conflict", "unknown", "invalid"]
    assert vault.codes(disk("n0", cluster="vc2"), disk("disk1", image="nothing")) == ["unknown", "unknown"]
    assert vault.run(disk("disk0", state="absent"), disk("disk1", state="absent"))[0] == ["remove"]


def test_a_larger_disk_comes_true_before_it_is_defined(vault: Vault) -> None:
    group = {"nodes": "disk0", "cpus": 1, "memory": "512MiB", "source": {"image": "debian12"}, "persistent": True}
    vault.site.define(definition(computes=[group]))
    vault.run(disk("disk0"))
    before = vault.site.content()
    larger = definition(computes=[{**group, "disk": "8MiB"}])
    assert "2 MiB" in refused("conflict", vault.site.define, larger).detail
    assert vault.site.content() == before
    assert vault.run(disk("disk0", size="8MiB"))[0] == ["grow"]
    vault.site.define(larger)
    assert vault.site.lease("disk0")["nodes"]["disk0"]["export"]["size_mib"] == 8


def test_a_disk_in_use_is_left_alone(vault: Vault) -> None:
    vault.site.lease("disk0")
    assert vault.codes(disk("disk0", size="8MiB"), disk("disk1", state="absent")) == ["leased", "ok"]
    assert vault.codes(disk("disk0", state="absent")) == ["leased"]
    assert vault.run(disk("disk0"))[0] == []
    vault.site.leases.release(caller(), {"cluster": "vc1", "nodes": {"disk0": {"epoch": 1, "outcome": "kept"}}})
    assert vault.codes(disk("disk0", size="8MiB"), disk("disk1")) == ["not_flushed", "ok"]
    vault.site.leases.break_("vc1", "disk0", "its changes are not wanted")
    assert vault.run(disk("disk0", state="absent"))[0] == ["remove"]
    # Removed on purpose, so that the next lease may begin anew.
    assert vault.site.lease("disk0", job_id=18)["nodes"]["disk0"]["ok"]


def test_snapshots(vault: Vault) -> None:
    vault.run(disk("disk0", size="3MiB"))
    verbs, shown = vault.run(snapshot("before"), snapshot("other"))
    assert verbs == ["take", "take"]
    kept = {"cluster": "vc1", "node": "disk0", "name": "before", "generation": 1, "disk_mib": 3, "image": "debian12@r1"}
    assert shown == [{**kept, "pristine": True, "state": "present"}, {**kept, "name": "other", "pristine": True, "state": "present"}]
    assert vault.run(snapshot("before"))[0] == []
    assert vault.site.leases.everything()["clusters"]["vc1"]["snapshots"]["disk0"]["before"] == kept
    # Nothing goes on the side.
    error = vault.plan(disk("disk0", state="absent"))[0].errors[0]
    assert (error.code, "before, other" in error.detail) == ("in_use", True)
    assert vault.codes(snapshot("new", node="disk1"), snapshot("new", node="compute0"), snapshot("new")) == ["unknown", "unknown", "ok"]
    assert vault.run(snapshot("before", state="absent"), snapshot("nosuch", state="absent"))[0] == ["remove"]
    assert vault.run(snapshot("other", state="absent"))[0] == ["remove"]
    assert vault.run(disk("disk0", state="absent"))[0] == ["remove"]


def test_a_disk_that_took_long_is_thrown_away_if_it_is_to_be_another_by_now(vault: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    plan, _shown = vault.plan(disk("disk0"), disk("disk1"))

    def change_hands() -> None:
        # Nobody waits for a copy.
        with vault.site.registry.lock("another", timeout=1):
            pass
        vault.site.clusters.apply_absent(vault.site.clusters.plan_absent("vc1"))

    before_the_first_copy(monkeypatch, change_hands)
    failed = vault.apply(plan, disk("disk0"))
    assert {name: error.code for name, error in failed.items()} == {"vc1/disk0": "unknown", "vc1/disk1": "unknown"}
    assert vault.site.store.disks() == {}
    vault.site.define(definition())
    plan, _shown = vault.plan(disk("disk0"))
    vault.run(golden(source=source(vault.site, "other", b"other")))
    assert vault.apply(plan, disk("disk0"))["vc1/disk0"].code == "conflict"
    assert vault.run(disk("disk0"))[1][0]["image"] == "debian12@r2"


def test_a_snapshot_is_copied_while_others_work(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    vault = Vault(site)
    vault.run(disk("disk0"), disk("disk1"))
    plan, _shown = vault.plan(snapshot("new"), snapshot("new", node="disk1"))
    # Its lease is given at once, and then it is no snapshot of what its node will have written.
    before_the_first_copy(monkeypatch, lambda: site.lease("disk0"))
    assert {name: error.code for name, error in vault.apply(plan, snapshot("new")).items()} == {"vc1/disk0@new": "leased"}
    assert {node: list(held) for node, held in site.store.snapshots()["vc1"].items()} == {"disk1": ["new"]}
    plan, _shown = vault.plan(snapshot("later", node="disk1"))
    before_the_first_copy(monkeypatch, lambda: vault.run(disk("disk1", size="8MiB")))
    assert vault.apply(plan, snapshot("later"))["vc1/disk1@later"].code == "conflict"
    assert list(site.store.snapshots()["vc1"]["disk1"]) == ["new"]
    assert vault.run(snapshot("later", node="disk1"))[1][0]["disk_mib"] == 8


def test_no_snapshot_of_what_the_vault_does_not_have(vault: Vault) -> None:
    vault.run(disk("disk0"))
    plan, _shown = vault.plan(snapshot("late"))
    vault.site.lease("disk0")
    assert vault.codes(snapshot("new")) == ["leased"]
    # Nor when the lease came after the plan.
    assert vault.apply(plan, snapshot("late"))["vc1/disk0@late"].code == "leased"
    vault.site.leases.release(caller(), {"cluster": "vc1", "nodes": {"disk0": {"epoch": 1, "outcome": "kept"}}})
    assert vault.codes(snapshot("new")) == ["not_flushed"]
    vault.site.leases.break_("vc1", "disk0", "its changes are not wanted")
    assert vault.run(snapshot("new"))[0] == ["take"]
    # One that is there is no concern of a lease's.
    vault.site.lease("disk0", job_id=18)
    assert vault.run(snapshot("new", state="absent"))[0] == ["remove"]


def test_isos(vault: Vault) -> None:
    file = source(vault.site, "a.iso", b"CD001", size=3 * MIB)
    whole = source_file.sha256_of(file)
    wrong = iso("debian-12.iso", file, checksum=f"sha256:{'0' * 64}")
    assert vault.codes(wrong, iso("other.iso", file)) == ["invalid", "ok"]
    verbs, shown = vault.run(iso("debian-12.iso", file, checksum=f"sha256:{whole.upper()}"))
    assert verbs == ["import"]
    assert shown == [{"name": "debian-12.iso", "size_bytes": 3 * MIB, "sha256": whole, "state": "present"}]
    assert vault.run(iso("debian-12.iso", file))[0] == []
    os.utime(file)
    assert vault.run(iso("debian-12.iso", file))[0] == []
    # Not even when the store has it already under that name.
    assert vault.codes(wrong) == ["invalid"]
    other = source(vault.site, "b.iso", b"CD002", size=3 * MIB)
    assert vault.codes(iso("debian-12.iso", other)) == ["conflict"]
    link = vault.site.root.parent / "link.iso"
    link.symlink_to(file)
    assert vault.codes(iso("new.iso", str(link)), iso("new2.iso", "/nosuch.iso")) == ["invalid", "unknown"]
    assert vault.site.leases.everything()["isos"]["debian-12.iso"]["sha256"] == whole
    gone = [iso("debian-12.iso", state="absent"), iso("nosuch.iso", state="absent")]
    assert vault.run(*gone)[0] == ["remove"]
    assert vault.site.store.isos() == {}


def test_an_iso_that_changes_after_the_plan_is_not_imported(vault: Vault) -> None:
    file = source(vault.site, "a.iso", b"CD001")
    plan, _shown = vault.plan(iso("a.iso", file), iso("b.iso", source(vault.site, "b.iso", b"CD002")))
    source(vault.site, "a.iso", b"CD003")
    assert {name: error.code for name, error in vault.apply(plan, iso("a.iso")).items()} == {"a.iso": "invalid"}
    assert list(vault.site.store.isos()) == ["b.iso"]


def test_an_item_that_fails_does_not_stop_the_others(vault: Vault) -> None:
    other = source(vault.site, "other", b"other")
    third = source(vault.site, "third", b"third")
    plan, _shown = vault.plan(golden("one", source=other), golden("two", source=third))
    Path(other).unlink()
    failed = vault.actions.apply_goldens(plan.actions)
    assert {name: error.code for name, error in failed.items()} == {"one": "unknown"}
    assert sorted(vault.site.store.goldens()) == ["debian12", "two"]


def removals(vault: Vault, kind: str) -> list[dict[str, Any]]:
    """Two of a kind that are there, to be removed."""
    if kind == "golden":
        items = [golden(name, source=source(vault.site, name, name.encode())) for name in ("one", "two")]
        vault.run(*items)
        return [golden(name, state="absent", revision=1) for name in ("one", "two")]
    if kind == "iso":
        vault.run(*(iso(name, source(vault.site, name, name.encode())) for name in ("one", "two")))
        return [{**iso(name), "state": "absent"} for name in ("one", "two")]
    vault.run(disk("disk0"), disk("disk1"))
    if kind == "disk":
        return [disk(node, state="absent") for node in ("disk0", "disk1")]
    vault.run(snapshot("before"), snapshot("before", "disk1"))
    return [snapshot("before", node, state="absent") for node in ("disk0", "disk1")]


@pytest.mark.parametrize("kind", ["golden", "iso", "disk", "snapshot"])
def test_what_the_kernel_refuses_of_one_item_does_not_stop_the_others(site: Site, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    vault = Vault(site)
    items = removals(vault, kind)
    plan, _shown = vault.plan(*items)
    rename, refusals = os.rename, [OSError(errno.EROFS, os.strerror(errno.EROFS))]

    def rename_once(before: Any, after: Any) -> None:
        if "/store/new/" in str(after) and refusals:
            raise refusals.pop()
        rename(before, after)

    monkeypatch.setattr(os, "rename", rename_once)
    failed = vault.apply(plan, items[0])
    first, second = (action.item for action in plan.actions)
    assert {item: error.code for item, error in failed.items()} == {first: "backend"}
    assert "Read-only" in str(failed[first])
    monkeypatch.undo()
    assert [action.item for action in vault.plan(*items)[0].actions] == [first]


@needs_root
def test_what_makes_room_needs_none(tmp_path: Path) -> None:
    """A file system that has no room for one more name."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", "nr_inodes=100", "vc-test", str(tmp_path)], check=True)
    try:
        vault = Vault(Site(tmp_path).fill())
        vault.run(golden("spare", source=source(vault.site, "spare", b"spare")))
        third = source(vault.site, "third", b"third")
        with contextlib.suppress(OSError):
            for number in itertools.count():
                (tmp_path / str(number)).touch()
        items = [golden("third", source=third), golden("spare", state="absent", revision=1)]
        plan, _shown = vault.plan(*items)
        failed = vault.apply(plan, items[0])
        assert {name: (error.code, "No space left" in str(error)) for name, error in failed.items()} == {"third": ("backend", True)}
        assert list(vault.site.store.goldens()) == ["debian12"]
        assert list((vault.site.root / "store" / "new").iterdir()) == []
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


def test_duplicates_are_named_by_place() -> None:
    error = refused("duplicate", images.parse_goldens, [golden(source="/a"), golden("b", source="/a"), golden(source="/b")])
    assert "goldens[2]" in error.item
    assert "goldens[0]" in error.detail
    refused("duplicate", images.parse_goldens, [golden(source="/a"), golden(source="/b", revision=3)])
    assert len(images.parse_goldens([golden(source="/a", revision=2), golden(source="/b", revision=3)])) == 2
    assert "disks[1]" in refused("duplicate", images.parse_disks, [disk("a"), disk("a", size="1GiB")]).item
    assert "snapshots[1]" in refused("duplicate", snapshots.parse_snapshots, [snapshot("a"), snapshot("a", state="absent")]).item
    assert "isos[1]" in refused("duplicate", isos.parse_isos, [iso("a", "/a"), iso("a", "/b")]).item


@every_hostile
def test_hostile(hostile: str) -> None:
    for item in (golden(hostile, source="/a"), golden(source="/a", format=hostile), golden(source="/a", state=hostile)):
        assert "goldens[0]" in refused("invalid", images.parse_goldens, [item]).item
    for changes in ({"node": hostile}, {"cluster": hostile}, {"state": hostile}):
        assert "disks[0]" in refused("invalid", images.parse_disks, [{**disk("a"), **changes}]).item
        assert "snapshots[0]" in refused("invalid", snapshots.parse_snapshots, [{**snapshot("a"), **changes}]).item
    assert "snapshots[0]" in refused("invalid", snapshots.parse_snapshots, [snapshot(hostile)]).item
    for medium in (iso(hostile, "/a"), iso("a", "/a", state=hostile), iso("a", "/a", checksum=hostile or "md5:1")):
        assert "isos[0]" in refused("invalid", isos.parse_isos, [medium]).item
    if hostile:
        refused("invalid", images.parse_disks, [disk("a", image=hostile)])
        refused("invalid", images.parse_disks, [disk("a", size=hostile)])
    for revision in (0, -1, 1_000_000):
        refused("invalid", images.parse_goldens, [golden(source="/a", revision=revision)])


@every_hostile
def test_hostile_sources(site: Site, hostile: str) -> None:
    vault = Vault(site)
    if not hostile:
        refused("invalid", images.parse_goldens, [golden(source=hostile)])
        return
    if os.path.isfile(hostile):
        # Whoever may read /etc/passwd may also import it.
        return
    assert vault.codes(golden("new", source=hostile))[0] in ("invalid", "unknown")
    assert vault.codes(iso("new", hostile))[0] in ("invalid", "unknown")
    refused_source = vault.plan(golden("new", source=hostile))[0].errors[0]
    assert str(refused_source).isprintable()
