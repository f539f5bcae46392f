# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The registry: numbers are given out once, whatever dies and whoever races."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.model.errors import VcError
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.vault.lease_files import LeaseFiles
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.vault.registry import Registry

from tests.unit.refusal import refused
from tests.unit.vault.site import Site, caller, definition


def test_a_second_run_leaves_every_byte(site: Site) -> None:
    before = site.content()
    site.define(definition())
    assert site.content() == before


def test_reading_a_vault_that_is_not_there(tmp_path: Path) -> None:
    site = Site(tmp_path)
    plan, cluster = site.clusters.plan_present(definition())
    assert [action.verb for action in plan.actions][0] == "define"
    assert cluster.network.vni == 10001
    assert site.content() == {}
    site.root.rmdir()
    refused("backend", site.define, definition())


def test_check_mode_predicts_all_but_the_key(tmp_path: Path) -> None:
    site = Site(tmp_path)
    _plan, predicted = site.clusters.plan_present(definition())
    real = site.define(definition())
    assert real.ssh_public_key.startswith("ssh-ed25519 ")
    assert {**real.to_dict(), "ssh_public_key": ""} == predicted.to_dict()


def test_secrets_are_for_root_only(site: Site) -> None:
    site.lease("compute0")
    for path in (site.root / "registry" / "secrets").rglob("*"):
        assert path.stat().st_mode & 0o077 == 0, path
    private = site.registry.secret("vc1/ssh_key") or b""
    assert b"PRIVATE KEY" in private
    shown = json.dumps(site.leases.everything()) + (site.root / "registry" / "registry.json").read_text()
    assert "PRIVATE" not in shown
    for lease in (site.root / "registry" / "secrets" / "vc1").glob("*.chap"):
        assert lease.read_text().split()[1] not in shown


def test_numbers_of_another_cluster_are_refused(site: Site) -> None:
    before = site.content()
    for network in ({"vni": 10001}, {"pkey": "0x0001"}):
        refused("conflict", site.define, definition("vc2", network=network))
    computes = [{"nodes": "n0", "cpus": 1, "memory": "512MiB", "source": {"image": "debian12"}, "macs": ["02:00:27:11:00:01"]}]
    error = refused("conflict", site.define, definition("vc2", computes=computes))
    assert "vc1/compute0" in str(error)
    assert site.content() == before


def test_a_claim_of_a_dead_writer_counts_for_nothing(site: Site) -> None:
    orphan = site.root / "registry" / "claims" / "vni" / "10002"
    orphan.write_text("dead\n")
    (site.root / "registry" / "claims" / "vni" / "10003").write_text("")
    assert site.registry.claims(site.registry.read())["vni"] == {"10001": "vc1"}
    cluster = site.define(definition("vc2"))
    assert cluster.network.vni == 10002
    assert orphan.read_text() == "vc2\n"


def test_removed_nodes_give_their_numbers_back(site: Site) -> None:
    one = {"nodes": "compute0", "cpus": 1, "memory": "512MiB", "source": {"image": "debian12"}}
    site.define(definition(computes=[one]))
    macs = site.registry.claims(site.registry.read())["mac"]
    assert sorted(macs.values()) == ["vc1/compute0", "vc1/frontend"]
    assert sorted(os.listdir(site.root / "registry" / "claims" / "mac")) == sorted(macs)


def test_one_directory_is_synced_once(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[str] = []

    def fsync(descriptor: int) -> None:
        synced.append(os.readlink(f"/proc/self/fd/{descriptor}"))

    monkeypatch.setattr(os, "fsync", fsync)
    macs = str(site.root / "registry" / "claims" / "mac")
    site.define(definition("vc2"))
    assert (synced.count(macs), len([path for path in synced if path.startswith(f"{macs}/")])) == (1, 5)
    synced.clear()
    site.clusters.apply_absent(site.clusters.plan_absent("vc2"))
    assert synced.count(macs) == 1


def test_epochs_survive_the_removal_of_a_cluster(site: Site) -> None:
    for number in range(3):
        epoch = site.lease("compute0", job_id=20 + number)["nodes"]["compute0"]["epoch"]
        site.leases.release(caller(), {"cluster": "vc1", "nodes": {"compute0": {"epoch": epoch, "outcome": "discarded"}}})
    site.clusters.apply_absent(site.clusters.plan_absent("vc1"))
    assert site.registry.read().epoch_floor == 3
    left = {path for path in site.content() if path.startswith("registry/")}
    assert left == {"registry/registry.json"}
    site.define(definition())
    assert site.lease("compute0")["nodes"]["compute0"]["epoch"] == 4
    assert site.lease("compute1")["nodes"]["compute1"]["epoch"] == 4


@pytest.mark.parametrize("reached", ["forget", "drop_secret"])
def test_the_next_owner_of_a_name_gets_nothing_of_the_last_one(site: Site, monkeypatch: pytest.MonkeyPatch, reached: str) -> None:
    """The removal is killed after its commit, before it takes leases away, and before it takes the key away."""
    site.lease("compute0")
    site.leases.release(caller(), {"cluster": "vc1", "nodes": {"compute0": {"epoch": 1, "outcome": "discarded"}}})
    keys = {name: site.registry.secret(f"vc1/{name}") for name in ("ssh_key", "ssh_key.pub")}
    assert all(keys.values())
    with monkeypatch.context() as patched:
        patched.setattr(LeaseFiles if reached == "forget" else Registry, reached, lambda *_arguments: os._exit(9))
        child = os.fork()
        if child == 0:
            site.clusters.apply_absent(site.clusters.plan_absent("vc1"))
            os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    assert site.registry.read().clusters == {}
    assert {name: site.registry.secret(f"vc1/{name}") for name in keys} == keys
    cluster = site.define(definition(owner="other"))
    assert not {site.registry.secret(f"vc1/{name}") for name in keys} & set(keys.values())
    assert cluster.ssh_public_key == (site.registry.secret("vc1/ssh_key.pub") or b"").decode().strip()
    assert site.lease("compute0", user="other")["nodes"]["compute0"]["epoch"] == 2


def test_a_name_with_disks_or_holders_of_another_cluster_is_not_given_out(site: Site) -> None:
    site.lease("disk0")
    (site.root / "registry" / "registry.json").rename(site.root.parent / "registry.json")
    before = site.content()
    error = refused("in_use", site.define, definition())
    assert ("disk0" in error.detail, "registry.json" in error.remedy) == (True, True)
    site.store.remove_disk(site.store.disks()["vc1"]["disk0"])
    assert "disk0" in refused("in_use", site.define, definition()).detail
    assert [path for path in site.content() if path.startswith("registry/")] == [path for path in before if path.startswith("registry/")]
    (site.root.parent / "registry.json").rename(site.root / "registry" / "registry.json")
    site.define(definition())


def test_removal_is_refused_while_something_would_be_lost(site: Site) -> None:
    site.lease("compute0")
    refused("in_use", site.clusters.plan_absent, "vc1")
    refused("in_use", site.define, definition(computes=[]))
    site.leases.release(caller(), {"cluster": "vc1", "nodes": {"compute0": {"epoch": 1, "outcome": "discarded"}}})
    site.lease("disk0")
    site.leases.release(caller(), {"cluster": "vc1", "nodes": {"disk0": {"epoch": 1, "outcome": "discarded"}}})
    error = refused("in_use", site.clusters.plan_absent, "vc1")
    assert "disk0" in error.detail
    assert "image_vault" in error.remedy
    refused("in_use", site.define, definition(computes=[]))
    assert site.clusters.plan_absent("nothing").actions == []


def test_a_plan_on_a_stale_picture_is_not_written(site: Site) -> None:
    wanted = definition("vc2")
    plan, _cluster = site.clusters.plan_present(wanted)
    site.define(definition("vc3"))
    before = site.content()
    refused("conflict", site.clusters.apply_present, wanted, plan)
    assert site.content() == before


def test_who_watches_the_registry_sees_every_change(tmp_path: Path) -> None:
    """And what did not change is not read again."""
    site = Site(tmp_path)
    with site.registry.watched() as look:
        assert look().clusters == {}
        # The numbers of files that are gone are given to new ones.
        for number in range(20):
            site.registry.drop(f"vc{number % 2}", epoch_floor=number)
            site.fill() if not number else site.define(definition(f"vc{number % 2}"))
            assert look() == site.registry.read()
            assert look() is look()
        written = site.root / "registry" / "registry.json"
        written.write_text(written.read_text() + "\n")
        before = look()
        written.write_text("damaged")
        refused("backend", look)
        written.unlink()
        assert look().clusters == {} != before.clusters
    assert not [fd for fd in Path("/proc/self/fd").iterdir() if "registry.json" in os.path.realpath(fd)]


def test_a_newer_registry_is_refused(site: Site) -> None:
    path = site.root / "registry" / "registry.json"
    path.write_text(path.read_text().replace('"schema": 1', '"schema": 2'))
    before = site.content()
    refused("version", site.define, definition("vc2"))
    refused("version", site.lease, "compute0")
    assert site.content() == before


def _define(root: Path, name: str, done: multiprocessing.SimpleQueue[tuple[str, str]]) -> None:
    site = Site(root)
    for _attempt in range(200):
        try:
            site.define(definition(name))
            done.put((name, "ok"))
            return
        except VcError as error:
            if error.code != "conflict":
                done.put((name, str(error)))
                return
    done.put((name, "gave up"))


def test_writers_in_parallel_never_get_the_same_number(site: Site) -> None:
    done: multiprocessing.SimpleQueue[tuple[str, str]] = multiprocessing.SimpleQueue()
    names = [f"race{number}" for number in range(8)]
    writers = [multiprocessing.Process(target=_define, args=(site.root.parent, name, done)) for name in names]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
    assert sorted(done.get() for _writer in writers) == [(name, "ok") for name in names]
    clusters = site.registry.read().clusters.values()
    assert sorted(cluster.network.vni for cluster in clusters) == list(range(10001, 10010))
    assert len({node.mac for cluster in clusters for node in cluster.nodes}) == 9 * 5
    assert len(site.registry.claims(site.registry.read())["mac"]) == 9 * 5


def _define_until(root: Path, step: int) -> None:
    """Define vc1 and die by SIGKILL before the system call with this number, of those that change or sync a file."""
    made = 0

    def counted(original: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **keywords: Any) -> Any:
            nonlocal made
            made += 1
            if made == step:
                os.kill(os.getpid(), signal.SIGKILL)
            return original(*arguments, **keywords)

        return call

    for name in ("mkdir", "fsync", "rename", "link", "unlink"):
        setattr(os, name, counted(getattr(os, name)))
    Site(root).define(definition())


def test_a_writer_killed_anywhere_is_finished_by_the_next(tmp_path: Path) -> None:
    """Whatever is left, the same definition goes through, and another cluster gets other numbers."""
    for step in range(1, 400):
        root = tmp_path / str(step)
        root.mkdir()
        site = Site(root)
        writer = multiprocessing.Process(target=_define_until, args=(root, step))
        writer.start()
        writer.join(60)
        assert writer.exitcode in (0, -signal.SIGKILL)
        other = site.define(definition("vc2"))
        # Also what nobody would write again.
        assert not [path for path in site.content() if "/." in path and "registry" in path]
        cluster = site.define(definition())
        assert cluster.network.vni != other.network.vni
        assert cluster.ssh_public_key
        if writer.exitcode == 0:
            break
    assert 40 < step < 399
