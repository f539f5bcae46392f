# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Leases fence: one holder at a time, epochs only grow, and what carries an old one is refused."""

from __future__ import annotations

import multiprocessing
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.model.errors import VcError
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.vault import leases as leases_module
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.vault.registry import Registry

from tests.unit.hostile import every_hostile, every_not_text
from tests.unit.refusal import refused
from tests.unit.vault.site import BOOTS, MemoryTgtd, Site, before_the_first_copy, caller, definition, job


def code(answer: dict[str, Any], node: str) -> str:
    entry = answer["nodes"][node]
    return "ok" if entry["ok"] else str(entry["error"]["code"])


def release(site: Site, host: str = "hv1", **nodes: tuple[int, str]) -> dict[str, Any]:
    wanted = {node: {"epoch": epoch, "outcome": outcome} for node, (epoch, outcome) in nodes.items()}
    return site.leases.release(caller(host), {"cluster": "vc1", "nodes": wanted})


def test_what_a_lease_answers(site: Site) -> None:
    answer = site.lease("compute0", "disk0")
    assert answer["cluster"] == site.registry.read().clusters["vc1"].to_dict()
    assert "ssh_private_key" not in answer
    compute, disk = answer["nodes"]["compute0"], answer["nodes"]["disk0"]
    assert (compute["epoch"], compute["generation"], compute["node"]["image"]) == (1, 0, "debian12@r1")
    assert (disk["epoch"], disk["generation"]) == (1, 1)
    assert compute["export"]["portal"] == "10.77.0.12:3260"
    assert compute["export"]["iqn"] == "iqn.2026-11.vc:vc1:compute0:e1"
    assert compute["export"]["size_mib"] == 2
    assert compute["export"]["chap_secret"] != disk["export"]["chap_secret"]
    targets = {target.iqn: target for target in site.tgtd.targets()}
    assert targets[compute["export"]["iqn"]].path.endswith("/store/goldens/debian12/r1/disk.raw")
    assert targets[disk["export"]["iqn"]].path.endswith("/store/disks/vc1/disk0/gen1.raw")
    assert targets[disk["export"]["iqn"]].addresses == ["10.77.0.21"]


def test_nothing_is_given_to_a_host_that_waits_no_more(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases_module, "LATEST_SECONDS", -1.0)
    refused("timeout", site.lease, "compute0", "disk0")
    monkeypatch.undo()
    assert site.lease("compute0", "disk0")["nodes"]["disk0"]["epoch"] == 1


@pytest.mark.parametrize("mount_point", ["empty", "missing"])
def test_a_vault_that_is_not_mounted_calls_nothing_stale_and_nothing_free(site: Site, mount_point: str) -> None:
    site.lease("compute0")
    site.root.rename(site.root.parent / "elsewhere")
    if mount_point == "empty":
        site.root.mkdir()
    refused("backend", release, site, compute0=(1, "discarded"))
    refused("backend", site.leases.state, caller(), {"cluster": "vc1", "nodes": {"compute0": {"epoch": 1, "state": "running"}}})
    for cluster in ("vc1", ""):
        refused("backend", site.leases.visible, caller(), {"cluster": cluster})
    if mount_point == "empty":
        assert list(site.root.iterdir()) == []
        site.root.rmdir()
    (site.root.parent / "elsewhere").rename(site.root)
    assert release(site, compute0=(1, "discarded"))["nodes"]["compute0"] == {"ok": True}


def test_a_vault_whose_clusters_are_gone_is_a_vault(site: Site) -> None:
    site.clusters.apply_absent(site.clusters.plan_absent("vc1"))
    assert site.leases.visible(caller(), {}) == {"clusters": {}}
    assert code(release(site, compute0=(1, "discarded")), "compute0") == "stale_epoch"


def test_asking_again_answers_the_same_and_leaves_every_byte(any_site: Site) -> None:
    first = any_site.lease("compute0", "disk0")
    before, writes = any_site.content(), any_site.tgtd.writes
    assert any_site.lease("compute0", "disk0") == first
    assert any_site.content() == before
    assert any_site.tgtd.writes == writes


def test_asking_again_repairs_the_export(site: Site) -> None:
    first = site.lease("compute0", "compute1")
    site.tgtd = MemoryTgtd()
    assert site.lease("compute0", "compute1") == first
    assert len(site.tgtd.targets()) == 2


def test_one_look_at_the_daemon_for_any_number_of_nodes(site: Site) -> None:
    assert isinstance(site.tgtd, MemoryTgtd)
    site.lease("compute0")
    one = site.tgtd.looks
    site.tgtd.looks = 0
    site.lease("compute1", "disk0", "disk1")
    assert site.tgtd.looks == one


def test_another_holder_is_refused_by_name(site: Site) -> None:
    site.lease("compute0")
    for other in ({"job_id": 18}, {"restart_count": 1}, {"host": "hv2"}, {"host": "hv2", "boot_id": BOOTS[1]}):
        answer = site.lease("compute0", "compute1", **{"user": "member", **other})
        assert code(answer, "compute0") == "leased"
        text = str(VcError.from_dict(answer["nodes"]["compute0"]["error"]))
        assert "job 17 of labuser on hv1 since 20" in text
        assert "vc-vault break vc1 compute0" in text
        release(site, other.get("host", "hv1"), compute1=(answer["nodes"]["compute1"]["epoch"], "discarded"))


def test_another_boot_of_the_same_host_breaks_it(site: Site) -> None:
    site.lease("compute0")
    answer = site.lease("compute0", boot_id=BOOTS[1], job_id=18)
    assert answer["nodes"]["compute0"]["epoch"] == 3
    assert [target.iqn for target in site.tgtd.targets()] == ["iqn.2026-11.vc:vc1:compute0:e3"]
    assert code(release(site, compute0=(1, "kept")), "compute0") == "stale_epoch"
    lease = site.leases.everything()["clusters"]["vc1"]["leases"]["compute0"]
    assert lease["broken"]["reason"] == "hv1 has rebooted"
    assert lease["broken"]["holder"]["job_id"] == 17


def test_another_boot_does_not_take_a_disk_back_in_time(site: Site) -> None:
    site.lease("disk0")
    answer = site.lease("disk0", boot_id=BOOTS[1], job_id=18)
    assert code(answer, "disk0") == "not_flushed"
    assert "vc-flush on hv1" in answer["nodes"]["disk0"]["error"]["remedy"]
    assert code(release(site, disk0=(1, "discarded")), "disk0") == "ok"
    assert code(site.lease("disk0", boot_id=BOOTS[1], job_id=18), "disk0") == "ok"


def test_a_frontend_outlives_a_reboot_of_its_host(site: Site) -> None:
    holder = {"kind": "frontend", "job_id": 0, "restart_count": 0, "user": "root", "account": "", "boot_id": BOOTS[0]}
    asked = {"cluster": "vc1", "nodes": ["frontend"], "holder": holder}
    fe1 = caller("fe1")
    first = site.leases.lease(fe1, asked)
    assert first["ssh_private_key"].startswith("-----BEGIN OPENSSH PRIVATE KEY-----")
    before = site.content()
    assert site.leases.lease(fe1, {**asked, "holder": {**holder, "boot_id": BOOTS[1]}}) == first
    assert site.content() == before
    assert code(site.leases.lease(caller("hv1"), asked), "frontend") == "forbidden"
    assert code(site.leases.lease(fe1, {**asked, "nodes": ["compute0"]}), "compute0") == "forbidden"


def test_who_may_lease(site: Site) -> None:
    assert code(site.lease("compute0", user="member", account="PHYSICS"), "compute0") == "ok"
    refused("forbidden", site.lease, "compute1", user="otheruser")
    refused("forbidden", site.lease, "compute1", account="chemistry")
    # In the same words whether it exists or not, and none of the others is named.
    stranger = refused("forbidden", site.lease, "compute1", user="otheruser")
    assert refused("forbidden", site.lease, "compute1", user="otheruser", cluster="vc9").to_dict() == {**stranger.to_dict(), "item": "vc9"}
    assert "vc1" not in str(refused("forbidden", site.lease, "compute1", cluster="vc9"))
    frontend = {"cluster": "vc9", "nodes": ["frontend"], "holder": {"kind": "frontend", "boot_id": BOOTS[0]}}
    assert "vc1" not in str(refused("unknown", site.leases.lease, caller("fe1"), frontend))
    answer = site.lease("frontend", "nobody", "compute1")
    assert (code(answer, "frontend"), code(answer, "nobody"), code(answer, "compute1")) == ("forbidden", "unknown", "ok")


PERSISTENT = {"nodes": "disk[0-1]", "cpus": 1, "memory": "512MiB", "source": {"image": "debian12"}, "persistent": True}


def test_a_disk_that_took_long_is_not_the_next_owners(any_site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """The cluster is removed while its disk is copied, and somebody else defines one of that name, from an image of his own."""
    any_site.store.import_golden("other", 1, str(any_site.image(b"other")), "raw")

    def change_hands() -> None:
        any_site.clusters.apply_absent(any_site.clusters.plan_absent("vc1"))
        any_site.define(definition(owner="other", computes=[{**PERSISTENT, "source": {"image": "other"}}]))

    before_the_first_copy(monkeypatch, change_hands)
    refused("forbidden", any_site.lease, "disk0")
    assert any_site.store.disks() == {}
    assert any_site.lease("disk0", user="other")["nodes"]["disk0"]["node"]["image"] == "other@r1"


@pytest.mark.parametrize(
    ("change", "then"),
    [({"source": {"image": "other"}}, "other@r1"), ({"disk": "8MiB"}, "debian12@r1"), ({"persistent": False}, "debian12@r1")],
)
def test_a_disk_that_is_to_be_another_by_now_is_not_kept(
    any_site: Site, monkeypatch: pytest.MonkeyPatch, change: dict[str, Any], then: str
) -> None:
    any_site.store.import_golden("other", 1, str(any_site.image(b"other")), "raw")
    wanted = definition(computes=[{**PERSISTENT, **change}])
    any_site.define(definition(computes=[PERSISTENT]))
    before_the_first_copy(monkeypatch, lambda: any_site.define(wanted))
    first = any_site.lease("disk0")
    assert any_site.store.disks() == {}
    assert code(first, "disk0") == ("unknown" if change.get("persistent", True) else "ok")
    granted = any_site.lease("disk0")["nodes"]["disk0"]
    assert (granted["ok"], granted["node"]["image"]) == (True, then)
    assert granted["export"]["size_mib"] == (8 if "disk" in change else 2)


def test_release(any_site: Site) -> None:
    any_site.lease("compute0", "disk0")
    assert code(release(any_site, "hv2", compute0=(1, "discarded")), "compute0") == "forbidden"
    assert code(release(any_site, compute0=(2, "discarded")), "compute0") == "stale_epoch"
    assert code(release(any_site, compute0=(1, "lost")), "compute0") == "invalid"
    answer = release(any_site, compute0=(1, "discarded"), disk0=(1, "kept"))
    assert (code(answer, "compute0"), code(answer, "disk0")) == ("ok", "ok")
    assert any_site.tgtd.targets() == []
    assert any_site.tgtd.accounts() == set()
    assert not list((any_site.root / "registry" / "secrets" / "vc1").glob("*.chap"))
    before = any_site.content()
    again = release(any_site, compute0=(1, "discarded"), disk0=(1, "kept"))
    assert (code(again, "compute0"), code(again, "disk0")) == ("ok", "ok")
    assert any_site.content() == before
    taken = any_site.lease("compute0", "disk0", job_id=18)
    assert (code(taken, "compute0"), code(taken, "disk0")) == ("ok", "not_flushed")
    assert taken["nodes"]["compute0"]["epoch"] == 2
    assert code(any_site.lease("disk0"), "disk0") == "not_flushed"
    assert code(any_site.lease("disk0", boot_id=BOOTS[1], job_id=19), "disk0") == "not_flushed"
    assert code(release(any_site, compute0=(1, "discarded")), "compute0") == "stale_epoch"
    assert code(release(any_site, disk0=(1, "discarded")), "disk0") == "ok"
    assert code(any_site.lease("disk0", job_id=18), "disk0") == "ok"


def test_state(site: Site) -> None:
    site.lease("compute0")

    def push(epoch: int, state: Any, host: str = "hv1") -> str:
        answer = site.leases.state(caller(host), {"cluster": "vc1", "nodes": {"compute0": {"epoch": epoch, "state": state}}})
        return code(answer, "compute0")

    assert push(1, "running") == "ok"
    before = site.content()
    assert push(1, "running") == "ok"
    assert push(2, "running") == "stale_epoch"
    assert push(0, "crashed") == "stale_epoch"
    assert push(1, "crashed", "hv2") == "forbidden"
    assert push(1, "flushing") == "invalid"
    assert push(1, "dancing") == "invalid"
    assert site.content() == before
    assert site.leases.everything()["clusters"]["vc1"]["leases"]["compute0"]["state"] == "running"
    release(site, compute0=(1, "kept"))
    assert push(1, "crashed") == "not_flushed"


def test_break(site: Site) -> None:
    site.lease("compute0")
    assert site.leases.break_("vc1", "compute0", "hv1 burnt down")["changed"]
    assert site.tgtd.targets() == []
    assert code(release(site, compute0=(1, "kept")), "compute0") == "stale_epoch"
    assert not site.leases.break_("vc1", "compute0", "again")["changed"]
    assert site.lease("compute0", host="hv2")["nodes"]["compute0"]["epoch"] == 3
    refused("invalid", site.leases.break_, "vc1", "compute0", " ")
    refused("invalid", site.leases.break_, "vc1", "compute0", "two\nlines")
    refused("unknown", site.leases.break_, "vc1", "nobody", "why")
    refused("unknown", site.leases.break_, "vc2", "compute0", "why")


def test_a_host_sees_only_its_own(site: Site) -> None:
    site.lease("compute0")
    site.lease("compute1", host="hv2", job_id=18)
    seen = site.leases.visible(caller("hv1"), {})["clusters"]
    assert list(seen["vc1"]["leases"]) == ["compute0"]
    assert "secret" not in str(seen)
    assert "10.77.0.21" not in str(seen)
    assert site.leases.visible(caller("hv3"), {}) == {"clusters": {}}
    assert site.leases.visible(caller("hv1"), {"cluster": "vc2"}) == {"clusters": {}}
    assert list(site.leases.visible(caller("fe1"), {})["clusters"]["vc1"]["leases"]) == []


def test_without_a_daemon_nothing_new_is_held(site: Site) -> None:
    held = site.lease("compute0")
    working = site.tgtd
    site.tgtd = type(working).__mro__[1]("/nonexistent")
    answer = site.lease("compute0", "compute1")
    assert (code(answer, "compute0"), code(answer, "compute1")) == ("unreachable", "unreachable")
    leases = site.leases.everything()["clusters"]["vc1"]["leases"]
    assert leases["compute0"]["holder"]["job_id"] == 17, "guests run on it"
    assert leases["compute1"]["holder"] is None
    site.tgtd = working
    assert site.lease("compute0") == held
    assert site.lease("compute1", job_id=18)["nodes"]["compute1"]["epoch"] == 2


def test_a_lost_disk_is_not_replaced_silently(any_site: Site) -> None:
    any_site.lease("disk0")
    release(any_site, disk0=(1, "discarded"))
    any_site.store.remove_disk(any_site.store.disks()["vc1"]["disk0"])
    answer = any_site.lease("disk0", job_id=18)
    assert code(answer, "disk0") == "unknown"
    assert "restore the store" in answer["nodes"]["disk0"]["error"]["remedy"]


def test_restore_exports(any_site: Site) -> None:
    held = any_site.lease("compute0", "compute1", "disk0")
    release(any_site, compute1=(1, "kept"))
    fresh = MemoryTgtd()
    fresh.new_target(1, "iqn.2026-11.vc:vc1:compute9:e7")
    fresh.new_target(2, "iqn.2001-04.com.example:not-ours")
    fresh.secrets.update({"vc.vc1.compute9.e7": "x", "theirs": "y"})
    any_site.tgtd = fresh
    done = any_site.leases.restore_exports()
    assert done["removed"] == ["iqn.2026-11.vc:vc1:compute9:e7"]
    assert done["exports"] == ["iqn.2026-11.vc:vc1:compute0:e1", "iqn.2026-11.vc:vc1:disk0:e1"]
    assert "iqn.2001-04.com.example:not-ours" in {target.iqn for target in fresh.targets()}
    assert fresh.secrets["vc.vc1.disk0.e1"] == held["nodes"]["disk0"]["export"]["chap_secret"]
    writes = fresh.writes
    before = any_site.content()
    assert any_site.leases.restore_exports() == {**done, "removed": []}
    assert (fresh.writes, any_site.content()) == (writes, before)


def test_one_lease_that_cannot_be_read_keeps_its_export_and_stops_no_other(site: Site) -> None:
    site.lease("compute0", "compute1", "disk0")
    leases = site.root / "registry" / "leases" / "vc1"
    (leases / "compute0.json").write_text("{")
    (leases / "disk0.json").write_text((leases / "disk0.json").read_text().replace('"schema": 1', '"schema": 2'))
    before = {target.iqn for target in site.tgtd.targets()}
    error = refused("backend", site.leases.restore_exports)
    assert error.item == "vc1/compute0 (and 1 more nodes)"
    assert {target.iqn for target in site.tgtd.targets()} == before
    site.tgtd = MemoryTgtd()
    refused("backend", site.leases.restore_exports)
    assert [target.iqn for target in site.tgtd.targets()] == ["iqn.2026-11.vc:vc1:compute1:e1"]
    assert code(site.lease("compute0", "compute1"), "compute1") == "ok"


@every_hostile
def test_hostile_names(site: Site, hostile: str) -> None:
    before = site.content()
    refused("invalid", site.lease, "compute0", cluster=hostile)
    refused("invalid", site.lease, hostile)
    refused("invalid", site.lease, "compute0", boot_id=hostile)
    refused("invalid", site.lease, "compute0", kind=hostile)
    with pytest.raises(VcError):
        site.lease("compute0", user=hostile)
    with pytest.raises(VcError):
        site.lease("compute0", account=hostile)
    refused("invalid", site.leases.release, caller(), {"cluster": "vc1", "nodes": {hostile: {"epoch": 1, "outcome": "kept"}}})
    refused("invalid", site.leases.state, caller(), {"cluster": hostile, "nodes": {"compute0": {"epoch": 1, "state": "running"}}})
    assert site.content() == before


@every_not_text
def test_not_text(site: Site, value: object) -> None:
    before = site.content()
    refused("invalid", site.leases.lease, caller(), {"cluster": value, "nodes": ["compute0"], "holder": job()})
    refused("invalid", site.leases.lease, caller(), {"cluster": "vc1", "nodes": [value], "holder": job()})
    refused("invalid", site.leases.lease, caller(), {"cluster": "vc1", "nodes": value, "holder": value})
    refused("invalid", site.leases.release, caller(), {"cluster": "vc1", "nodes": {"compute0": value}})
    assert site.content() == before


def test_batches_are_bounded(site: Site) -> None:
    refused("invalid", site.lease)
    refused("duplicate", site.lease, "compute0", "compute0")
    refused("invalid", site.lease, *[f"n{number}" for number in range(leases_module.LARGEST_BATCH + 1)])


def _claim(root: Path, number: int, won: multiprocessing.SimpleQueue[tuple[int, list[str]]]) -> None:
    site = Site(root)
    answer = site.lease("compute0", "compute1", "disk0", "disk1", job_id=number, host=f"hv{number % 9}")
    won.put((number, [node for node, entry in answer["nodes"].items() if entry["ok"]]))


def test_two_hosts_at_once_one_gets_it(any_site: Site) -> None:
    won: multiprocessing.SimpleQueue[tuple[int, list[str]]] = multiprocessing.SimpleQueue()
    hosts = [multiprocessing.Process(target=_claim, args=(any_site.root.parent, number, won)) for number in range(1, 9)]
    for host in hosts:
        host.start()
    for host in hosts:
        host.join(60)
    winners = [node for _number, nodes in (won.get() for _host in hosts) for node in nodes]
    assert sorted(winners) == ["compute0", "compute1", "disk0", "disk1"]
    assert len(any_site.store.disks()["vc1"]) == 2
    assert Registry(str(any_site.root)).read().clusters["vc1"].name == "vc1"
    assert definition()["name"] == "vc1"
