# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A job's own cluster: made by its first request, joined by its other hosts', gone with its last lease, and never anybody else's."""

from __future__ import annotations

import os
from typing import Any

import pytest
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.model import vms as model_vms
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.model.errors import VcError
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.model.vms import MOST_MACHINES
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.vault.iscsi import Exports

from tests.unit.hostile import every_hostile
from tests.unit.refusal import refused
from tests.unit.vault.site import BOOTS, MemoryTgtd, Site, caller, definition, job

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f labuser"


def vms(images: str = "debian12:2", **changes: Any) -> dict[str, Any]:
    return {"images": images, "cpus": 1, "memory_mib": 128, "ssh_authorized_keys": [KEY], **changes}


def ask(site: Site, *nodes: str, host: str = "hv1", wanted: Any = None, cluster: str = "job17", **holder: Any) -> dict[str, Any]:
    args = {"cluster": cluster, "nodes": list(nodes), "holder": job(**holder), "vms": vms() if wanted is None else wanted}
    return site.leases.lease(caller(host), args)


def release(site: Site, node: str, epoch: int, host: str = "hv1", cluster: str = "job17") -> dict[str, Any]:
    nodes = {node: {"epoch": epoch, "outcome": "discarded"}}
    answer: dict[str, Any] = site.leases.release(caller(host), {"cluster": cluster, "nodes": nodes})["nodes"][node]
    return answer


@pytest.fixture
def open_site(site: Site) -> Site:
    site.registry.put_access("debian12", ["user:labuser"])
    return site


def test_the_first_host_makes_the_cluster(open_site: Site) -> None:
    answer = ask(open_site, "vm0")
    cluster = answer["cluster"]
    assert (cluster["name"], cluster["owner"], cluster["account"]) == ("job17", "labuser", "physics")
    assert [node["name"] for node in cluster["nodes"]] == ["vm0", "vm1"]
    assert [node["address"] for node in cluster["nodes"]] == ["10.11.0.2", "10.11.0.3"]
    assert not any(node["persistent"] for node in cluster["nodes"])
    assert cluster["ssh_authorized_keys"] == [KEY]
    assert cluster["network"]["mtu"] == 1450
    # From the far end: whoever defines clusters at the same time is given others.
    assert cluster["network"]["vni"] == 2**24 - 1 - 17
    assert cluster["pkey"] == "0x7ffe"
    assert answer["nodes"]["vm0"]["node"]["image"] == "debian12@r1"
    assert open_site.leases.everything()["claims"]["vni"][str(2**24 - 18)] == "job17"


def test_the_other_hosts_join_it(open_site: Site) -> None:
    first = ask(open_site, "vm0")
    open_site.store.import_golden("debian12", 2, str(open_site.image(b"newer")), "raw")
    second = ask(open_site, "vm1", host="hv2", boot_id=BOOTS[1])
    assert second["cluster"] == first["cluster"]
    assert second["nodes"]["vm1"]["node"]["image"] == "debian12@r1"
    assert len(open_site.tgtd.targets()) == 2


@pytest.mark.parametrize(
    "other",
    [
        vms("debian12:3"),
        vms("debian12:1,debian12@r1:2"),
        vms("debian12@r2:2"),
        vms(cpus=2),
        vms(memory_mib=256),
        vms(ssh_authorized_keys=[]),
    ],
)
def test_a_host_that_says_otherwise_is_refused(open_site: Site, other: dict[str, Any]) -> None:
    ask(open_site, "vm0")
    refused("conflict", ask, open_site, "vm1", host="hv2", wanted=other)
    assert ask(open_site, "vm1", host="hv2", wanted=vms("debian12:1,debian12@r1:1"))["nodes"]["vm1"]["ok"]


def test_the_last_lease_takes_it_along(open_site: Site) -> None:
    before = open_site.content()
    epochs = [ask(open_site, "vm0")["nodes"]["vm0"]["epoch"], ask(open_site, "vm1", host="hv2")["nodes"]["vm1"]["epoch"]]
    assert release(open_site, "vm0", epochs[0]) == {"ok": True}
    assert "job17" in open_site.registry.read().clusters
    assert release(open_site, "vm1", epochs[1], host="hv2") == {"ok": True}
    after = open_site.content()
    # The registry itself keeps in mind which epochs are over.
    assert set(before) == set(after)
    assert [name for name in after if after[name][0] != before[name][0]] == ["registry/registry.json"]
    assert open_site.registry.read().epoch_floor == max(epochs)
    assert open_site.tgtd.targets() == []
    # A release whose answer was lost is asked again.
    assert release(open_site, "vm1", epochs[1], host="hv2")["error"]["code"] == "stale_epoch"
    assert ask(open_site, "vm0")["nodes"]["vm0"]["epoch"] > max(epochs)


def test_a_vault_without_any_cluster_left_is_no_empty_mount_point(tmp_path: Any) -> None:
    site = Site(tmp_path)
    site.store.import_golden("debian12", 1, str(site.image()), "raw")
    site.registry.put_access("debian12", ["all"])
    epoch = ask(site, "vm0")["nodes"]["vm0"]["epoch"]
    release(site, "vm0", epoch)
    assert release(site, "vm0", epoch)["error"]["code"] == "stale_epoch"


def test_a_large_set_costs_no_more_writing_than_a_small_one(open_site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """The vault's one lock is held meanwhile, and anybody with a job of one CPU can ask for as many as there may be."""
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", synced.append)
    counts = []
    # The first one makes directories.
    for job_id, images in ((16, "debian12:1"), (17, "debian12:2"), (18, f"debian12:{MOST_MACHINES}")):
        cluster = f"job{job_id}"
        epoch = ask(open_site, "vm0", wanted=vms(images), cluster=cluster, job_id=job_id)["nodes"]["vm0"]["epoch"]
        made = len(synced)
        assert not [owner for owner in open_site.registry.claims(open_site.registry.read())["mac"].values() if "job" in owner]
        assert release(open_site, "vm0", epoch, cluster=cluster) == {"ok": True}
        counts.append((made, len(synced) - made))
        synced.clear()
    assert counts[1] == counts[2]


def test_a_machines_mac_is_nobody_elses_without_a_claim(open_site: Site) -> None:
    mac = ask(open_site, "vm0")["cluster"]["nodes"][0]["mac"]
    computes = [{"nodes": "n0", "cpus": 1, "memory": "512MiB", "source": {"image": "debian12"}, "macs": [mac]}]
    wanted = definition("vc2", computes=computes, network={"cidr": "10.12.0.0/24"})
    assert "job17/vm0" in str(refused("conflict", open_site.define, wanted))
    release(open_site, "vm0", 1)
    open_site.define(wanted)
    assert "vc2/n0" in str(refused("conflict", ask, open_site, "vm0"))


def test_one_user_has_so_many_machines_and_no_more(open_site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_vms, "MOST_MACHINES", 5)
    open_site.registry.put_access("debian12", ["all"])
    ask(open_site, "vm0", wanted=vms("debian12:3"))
    before = open_site.content()
    error = refused("forbidden", ask, open_site, "vm0", wanted=vms("debian12:3"), cluster="job18", job_id=18)
    assert "has 3 of the 5" in str(error)
    assert open_site.content() == before
    ask(open_site, "vm1", wanted=vms("debian12:3"))
    ask(open_site, "vm0", wanted=vms("debian12:2"), cluster="job18", job_id=18)
    ask(open_site, "vm0", wanted=vms("debian12:3"), cluster="job19", job_id=19, user="other")
    release(open_site, "vm0", 1)
    release(open_site, "vm1", 1)
    ask(open_site, "vm0", wanted=vms("debian12:3"), cluster="job20", job_id=20)


def test_an_image_is_for_whom_it_was_given_to(site: Site) -> None:
    before = site.content()
    for granted in ([], ["user:member"], ["account:chemistry"]):
        site.registry.put_access("debian12", granted)
        error = refused("forbidden", ask, site, "vm0")
        assert "debian12" in error.item
        assert "for labuser there are: none" in error.remedy
    assert site.registry.read().clusters.keys() == {"vc1"}
    assert set(site.content()) == {*before, "registry/access.json"}
    for granted in (["all"], ["account:physics"], ["user:member", "user:labuser"]):
        site.registry.put_access("debian12", granted)
        epoch = ask(site, "vm0")["nodes"]["vm0"]["epoch"]
        release(site, "vm0", epoch)


def test_an_image_that_is_not_there_is_refused_in_the_same_words(site: Site) -> None:
    there = str(refused("forbidden", ask, site, "vm0", wanted=vms("debian12:1")))
    not_there = str(refused("forbidden", ask, site, "vm0", wanted=vms("secret-thing:1")))
    assert not_there == there.replace("debian12", "secret-thing")


def test_only_the_job_itself_gets_into_its_cluster(open_site: Site) -> None:
    ask(open_site, "vm0")
    for holder in ({"job_id": 18}, {"restart_count": 1}, {"kind": "frontend"}):
        refused("forbidden", ask, open_site, "vm1", **holder)
        refused("forbidden", open_site.lease, "vm1", cluster="job17", **holder)
    refused("forbidden", ask, open_site, "compute0", cluster="vc1")
    # The number alone is what a host believes; user and account have to be the ones of the first host.
    refused("forbidden", ask, open_site, "vm1", user="member")
    refused("forbidden", ask, open_site, "vm1", account="chemistry")


def test_nobody_defines_a_cluster_that_a_job_could_make(site: Site) -> None:
    for name in ("job17", "job17-1"):
        refused("invalid", site.define, definition(name))
    site.define(definition("job"))
    site.define(definition("job17a", network={"cidr": "10.12.0.0/24"}))


@pytest.mark.parametrize("broken", [True, False])
def test_what_a_killed_command_left_is_swept_by_the_next(open_site: Site, monkeypatch: pytest.MonkeyPatch, broken: bool) -> None:
    def fail(*_arguments: Any) -> None:
        raise KeyboardInterrupt

    if broken:
        with monkeypatch.context() as patch:
            patch.setattr(Exports, "ensure", fail)
            with pytest.raises(KeyboardInterrupt):
                ask(open_site, "vm0")
        open_site.leases.break_("job17", "vm0", "nobody knows of it")
    else:
        with monkeypatch.context() as patch:
            patch.setattr("ansible_collections.hpc.virtual_cluster.plugins.module_utils.vault.leases.Leases._take", fail)
            with pytest.raises(KeyboardInterrupt):
                ask(open_site, "vm0")
        assert "job17" in open_site.registry.read().clusters
        epoch = ask(open_site, "vm0", job_id=18, cluster="job18")["nodes"]["vm0"]["epoch"]
        release(open_site, "vm0", epoch, cluster="job18")
    assert open_site.registry.read().clusters.keys() == {"vc1"}
    assert not (open_site.root / "registry" / "leases" / "job17").exists()


def test_nothing_stays_when_nothing_can_be_exported(open_site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_self: MemoryTgtd, tid: int, iqn: str) -> None:
        raise VcError("backend", iqn, "making its target", f"no room for {tid}", "make room")

    before = set(open_site.content())
    monkeypatch.setattr(MemoryTgtd, "new_target", fail)
    assert ask(open_site, "vm0")["nodes"]["vm0"]["error"]["code"] == "backend"
    assert set(open_site.content()) == before
    assert open_site.registry.read().clusters.keys() == {"vc1"}


def test_networks_of_jobs_differ_also_when_one_after_the_other(open_site: Site) -> None:
    seen = set()
    for number in range(17, 22):
        answer = ask(open_site, "vm0", job_id=number, cluster=f"job{number}")
        seen.add(answer["cluster"]["network"]["vni"])
        release(open_site, "vm0", answer["nodes"]["vm0"]["epoch"], cluster=f"job{number}")
    assert len(seen) == 5
    open_site.define(definition("vc2", network={"cidr": "10.12.0.0/24", "vni": 2**24 - 1 - 30}))
    assert ask(open_site, "vm0", job_id=30, cluster="job30")["cluster"]["network"]["vni"] == 2**24 - 1 - 31


@every_hostile
def test_hostile_requests_are_refused_and_write_nothing(open_site: Site, hostile: str) -> None:
    before = open_site.content()
    for wanted in (
        hostile,
        vms(hostile),
        vms(cpus=hostile),
        vms(memory_mib=hostile),
        vms(ssh_authorized_keys=hostile),
        {**vms(), "x": hostile},
    ):
        if wanted is None:
            continue
        with pytest.raises(VcError) as caught:
            ask(open_site, "vm0", wanted=wanted)
        assert caught.value.code in {"invalid", "forbidden"}
    assert open_site.content() == before
