# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A small real vault in a directory, and requests to it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.applier.clusters import ClusterActions
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.command import Commands, Result
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.model.cluster import Cluster
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.vault import durable
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.vault.iscsi import Exports
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.vault.lease_record import Caller
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.vault.leases import Leases
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.vault.registry import Registry
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.vault.store_choice import open_store
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.vault.tgtd import Target, Tgtd

BOOTS = [f"{number:08x}-0000-4000-8000-000000000000" for number in range(9)]
MIB = 1024 * 1024


class MemoryTgtd(Tgtd):
    """The daemon's bookkeeping without the daemon, where leases are what is tested; the real one is in test_tgtd.py."""

    def __init__(self) -> None:
        super().__init__("/nonexistent")
        self.kept: dict[int, Target] = {}
        self.secrets: dict[str, str] = {}
        self.writes = 0
        self.looks = 0

    def targets(self) -> list[Target]:
        self.looks += 1
        return list(self.kept.values())

    def accounts(self) -> set[str]:
        return set(self.secrets)

    def new_target(self, tid: int, iqn: str) -> None:
        assert tid not in self.kept
        self.writes += 1
        self.kept[tid] = Target(tid, iqn)

    def new_disk(self, tid: int, iqn: str, path: str) -> None:
        assert Path(path).is_file()
        self.kept[tid].path, self.kept[tid].readonly = path, True

    def new_account(self, user: str, secret: str) -> None:
        assert user not in self.secrets
        self.secrets[user] = secret

    def bind_account(self, tid: int, user: str) -> None:
        self.kept[tid].accounts.append(user)

    def bind_address(self, tid: int, address: str) -> None:
        self.kept[tid].addresses.append(address)

    def delete_target(self, tid: int, iqn: str) -> None:
        self.writes += 1
        del self.kept[tid]

    def delete_account(self, user: str) -> None:
        del self.secrets[user]


class Site:
    """A vault under `root`, by default in plain files.

    Filled, it has a golden image and cluster vc1: a frontend on fe1, two ephemeral computes, two persistent ones.
    """

    def __init__(self, root: Path, dataset: str = "") -> None:
        self.root = root / "vault"
        self.root.mkdir(mode=0o700, exist_ok=True)
        self.dataset = dataset
        if dataset:
            durable.write_json(self.root / "store.json", {"store": "zfs", "dataset": dataset})
        self.commands = Commands()
        self.registry = Registry(str(self.root))
        self.store = open_store(self.commands, str(self.root))
        self.tgtd: Tgtd = MemoryTgtd()
        self.source = root / "debian.raw"

    @property
    def leases(self) -> Leases:
        return Leases(self.registry, self.store, Exports(self.tgtd))

    @property
    def clusters(self) -> ClusterActions:
        return ClusterActions(self.commands, self.registry, self.store)

    def image(self, content: bytes = b"golden", size: int = 2 * MIB) -> Path:
        self.source.write_bytes(content)
        with self.source.open("r+b") as stream:
            stream.truncate(size)
        return self.source

    def fill(self) -> Site:
        self.store.import_golden("debian12", 1, str(self.image()), "raw")
        self.define(definition())
        return self

    def define(self, wanted: dict[str, Any]) -> Cluster:
        plan, _cluster = self.clusters.plan_present(wanted)
        if plan.actions:
            self.clusters.apply_present(wanted, plan)
        cluster = self.clusters.read(wanted["name"])
        assert cluster is not None
        return cluster

    def lease(self, *nodes: str, host: str = "hv1", cluster: str = "vc1", **holder: Any) -> dict[str, Any]:
        return self.leases.lease(caller(host), {"cluster": cluster, "nodes": list(nodes), "holder": job(**holder)})

    def content(self) -> dict[str, tuple[bytes, int]]:
        """Every file under the vault with its bytes and time of change; of datasets and snapshots what ZFS says of them."""
        files = [path for path in sorted(self.root.rglob("*")) if path.is_file() and path.name != "store.json"]
        found = {str(path.relative_to(self.root)): (path.read_bytes(), path.stat().st_mtime_ns) for path in files}
        if self.dataset:
            look = ["zfs", "get", "-Hpr", "-o", "name,property,value,source", "all", self.dataset]
            for line in self.commands.must(look, "pool", "looking").splitlines():
                name, key, _value, where = line.split("\t")
                # The parents of what is stored come with the first of them.
                if name.count("/") > 2 and (where == "local" or key == "creation"):
                    found[line] = (b"", 0)
        return found


def before_the_first_copy(monkeypatch: pytest.MonkeyPatch, happens: Callable[[], object]) -> None:
    """Do something when the first command is about to copy or clone what was looked at."""
    real, once = Commands.run, [happens]

    def run(commands: Commands, argv: Sequence[str], **others: Any) -> Result:
        if once and (argv[0] in ("cp", "qemu-img") or argv[:2] == ["zfs", "clone"]):
            once.pop()()
        return real(commands, argv, **others)

    monkeypatch.setattr(Commands, "run", run)


def definition(name: str = "vc1", **changes: Any) -> dict[str, Any]:
    """What a user writes."""
    common = {"cpus": 1, "memory": "512MiB", "source": {"image": "debian12"}}
    return {
        "name": name,
        "owner": "labuser",
        "members": ["member"],
        "account": "physics",
        "frontend": {"host": "fe1", **common},
        "computes": [{"nodes": "compute[0-1]", **common}, {"nodes": "disk[0-1]", "persistent": True, **common}],
        **changes,
    }


def caller(host: str = "hv1") -> Caller:
    return Caller(host, f"10.77.0.{20 + int(host[-1])}", "10.77.0.12:3260")


def job(**changes: Any) -> dict[str, Any]:
    """A job's holder, as a host sends it."""
    holder = {"kind": "job", "job_id": 17, "restart_count": 0, "user": "labuser", "account": "physics", "boot_id": BOOTS[0]}
    return {**holder, **changes}
