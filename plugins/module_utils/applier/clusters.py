# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Defines and removes virtual clusters in the registry: what module vc_cluster does on the vault host."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Optional

from ..command import Commands
from ..model import definition, names
from ..model.cluster import Cluster
from ..model.errors import VcError
from ..planner.cluster import plan_cluster, plan_removal
from ..planner.plan import Action, Done, ItemPlan, Plan, unheard
from ..vault.lease_files import LeaseFiles
from ..vault.registry import Registry
from ..vault.store import Store


class ClusterActions:
    """One cluster of one vault, from definition to registry.

    ``plan`` and ``apply`` belong together: a plan is carried out only if the registry still says what it said to the plan.
    """

    def __init__(self, commands: Commands, registry: Registry, store: Store) -> None:
        self._commands = commands
        self._registry = registry
        self._store = store
        self._files = LeaseFiles(registry)

    def plan_present(self, wanted: Mapping[str, Any]) -> tuple[Plan, Cluster]:
        """Validate the definition and plan it.  Raises VcError for anything refused; nothing was written."""
        parsed = definition.parse(wanted)
        snapshot = self._registry.read()
        current = snapshot.clusters.get(parsed.name)
        if current is None:
            self._refuse_remains(parsed.name)
        others = [cluster for name, cluster in snapshot.clusters.items() if name != parsed.name]
        disks = {node: disk.disk_mib for node, disk in self._store.disks().get(parsed.name, {}).items()}
        item, cluster = plan_cluster(parsed, current, others, self._held(parsed.name), disks=disks)
        kept = {node.name for node in cluster.nodes if node.persistent}
        self._refuse_disks(parsed.name, kept, "remove the disk with image_vault first, or keep the node")
        return Plan((item,)), cluster

    def plan_absent(self, name: str) -> Plan:
        """Plan the removal.  VcError ``in_use`` while a lease is held or a node's disk exists: work is never removed on the side."""
        name = names.cluster_name(name)
        held = self._held(name)
        item: ItemPlan = plan_removal(name, self._registry.read().clusters.get(name), held)
        if item.actions:
            self._refuse_disks(name, set(), "remove the disks with image_vault (disks, state: absent) first; this loses their content")
        elif not held and self._left_behind(name):
            # A removal that ended between the commit and the files.
            item = ItemPlan(name, "absent", (Action(name, "clean_up"),), {"left_behind": self._left_behind(name)}, None)
        return Plan((item,))

    def apply_present(self, wanted: Mapping[str, Any], planned: Plan, done: Done = unheard) -> Mapping[str, VcError]:
        """Write the cluster; VcError ``conflict`` when the registry has changed since the plan was made."""
        name = planned.items[0].name
        with self._registry.lock(name):
            again, cluster = self.plan_present(wanted)
            self._refuse_stale(planned, again)
            current = self._registry.read().clusters.get(name)
            if current is None:
                # A removal that was killed may have left the key and the leases of another owner's.
                self._clean_up(name)
            if not cluster.ssh_public_key:
                cluster = dataclasses.replace(cluster, ssh_public_key=self._key(name))
            gone = {node.name for node in current.nodes} - {node.name for node in cluster.nodes} if current else set()
            self._registry.put(cluster, self._floor(name, gone))
            for action in planned.actions:
                done(action)
            self._forget(name, gone)
        return {}

    def apply_absent(self, planned: Plan, done: Done = unheard) -> Mapping[str, VcError]:
        """Take the cluster out of the registry, then its key and its leases; its epochs are never given out again."""
        name = planned.items[0].name
        with self._registry.lock(name):
            self._refuse_stale(planned, self.plan_absent(name))
            self._registry.drop(name, self._floor(name, set(self._files.nodes(name))))
            for action in planned.actions:
                done(action)
            self._clean_up(name)
        return {}

    def read(self, name: str) -> Optional[Cluster]:
        """The cluster as registered now."""
        return self._registry.read().clusters.get(name)

    def _held(self, name: str) -> list[str]:
        return [node for node, lease in self._files.of(name).items() if lease.holder is not None]

    def _left_behind(self, name: str) -> list[str]:
        return [*self._files.nodes(name), *self._registry.secrets(name)]

    def _refuse_disks(self, name: str, kept: set[str], remedy: str) -> None:
        lost = sorted(set(self._store.disks().get(name, {})) - kept)
        if lost:
            raise VcError("in_use", name, "taking its nodes away", f"these nodes have disks: {', '.join(lost)}", remedy)

    def _refuse_remains(self, name: str) -> None:
        """A name that is not in the registry and yet has disks or holders: whoever defined it now would get another's."""
        tried, backup = "defining it", f"put registry.json back from a backup ({self._registry.path})"
        disks, held = self._store.disks().get(name, {}), self._held(name)
        if disks:
            detail = f"the store has disks of an earlier cluster of that name: {', '.join(sorted(disks))}"
            remedy = f"remove them with image_vault (disks, state: absent), which loses their content, or {backup}"
            raise VcError("in_use", name, tried, detail, remedy)
        if held:
            detail = f"nodes of an earlier cluster of that name hold leases: {', '.join(sorted(held))}"
            raise VcError("in_use", name, tried, detail, f"{backup}, or choose another name")

    def _clean_up(self, name: str) -> None:
        """Remove what belonged to a cluster that is not in the registry any more."""
        nodes = set(self._files.nodes(name))
        self._registry.drop(name, self._floor(name, nodes))
        self._forget(name, nodes)
        for secret in self._registry.secrets(name):
            self._registry.drop_secret(f"{name}/{secret}")

    def _floor(self, name: str, nodes: set[str]) -> int:
        return max((lease.epoch for node, lease in self._files.of(name).items() if node in nodes), default=0)

    def _forget(self, name: str, nodes: set[str]) -> None:
        for node, lease in self._files.of(name).items():
            if node in nodes:
                self._files.drop_secret(lease)
                self._files.forget(lease)

    def _refuse_stale(self, planned: Plan, again: Plan) -> None:
        if [(item.before, item.after) for item in planned.items] != [(item.before, item.after) for item in again.items]:
            name = planned.items[0].name
            raise VcError("conflict", name, "writing it", "another command changed the registry in the meantime", "run it again")

    def _key(self, name: str) -> str:
        """The cluster's own SSH key, made once: its private half stays in the registry's secrets and goes to the frontend only."""
        public = self._registry.secret(f"{name}/ssh_key.pub")
        if public is None or self._registry.secret(f"{name}/ssh_key") is None:
            with tempfile.TemporaryDirectory(dir=self._registry.root, prefix=".key.") as directory:
                path = Path(directory) / "ssh_key"
                argv = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(path)]
                self._commands.must(argv, name, "making its SSH key", "install openssh-client on the vault host")
                self._registry.put_secret(f"{name}/ssh_key", path.read_bytes())
                public = Path(f"{path}.pub").read_bytes()
                self._registry.put_secret(f"{name}/ssh_key.pub", public)
        return public.decode("ascii").strip()
