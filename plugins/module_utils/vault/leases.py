# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The verbs of the vault: lease, state, release, break, status.  Who asks for what is checked against the registry, every time.

All of them take lists, hold the one lock for the whole batch, and look at the target daemon once.
"""

from __future__ import annotations

import contextlib
import datetime
import functools
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Optional

from ..model import names
from ..model.cluster import Cluster, Node
from ..model.errors import VcError
from ..model.states import node_state
from . import admission, ephemeral, lease_record, operators
from .ephemeral import Ephemeral
from .iscsi import LUN, Export, Exports, chap_user, iqn, new_secret
from .lease_files import LeaseFiles
from .lease_record import OUTCOMES, REPORTED, Caller, Holder, Lease
from .registry import Registry, Snapshot
from .store import Disks, Goldens, Store, find_golden

LARGEST_BATCH = 4096
# Hosts wait two minutes for an answer (vault.client).  A lease given later would be one that nobody knows of.
LATEST_SECONDS = 90.0


def utc_now() -> str:
    """Now, as leases record it."""
    return datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


class Leases:
    """The leases of one vault.

    Parameters
    ----------
    registry, store, exports : the three things a lease joins
    now : the clock, for tests
    """

    def __init__(self, registry: Registry, store: Store, exports: Exports, now: Callable[[], str] = utc_now) -> None:
        self._registry = registry
        self._store = store
        self._exports = exports
        self._files = LeaseFiles(registry)
        self._ephemeral = Ephemeral(registry, self._files)
        self._now = now

    def authorize(self, _caller: Caller, args: Mapping[str, Any]) -> dict[str, Any]:
        """``{cluster, user}`` -> ``{roles, cluster}``: who somebody is to a cluster, for a gate."""
        return operators.authorize(self._registry, args)

    def lease(self, caller: Caller, args: Mapping[str, Any]) -> dict[str, Any]:
        """``{cluster, nodes[], holder, vms?}`` -> ``{cluster, nodes: {name: answer}}``, for a frontend also ``ssh_private_key``.

        With `vms` the cluster is the job's own, and is made if it is not there yet.

        Raises VcError for the whole request: ``invalid``, ``duplicate``, ``forbidden`` (cluster, user, account).
        """
        name = names.cluster_name(args.get("cluster"))
        nodes = _node_list(args.get("nodes"))
        holder = Holder.from_request(args.get("holder"), caller, self._now())
        tried = f"leasing its nodes to {holder}"
        vms = ephemeral.requested(args, name, holder)
        answers: dict[str, dict[str, Any]] = {}
        asked = time.monotonic()
        if vms is None:
            cluster = admission.cluster_for(self._registry.read(), name, holder, tried)
            # Outside the lock: where blocks cannot be shared this copies a whole image.
            self._make_disks(cluster, nodes, holder, answers)
        with self._registry.lock(name):
            if time.monotonic() - asked > LATEST_SECONDS:
                detail = f"it took more than {LATEST_SECONDS:g} s until its disks were made and the registry was free"
                raise VcError("timeout", name, tried, detail, "ask again: its disks are made now")
            self._files.sweep()
            if vms is not None:
                self._ephemeral.ensure(name, vms, holder, self._store.goldens())
            snapshot = self._registry.read()
            cluster = admission.cluster_for(snapshot, name, holder, tried)
            taken = self._take(snapshot, cluster, [node for node in nodes if node not in answers], holder, answers)
            failed = self._serve(taken)
            for lease, export in taken.held:
                error = failed.get(export.item)
                answers[lease.node] = _grant(cluster.node(lease.node), lease, export, caller.portal) if error is None else _refusal(error)
                if error is not None and lease.node in taken.fresh:
                    # Its holder never learns the epoch that it would need to give it back.
                    self._free(lease, caller.host)
            self._ephemeral.settle(name)
        answer: dict[str, Any] = {"cluster": cluster.to_dict(), "nodes": {node: answers[node] for node in nodes}}
        if holder.kind == "frontend":
            answer["ssh_private_key"] = (self._registry.secret(f"{name}/ssh_key") or b"").decode("ascii")
        return answer

    def state(self, caller: Caller, args: Mapping[str, Any]) -> dict[str, Any]:
        """``{cluster, nodes: {name: {epoch, state}}}`` -> ``{nodes: {name: {ok} | {ok, error}}}``."""
        name, wanted = _fenced(args, "state")

        def change(lease: Lease, epoch: int, text: Any) -> Lease:
            state = node_state(text)
            if state not in REPORTED:
                raise VcError(
                    "invalid", lease.item, "recording a state", f"{state.value} is not for a host to say", "report what the guest does"
                )
            return lease_record.reported(lease, caller.host, epoch, state, self._now())

        with self._registry.lock(name):
            self._insist_on_registry(name)
            return {"nodes": {node: self._change(name, node, epoch, text, change)[1] for node, (epoch, text) in wanted.items()}}

    def release(self, caller: Caller, args: Mapping[str, Any]) -> dict[str, Any]:
        """``{cluster, nodes: {name: {epoch, outcome}}}`` -> ``{nodes: {name: {ok} | {ok, error}}}``; then the exports are gone."""
        name, wanted = _fenced(args, "outcome")

        def change(lease: Lease, epoch: int, outcome: Any) -> Lease:
            if outcome not in OUTCOMES:
                detail = f"{names.shown(outcome)} is not an outcome"
                raise VcError("invalid", lease.item, "releasing it", detail, f"use one of {', '.join(OUTCOMES)}")
            return lease_record.released(lease, caller.host, epoch, outcome, self._now())

        with self._registry.lock(name):
            self._insist_on_registry(name)
            done = {node: self._change(name, node, epoch, outcome, change) for node, (epoch, outcome) in wanted.items()}
            self._drop([lease for lease, _answer in done.values() if lease is not None])
            self._ephemeral.settle(name)
        return {"nodes": {node: answer for node, (_lease, answer) in done.items()}}

    def break_(self, cluster: str, node: str, reason: str) -> dict[str, Any]:
        """Take a lease from its holder: for admins, on the vault host only.  Answers ``{changed, lease}``."""
        lease_item = f"{names.cluster_name(cluster)}/{names.node_name(node)}"
        if not reason.strip() or not reason.isprintable() or len(reason) > 200:
            raise VcError("invalid", lease_item, "breaking its lease", "the reason is empty or not one short line", "say why, in one line")
        with self._registry.lock(cluster):
            self._registry.read().cluster(cluster, "breaking a lease").node(node)
            lease = self._files.read(cluster, node)
            if lease.holder is None:
                return {"changed": False, "lease": lease.public()}
            after = lease_record.broken(lease, reason, self._now())
            self._files.write(after)
            self._drop([lease])
            self._ephemeral.settle(cluster)
        return {"changed": True, "lease": after.public()}

    def restore_exports(self) -> dict[str, Any]:
        """Give a restarted target daemon every export that a lease holds, and take away what none holds.

        A lease that cannot be served does not keep the others from theirs: VcError for the first such one comes at the end.
        """
        exports: list[Export] = []
        failed: dict[str, VcError] = {}
        with self._registry.lock("exports"):
            goldens, disks = self._store.goldens(), self._store.disks()
            for cluster in self._registry.read().clusters:
                for node in self._files.nodes(cluster):
                    try:
                        export = self._export(self._files.read(cluster, node), goldens, disks)
                    except VcError as error:
                        failed[f"{cluster}/{node}"] = error
                    else:
                        exports += [] if export is None else [export]
            removed = self._exports.keep_only(exports, failed)
            failed.update(self._exports.ensure(exports))
        if failed:
            item, first = min(failed.items(), key=lambda entry: entry[0])
            more = f" (and {len(failed) - 1} more nodes)" if len(failed) > 1 else ""
            raise VcError(first.code, f"{item}{more}", "restoring its export", str(first), first.remedy)
        return {"exports": sorted(export.iqn for export in exports), "removed": sorted(removed)}

    def visible(self, caller: Caller, args: Mapping[str, Any]) -> dict[str, Any]:
        """``{cluster?}`` -> ``{clusters: {name: {cluster, leases}}}``: what is leased to this host, and frontends that belong to it."""
        only = names.cluster_name(args["cluster"]) if args.get("cluster") else ""
        self._insist_on_registry(only or "vault")
        found: dict[str, Any] = {}
        for cluster in self._registry.read().clusters.values():
            leases = {
                node: lease.public()
                for node, lease in self._files.of(cluster.name).items()
                if lease.holder is not None and lease.holder.host == caller.host
            }
            ours = leases or any(node.host == caller.host for node in cluster.nodes)
            if ours and only in ("", cluster.name):
                found[cluster.name] = {"cluster": cluster.to_dict(), "leases": leases}
        return {"clusters": found}

    def begin(self) -> dict[str, Any]:
        """Make an empty registry where none is yet, so that a place without one is known to be none: ``{changed}``."""
        with self._registry.lock("vault"):
            return {"changed": self._registry.begin()}

    def everything(self, only: str = "") -> dict[str, Any]:
        """For admins: clusters, leases, claims, disks, golden images, ISOs, exports; no secrets."""
        snapshot = self._registry.read()
        if only:
            snapshot = Snapshot({only: snapshot.cluster(only, "reading the vault")}, snapshot.epoch_floor)
        disks, snapshots = self._store.disks(), self._store.snapshots()
        clusters = {
            name: {
                "cluster": cluster.to_dict(),
                "leases": {node.name: self._files.read(name, node.name).public() for node in cluster.nodes},
                "disks": {node: {**disk.__dict__, "pristine": disk.pristine} for node, disk in disks.get(name, {}).items()},
                "snapshots": {
                    node: {kept.name: dict(kept.__dict__) for kept in held.values()} for node, held in snapshots.get(name, {}).items()
                },
            }
            for name, cluster in sorted(snapshot.clusters.items())
        }
        goldens = {
            name: {golden.ref: golden.to_dict() for golden in revisions.values()} for name, revisions in self._store.goldens().items()
        }
        exports = {target.iqn: {"path": target.path, "readonly": target.readonly} for target in self._exports.present()}
        isos = {name: iso.to_dict() for name, iso in self._store.isos().items()}
        claims = self._registry.claims(snapshot)
        return {"clusters": clusters, "claims": claims, "goldens": goldens, "isos": isos, "exports": exports}

    def _insist_on_registry(self, item: str) -> None:
        """A host drops what is stale or not held, so an empty mount point must not be taken for a registry without leases."""
        if not self._registry.exists():
            remedy = f"on the vault host: is the file system of {self._registry.root} mounted?"
            raise VcError("backend", item, "reading its leases", "there is no registry in this vault", remedy)

    def _make_disks(self, cluster: Cluster, nodes: Sequence[str], holder: Holder, answers: dict[str, dict[str, Any]]) -> None:
        goldens, disks = self._store.goldens(), self._store.disks().get(cluster.name, {})
        for name in nodes:
            try:
                node = cluster.node(name)
                admission.allow(cluster, node, holder)
                if not node.persistent or name in disks:
                    continue
                lease = self._files.read(cluster.name, name)
                if lease.generation:
                    detail = f"it had a disk (generation {lease.generation}) that the store no longer has"
                    remedy = "restore the store; to begin anew from the image: image_vault disks"
                    raise VcError("unknown", lease.item, "leasing it", detail, remedy)
                golden = find_golden(goldens, node.image, f"making the disk of {lease.item}")
                self._store.make_disk(cluster.name, name, golden, node.disk_mib, functools.partial(self._still, cluster.name, node))
            except VcError as error:
                # Somebody else has made it in the meantime: as good.  Or it is not to be made any more, which is told under the lock.
                if error.code != "conflict":
                    answers[name] = _refusal(error)

    @contextlib.contextmanager
    def _still(self, cluster: str, node: Node) -> Iterator[None]:
        """The lock, if the disk that was made is still what the node is to have; VcError ``conflict``."""
        item = f"{cluster}/{node.name}"
        with self._registry.lock(item):
            now = self._registry.read().clusters.get(cluster)
            if now is None or _disk_of(node) not in map(_disk_of, now.nodes):
                raise VcError("conflict", item, "making its disk", "its definition has changed meanwhile", "ask again")
            yield

    def _take(
        self, snapshot: Snapshot, cluster: Cluster, nodes: Sequence[str], holder: Holder, answers: dict[str, dict[str, Any]]
    ) -> _Taken:
        taken = _Taken()
        goldens, disks = self._store.goldens(), self._store.disks()
        for name in nodes:
            try:
                node = cluster.node(name)
                admission.allow(cluster, node, holder)
                before = self._files.read(cluster.name, name)
                lease = lease_record.take(before, holder, snapshot.epoch_floor, holder.since)
                if lease.epoch != before.epoch:
                    lease = _with_disk(lease, node, goldens, disks)
                    # Before the lease: one without a secret could never be served.
                    self._files.write_secret(lease, new_secret())
                    taken.lost += [before] if before.holder is not None else []
                    taken.fresh.add(name)
                self._files.write(lease)
                export = self._export(lease, goldens, disks)
                if export is None:
                    remedy = f"vc-vault break {lease.cluster} {lease.node}, then lease it again"
                    raise VcError("backend", lease.item, "exporting it", "its disk or its CHAP secret is gone", remedy)
                taken.held.append((lease, export))
            except VcError as error:
                answers[name] = _refusal(error)
        return taken

    def _serve(self, taken: _Taken) -> Mapping[str, VcError]:
        try:
            self._exports.drop((lease.cluster, lease.node, lease.epoch) for lease in taken.lost)
            return self._exports.ensure([export for _lease, export in taken.held])
        except VcError as error:
            return {export.item: error for _lease, export in taken.held}

    def _export(self, lease: Lease, goldens: Goldens, disks: Disks) -> Optional[Export]:
        secret = self._files.secret(lease)
        if lease.holder is None or not lease.exported or not secret:
            return None
        if lease.generation:
            disk = disks.get(lease.cluster, {}).get(lease.node)
            path = "" if disk is None else self._store.disk_path(replace(disk, generation=lease.generation))
        else:
            path = self._store.golden_path(find_golden(goldens, lease.image, f"exporting {lease.item}"))
        return Export(lease.cluster, lease.node, lease.epoch, path, lease.holder.address, secret) if path else None

    def _change(
        self, cluster: str, node: str, epoch: int, value: Any, change: Callable[[Lease, int, Any], Lease]
    ) -> tuple[Optional[Lease], dict[str, Any]]:
        try:
            before = self._files.read(cluster, node)
            after = change(before, epoch, value)
            self._files.write(after)
        except VcError as error:
            return None, _refusal(error)
        return after, {"ok": True}

    def _drop(self, leases: Sequence[Lease]) -> None:
        self._exports.drop((lease.cluster, lease.node, lease.epoch) for lease in leases)
        for lease in leases:
            self._files.drop_secret(lease)

    def _free(self, lease: Lease, host: str) -> None:
        self._files.write(lease_record.released(lease, host, lease.epoch, "discarded", self._now()))
        # The daemon has just failed us; what it may still export goes at its restart or with the next restore-exports.
        with contextlib.suppress(VcError):
            self._drop([lease])


@dataclass
class _Taken:
    """What one lease request got: leases with their exports, which of them are new, and leases broken on the way."""

    held: list[tuple[Lease, Export]] = field(default_factory=list)
    fresh: set[str] = field(default_factory=set)
    lost: list[Lease] = field(default_factory=list)


def _with_disk(lease: Lease, node: Node, goldens: Goldens, disks: Disks) -> Lease:
    if not node.persistent:
        golden = find_golden(goldens, node.image, f"leasing {lease.item}")
        return replace(lease, generation=0, image=golden.ref, size_mib=max(node.disk_mib, golden.size_mib))
    disk = disks.get(lease.cluster, {}).get(lease.node)
    if disk is None:
        raise VcError("unknown", lease.item, "leasing it", "its disk has just been removed, or is to be another now", "ask again")
    return replace(lease, generation=disk.generation, image=disk.image, size_mib=disk.disk_mib)


def _disk_of(node: Node) -> tuple[Any, ...]:
    """What a node's disk is made from."""
    return node.name, node.persistent, node.image, node.disk_mib


def _grant(node: Node, lease: Lease, export: Export, portal: str) -> dict[str, Any]:
    return {
        "ok": True,
        "epoch": lease.epoch,
        "generation": lease.generation,
        "node": {**node.to_dict(), "image": lease.image},
        "export": {
            "portal": portal,
            "iqn": iqn(lease.cluster, lease.node, lease.epoch),
            "lun": LUN,
            "chap_user": chap_user(lease.cluster, lease.node, lease.epoch),
            "chap_secret": export.secret,
            "size_mib": lease.size_mib,
        },
    }


def _refusal(error: VcError) -> dict[str, Any]:
    return {"ok": False, "error": error.to_dict()}


def _node_list(value: Any) -> list[str]:
    tried, remedy = "reading the request", "name at least one node, each once"
    if not isinstance(value, list) or not 1 <= len(value) <= LARGEST_BATCH:
        raise VcError("invalid", "nodes", tried, f"it is not a list of 1 to {LARGEST_BATCH} names", remedy)
    nodes = [names.node_name(name) for name in value]
    for place, name in enumerate(nodes):
        if name in nodes[:place]:
            raise VcError("duplicate", f"nodes[{place}]", tried, f"{name} comes twice", remedy)
    return nodes


def _fenced(args: Mapping[str, Any], key: str) -> tuple[str, dict[str, tuple[int, Any]]]:
    nodes = args.get("nodes")
    tried, remedy = "reading the request", "use the same release on the host and on the vault"
    if not isinstance(nodes, Mapping) or not 1 <= len(nodes) <= LARGEST_BATCH:
        raise VcError("invalid", "nodes", tried, f"it is not a mapping of 1 to {LARGEST_BATCH} nodes", remedy)
    wanted: dict[str, tuple[int, Any]] = {}
    for name, entry in nodes.items():
        epoch = entry.get("epoch") if isinstance(entry, Mapping) else None
        if isinstance(epoch, bool) or not isinstance(epoch, int):
            raise VcError("invalid", f"nodes.{names.shown(name)}", tried, "it carries no epoch", remedy)
        wanted[names.node_name(name)] = (epoch, entry.get(key))
    return names.cluster_name(args.get("cluster")), wanted
