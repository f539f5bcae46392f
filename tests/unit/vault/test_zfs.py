# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What only a store on ZFS can meet: its daemon dies, its datasets are damaged or not mounted; and how a vault chooses its store."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.command import Commands
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.planner import images
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.vault import source_file
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.vault.directory_store import DirectoryStore
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.vault.store import find_golden
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.vault.store_choice import open_store
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.vault.zfs import dataset_name
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.vault.zfs_store import ZfsStore

from tests.unit.hostile import HOSTILE, every_hostile
from tests.unit.refusal import refused
from tests.unit.vault.pool import Pool
from tests.unit.vault.site import MIB, Site
from tests.unit.vault.test_images import Vault, disk
from tests.unit.vault.test_modules import run


@pytest.fixture
def zfs(pool: Pool, tmp_path: Path) -> Iterator[Site]:
    """A filled vault on ZFS."""
    with pool.inside(tmp_path / "vault" / "zfs") as dataset:
        yield Site(tmp_path, dataset).fill()


def zfs_says(site: Site, *argv: str) -> str:
    return site.commands.must(["zfs", *argv], "pool", "testing")


def test_the_daemon_is_killed_under_an_import(zfs: Site, pool: Pool) -> None:
    whole = source_file.sha256_of(str(zfs.source))
    held = zfs.lease("disk0", "compute0")
    large = zfs.source.parent / "large.raw"
    large.write_bytes(os.urandom(MIB))
    os.truncate(large, 64 * MIB)
    for delay in (0.05, 0.3):
        child = os.fork()
        if child == 0:
            try:
                for revision in range(2, 100):
                    zfs.store.import_golden("debian12", revision, str(large), "raw")
            finally:
                os._exit(0)
        time.sleep(delay)
        pool.restart()
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        for golden in zfs.store.goldens()["debian12"].values():
            assert source_file.sha256_of(zfs.store.golden_path(golden)) == golden.sha256
    # The same exports from the same paths, and what was imported before.
    assert zfs.lease("disk0", "compute0") == held
    assert source_file.sha256_of(zfs.store.disk_path(zfs.store.disks()["vc1"]["disk0"])) == whole
    last = max(zfs.store.goldens()["debian12"])
    assert zfs.store.import_golden("debian12", last + 1, str(large), "raw").revision == last + 1


def test_a_disk_that_was_cloned_and_not_finished(zfs: Site) -> None:
    golden, head = find_golden(zfs.store.goldens(), "debian12", "testing"), f"{zfs.dataset}/disks/vc1/disk0"

    def begun() -> None:
        about = 'hpc.vc:disk={"disk_mib":2,"image":"debian12@r1","schema":1}'
        zfs_says(zfs, "create", "-p", f"{zfs.dataset}/disks/vc1")
        zfs_says(zfs, "clone", "-o", "canmount=off", "-o", about, f"{zfs.dataset}/goldens/debian12@r1", head)

    # Finished, or made anew where another one is wanted by now.
    for size, made in ((0, 2), (5, 5)):
        begun()
        assert zfs.store.disks() == {}
        disk = zfs.store.make_disk("vc1", "disk0", golden, size)
        assert zfs.store.disks() == {"vc1": {"disk0": disk}}
        assert disk.disk_mib == made
        refused("conflict", zfs.store.make_disk, "vc1", "disk0", golden, size)
        zfs.store.remove_disk(disk)
    begun()
    # It is nobody's disk, so it keeps nothing from being removed.
    zfs.store.remove_golden(golden)
    assert zfs.store.goldens() == {}


def test_views_that_are_not_mounted_are_mounted(zfs: Site) -> None:
    golden = find_golden(zfs.store.goldens(), "debian12", "testing")
    path = Path(zfs.store.golden_path(golden))
    zfs_says(zfs, "unmount", f"{zfs.dataset}/views/golden:debian12:r1")
    assert not path.exists()
    assert zfs.store.golden_path(golden) == str(path)
    assert path.is_file()
    # Nobody writes to what guests read.
    with pytest.raises(OSError, match="Read-only"):
        path.parent.joinpath("new").touch()


def test_a_store_that_is_not_there_is_not_an_empty_one(zfs: Site) -> None:
    for dataset in ("nosuchpool/vault", f"{zfs.dataset}/nosuch"):
        store = ZfsStore(zfs.commands, dataset)
        for look in (store.goldens, store.disks, store.snapshots, store.isos):
            assert "does not exist" in refused("backend", look).detail
        assert "does not exist" in refused("backend", store.revisions, "debian12").detail
        for one in (store.disk, store.snapshots_of):
            assert "does not exist" in refused("backend", one, "vc1", "disk0").detail
    zfs_says(zfs, "unmount", "-f", zfs.dataset)
    assert "not mounted" in refused("backend", ZfsStore(zfs.commands, zfs.dataset).isos).detail


DAMAGES = ("{", "[]", '{"schema":1}', '{"schema":1,"disk_mib":"x","image":"debian12@r1"}', '{"schema":1,"disk_mib":3}')


@pytest.mark.parametrize("value", DAMAGES)
def test_damaged_properties_are_named(zfs: Site, value: str) -> None:
    zfs.store.make_disk("vc1", "disk0", find_golden(zfs.store.goldens(), "debian12", "testing"), 0)
    golden = "goldens/debian12@r1"
    for place, key, look in (("disks/vc1/disk0", "disk", zfs.store.disks), (golden, "golden", zfs.store.goldens)):
        zfs_says(zfs, "set", f"hpc.vc:{key}={value}", f"{zfs.dataset}/{place}")
        assert place in refused("backend", look).item
    zfs_says(zfs, "set", 'hpc.vc:golden={"schema":2}', f"{zfs.dataset}/{golden}")
    refused("version", zfs.store.goldens)


def test_one_look_at_the_pool_for_any_number_of_disks(zfs: Site) -> None:
    def calls(*nodes: str) -> int:
        before = zfs.commands.count
        Vault(zfs).actions.plan_disks(images.parse_disks([disk(node) for node in nodes]))
        return zfs.commands.count - before

    assert calls("disk0") == calls("disk0", "disk1", "frontend") == 3


def test_a_path_that_does_not_fit_is_refused(zfs: Site, tmp_path: Path) -> None:
    deep = tmp_path.joinpath(*["d" * 200] * 5)
    deep.mkdir(parents=True)
    source = deep / "image.raw"
    source.write_bytes(bytes(MIB))
    assert "shorter" in refused("invalid", zfs.store.import_golden, "deep", 1, str(source), "raw").remedy
    assert list(zfs.store.goldens()) == ["debian12"]


def choose(root: Path, **choice: Any) -> None:
    (root / "store.json").write_text(json.dumps({"schema": 1, **choice}), encoding="utf-8")


def test_the_choice_of_a_store(tmp_path: Path) -> None:
    root = Site(tmp_path).root
    assert isinstance(open_store(Commands(), str(root)), DirectoryStore)
    choose(root, store="directory")
    assert isinstance(open_store(Commands(), str(root)), DirectoryStore)
    choose(root, store="zfs", dataset="tank/vc-vault")
    assert isinstance(open_store(Commands(), str(root)), ZfsStore)
    choose(root, store="ceph")
    assert "directory, zfs" in refused("invalid", open_store, Commands(), str(root)).remedy
    choose(root, store="zfs", schema=2)
    refused("version", open_store, Commands(), str(root))
    # Every module says so, as a refusal.
    for module, arguments in (("image_vault", {"isos": []}), ("vc_cluster", {"name": "vc1", "state": "absent"})):
        answer = run(module, vault_root=str(root), **arguments)
        assert (answer["failed"], answer["error_code"], answer["changed"]) == (True, "version", False)


def test_another_store_does_not_hide_what_is_there(tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.store.import_iso("a.iso", str(site.image()), "")
    choose(site.root, store="zfs", dataset="tank/vc-vault")
    error = refused("conflict", open_store, site.commands, str(site.root))
    assert "tank/vc-vault" in error.detail


@every_hostile
def test_hostile_datasets(hostile: str) -> None:
    # A dataset is not a path: nothing leads out of it.
    if hostile not in (HOSTILE["slash"], HOSTILE["two_dots"]):
        refused("invalid", dataset_name, f"tank/{hostile}")


def test_datasets() -> None:
    for good in ("tank", "tank/vc-vault", "Tank_1/a.b/c"):
        assert dataset_name(good) == good
    for bad in (None, 7, "", "/tank", "tank/", "tank//a", "tank/@a", "-o/a", "tank/../a", "t" * 101):
        refused("invalid", dataset_name, bad)
