# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Thousands of disks, snapshots and images in one call: each of them costs what it costs alone, and others get their turn."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.hpc.virtual_cluster.plugins.module_utils import filelock
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.command import Commands
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.model.cluster import Cluster
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.planner import images, isos, snapshots
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.vault import durable
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.vault.lease_record import Lease
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.vault.registry import Registry
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.vault.store import Disk

from tests.unit.steps import is_linear
from tests.unit.vault.site import Site, definition
from tests.unit.vault.test_images import Vault, disk, golden, iso, removals, snapshot, source


def test_many_items_are_read_one_by_one() -> None:
    """Each of them is looked at once, not beside all that came before it."""
    for parse, item in (
        (images.parse_disks, lambda number: disk(f"n{number}")),
        (snapshots.parse_snapshots, lambda number: snapshot(f"s{number}")),
        (isos.parse_isos, lambda number: iso(f"i{number}", "/a")),
        (images.parse_goldens, lambda number: golden(source="/a", revision=number + 1, access=["all"])),
    ):
        assert is_linear(lambda number, item=item: [item(place) for place in range(number)], parse)


def test_many_disks_of_a_cluster_are_planned_one_by_one(site: Site) -> None:
    cluster = site.registry.read().clusters["vc1"]
    node = replace(cluster.node("disk0"), disk_mib=2)

    def asked(number: int) -> Cluster:
        return replace(cluster, nodes=tuple(replace(node, name=f"n{place}") for place in range(number)))

    def plan(wanted: Cluster) -> None:
        for one in wanted.nodes:
            request, there = images.DiskRequest("vc1", one.name, "present"), Disk("vc1", one.name, 1, 2, "debian12@r1")
            assert images.plan_disk(request, wanted, {}, there, Lease("vc1", one.name), ())[0].actions == ()

    assert is_linear(asked, plan)


def fill(vault: Vault, others: int) -> None:
    """Besides what the vault has, so many nodes, disks and snapshots, and as many images and clusters."""
    common = {"cpus": 1, "memory": "512MiB", "source": {"image": "debian12"}}
    if others:
        vault.site.define(definition(computes=[{"nodes": f"disk[0-{others + 1}]", "persistent": True, **common}]))
    nodes = [f"disk{number + 2}" for number in range(others)]
    for number, node in enumerate(nodes):
        vault.site.define(definition(f"other{number}"))
        vault.run(golden(f"other{number}", source=source(vault.site, f"other{number}", f"other{number}".encode())))
        vault.run(disk(node))
        vault.run(snapshot("old", node))
        vault.site.lease(node)


def reads_under_the_lock(vault: Vault, monkeypatch: pytest.MonkeyPatch, *items: dict[str, Any]) -> list[str]:
    """Carry this out; what is read meanwhile by whoever holds the vault's lock: files, directories, and lines of what ZFS says."""
    reads: list[str] = []
    held = []

    @contextlib.contextmanager
    def lock(registry: Registry, item: str, timeout: float = 60.0) -> Iterator[None]:
        with durable.locked(registry.root, item, timeout):
            held.append(item)
            yield
            held.pop()

    def noting(real: Callable[..., Any], told: Callable[..., list[str]]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            answer = real(*arguments, **named)
            reads.extend(told(answer, *arguments) if held else [])
            return answer

        return call

    plan, _shown = vault.plan(*items)
    with monkeypatch.context() as patched:
        patched.setattr(Registry, "lock", lock)
        patched.setattr(durable, "read_json", noting(durable.read_json, lambda _answer, path: [str(path)]))
        patched.setattr(durable, "names", noting(durable.names, lambda answer, path: [f"{path}/{name}" for name in answer]))
        patched.setattr(Commands, "run", noting(Commands.run, lambda answer, _self, _argv: (answer.out + answer.err).splitlines()))
        assert vault.apply(plan, items[0]) == {}
    return reads


def test_what_is_done_to_one_disk_reads_nothing_of_others_under_the_lock(empty_site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """All leases of the site wait for it; the registry is read once in a call, and again when somebody has changed it."""
    vault = Vault(empty_site.fill())
    counts = []
    for others in (0, 3):
        fill(vault, others)
        counts.append([])
        for items in (
            [disk("disk0"), disk("disk1")],
            [disk("disk0", size="8MiB"), disk("disk1", size="8MiB")],
            [snapshot("new"), snapshot("new", "disk1")],
            [snapshot("new", state="absent"), snapshot("new", "disk1", state="absent")],
            [disk("disk0", state="absent"), disk("disk1", state="absent")],
        ):
            reads = reads_under_the_lock(vault, monkeypatch, *items)
            assert [place for place in reads if "other" in place or "disk2" in place] == []
            assert sum(place.endswith("registry.json") for place in reads) <= 1
            counts[-1].append(len(reads))
    assert counts[0] == counts[1]
    assert min(counts[0]) > 0


@pytest.mark.parametrize("kind", ["golden", "iso", "disk", "snapshot"])
def test_who_waits_for_the_vault_is_let_in_between_two_items(site: Site, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    vault = Vault(site)
    items = removals(vault, kind)
    pauses: list[float] = []

    def sleep(seconds: float) -> None:
        with site.registry.lock("another", timeout=0):
            pauses.append(seconds)

    plan, _shown = vault.plan(*items)
    monkeypatch.setattr(time, "sleep", sleep)
    assert vault.apply(plan, items[0]) == {}
    monkeypatch.undo()
    assert len(pauses) == len(plan.actions) - 1 == 1
    # Who waits looks as often as this.
    assert pauses[0] > filelock._PAUSE_SECONDS
