# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Golden images and node disks: from what is asked for and what the store has to the steps between.  No I/O."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Optional

from ..model import access, names, units
from ..model.cluster import Cluster
from ..model.errors import VcError
from ..vault.lease_record import Lease
from ..vault.store import Disk, Disks, Fingerprint, Golden, Goldens, find_golden
from .items import STATES, at, choice, listed, refuse_duplicate, refuse_leased
from .plan import Action, ItemPlan

FORMATS = ("raw", "qcow2")
Leases = Mapping[str, Mapping[str, Lease]]


@dataclass(frozen=True)
class GoldenRequest:
    """A golden image as asked for.

    Parameters
    ----------
    revision : None means whichever has this content, else a new one
    access : who may start throw-away machines from the image, whichever revision; None leaves it alone
    """

    name: str
    state: str
    source: str = ""
    source_format: str = ""
    revision: Optional[int] = None
    access: Optional[tuple[str, ...]] = None

    @property
    def item(self) -> str:
        return self.name if self.revision is None else f"{self.name}@r{self.revision}"


@dataclass(frozen=True)
class DiskRequest:
    """A node's disk as asked for; empty ``image`` and ``disk_mib`` 0 mean what the node's definition says."""

    cluster: str
    node: str
    state: str
    image: str = ""
    disk_mib: int = 0

    @property
    def item(self) -> str:
        return f"{self.cluster}/{self.node}"


@dataclass(frozen=True)
class Source:
    """A file to import, as it is now.  ``sha256`` is empty where ``needs_hash`` is false."""

    fingerprint: Fingerprint
    size_mib: int
    sha256: str = ""


def parse_goldens(items: Sequence[Mapping[str, Any]]) -> list[GoldenRequest]:
    """Validate the module's list.  VcError ``invalid`` or ``duplicate``; the item is the place in the list."""
    requests: list[GoldenRequest] = []
    places: dict[str, dict[Optional[int], int]] = {}
    granting: dict[str, int] = {}
    for number, item in enumerate(items):
        request = at(f"goldens[{number}]", _golden, item)
        taken = places.setdefault(request.name, {})
        # An entry without a revision may mean any of them.
        earlier = min(taken.values(), default=None) if request.revision is None else taken.get(request.revision, taken.get(None))
        if earlier is not None:
            remedy = "name an image once, or give each of its entries its own revision"
            raise VcError("duplicate", f"goldens[{number}].name {request.name}", "reading it", f"goldens[{earlier}] has it too", remedy)
        taken[request.revision] = number
        requests.append(request)
        if request.access is None:
            continue
        first = granting.setdefault(request.name, number)
        if requests[first].access != request.access:
            detail, remedy = f"goldens[{first}] has another", "an image has one access list for all its revisions"
            raise VcError("conflict", f"goldens[{number}].access", f"reading {request.name}", detail, remedy)
    return requests


def parse_disks(items: Sequence[Mapping[str, Any]]) -> list[DiskRequest]:
    """As ``parse_goldens``, for disks."""
    requests: list[DiskRequest] = []
    places: dict[str, int] = {}
    for number, item in enumerate(items):
        request = at(f"disks[{number}]", _disk, item)
        refuse_duplicate("disks", number, request.item, places)
        requests.append(request)
    return requests


def needs_hash(request: GoldenRequest, revisions: Mapping[int, Golden], fingerprint: Fingerprint, size_mib: int) -> bool:
    """Whether only the content can tell if the file was imported already."""
    candidates = revisions.values() if request.revision is None else [revisions[request.revision]] if request.revision in revisions else []
    unseen = not any(_same_file(golden, request, fingerprint) for golden in candidates)
    return unseen and any(golden.size_mib == size_mib and golden.fingerprint.size == fingerprint.size for golden in candidates)


def plan_golden(
    request: GoldenRequest,
    goldens: Goldens,
    source: Optional[Source],
    users: Mapping[str, Collection[str]],
    granted: Collection[str] = (),
) -> tuple[ItemPlan, dict[str, Any]]:
    """The steps for one golden image, and how ``images`` will show it.

    Parameters
    ----------
    source : the file; None for state absent
    users : image@rN -> who needs it, from ``users_of_goldens``
    granted : the image's access list as it is

    Raises VcError ``conflict`` (the revision has other content) and ``in_use``.
    """
    revisions = goldens.get(request.name, {})
    if request.state == "absent":
        return _plan_golden_removal(request, revisions, users, granted)
    if source is None:
        raise AssertionError("a golden image is planned with its source")
    same = [golden for number, golden in sorted(revisions.items(), reverse=True) if _same(golden, request, source)]
    if request.revision is not None and request.revision in revisions:
        golden = revisions[request.revision]
        if golden not in same:
            detail = f"it was imported from {golden.fingerprint.path} and has other content than {request.source}"
            raise VcError("conflict", request.item, "importing it", detail, "revisions never change: leave revision out to get a new one")
        return _plan_access(request, _shown(golden, granted))
    if request.revision is None and same:
        return _plan_access(request, _shown(same[0], granted))
    revision = request.revision or max(revisions, default=0) + 1
    before = _shown_golden(request.name, revision, request.source_format, source.size_mib, granted)
    details = {"revision": revision, "source": request.source, "format": request.source_format}
    item, after = _plan_access(request, before)
    return replace(item, actions=(Action(request.item, "import", details), *item.actions), before=None), after


def _plan_access(request: GoldenRequest, before: Mapping[str, Any]) -> tuple[ItemPlan, dict[str, Any]]:
    wanted = before["access"] if request.access is None else sorted(request.access)
    after = {**before, "access": wanted}
    actions = (Action(request.item, "grant", {"access": wanted}),) if after != before else ()
    return ItemPlan(request.item, "present", actions, before, after), after


def plan_disk(
    request: DiskRequest,
    cluster: Optional[Cluster],
    goldens: Goldens,
    disk: Optional[Disk],
    lease: Lease,
    snapshots: Collection[str],
) -> tuple[ItemPlan, dict[str, Any]]:
    """The steps for one node's disk, and how ``images`` will show it.

    Parameters
    ----------
    cluster : the request's, None when it is not registered; not looked at for state absent
    goldens : of the image at least; not looked at where there is a disk
    disk, lease : the node's
    snapshots : names of those of this disk; not looked at for state present

    Raises VcError ``unknown`` (cluster, node, image), ``invalid`` (a node that keeps no disk), ``conflict`` (another image, or smaller),
    ``in_use`` (it has snapshots), ``leased`` and ``not_flushed`` (somebody runs on it).
    """
    gone = {"cluster": request.cluster, "node": request.node, "state": "absent"}
    if request.state == "absent":
        if disk is None:
            return ItemPlan(request.item, "absent"), gone
        refuse_leased(lease, "removing its disk")
        if snapshots:
            detail = f"it has snapshots: {listed(snapshots)}"
            raise VcError("in_use", request.item, "removing its disk", detail, "remove those first: image_vault snapshots, state: absent")
        return ItemPlan(request.item, "absent", (Action(request.item, "remove"),), _shown_disk(disk), None), gone
    tried = "making its disk"
    if cluster is None:
        raise VcError("unknown", request.item, tried, f"{request.cluster} is not registered", "define the cluster with vc_cluster first")
    node = cluster.node(request.node)
    if not node.persistent:
        raise VcError("invalid", request.item, tried, "the node is not persistent", "set persistent: true in the cluster's definition")
    image, size = request.image or node.image, request.disk_mib or node.disk_mib
    if disk is not None:
        if disk.image != image and disk.image.partition("@")[0] != image:
            remedy = "keep it, or remove the disk with state: absent, which loses its content"
            raise VcError("conflict", request.item, "changing its disk", f"it was made from {disk.image}, {image} is asked for", remedy)
        if request.disk_mib and request.disk_mib < disk.disk_mib:
            detail = f"it has {disk.disk_mib} MiB, {request.disk_mib} MiB is asked for, and disks only grow"
            raise VcError("conflict", request.item, "changing its disk", detail, f"ask for {disk.disk_mib}MiB or more")
        if size <= disk.disk_mib:
            return ItemPlan(request.item, "present", (), _shown_disk(disk), _shown_disk(disk)), _shown_disk(disk)
        refuse_leased(lease, "growing its disk")
        grown = Disk(disk.cluster, disk.node, disk.generation, size, disk.image)
        actions = (Action(request.item, "grow", {"disk_mib": size}),)
        return ItemPlan(request.item, "present", actions, _shown_disk(disk), _shown_disk(grown)), _shown_disk(grown)
    refuse_leased(lease, tried)
    golden = find_golden(goldens, image, f"making the disk of {request.item}")
    if size and size < golden.size_mib:
        detail = f"{golden.ref} has {golden.size_mib} MiB, {size} MiB is asked for"
        raise VcError("conflict", request.item, tried, detail, f"ask for {golden.size_mib}MiB or more, or leave the size out")
    new = Disk(request.cluster, request.node, 1, max(size, golden.size_mib), golden.ref)
    details = {"image": golden.ref, "disk_mib": new.disk_mib}
    return ItemPlan(request.item, "present", (Action(request.item, "clone", details),), None, _shown_disk(new)), _shown_disk(new)


def users_of_goldens(clusters: Mapping[str, Cluster], goldens: Goldens, disks: Disks, leases: Leases) -> dict[str, list[str]]:
    """image@rN -> the nodes that run on it now, need it at their next start, or have a disk that began as it.

    A store may keep of a disk only what differs from its image.
    """
    users: dict[str, set[str]] = {}
    for disk in (disk for held in disks.values() for disk in held.values()):
        users.setdefault(disk.image, set()).add(f"the disk of {disk.item}")
    for cluster in clusters.values():
        for node in cluster.nodes:
            item = f"{cluster.name}/{node.name}"
            lease = leases.get(cluster.name, {}).get(node.name)
            if lease is not None and lease.holder is not None and not lease.generation:
                users.setdefault(lease.image, set()).add(item)
            if node.persistent and node.name in disks.get(cluster.name, {}):
                continue
            name, at, _revision = node.image.partition("@")
            if at:
                users.setdefault(node.image, set()).add(item)
            elif goldens.get(name):
                users.setdefault(goldens[name][max(goldens[name])].ref, set()).add(item)
    return {ref: sorted(items) for ref, items in users.items()}


def _plan_golden_removal(
    request: GoldenRequest, revisions: Mapping[int, Golden], users: Mapping[str, Collection[str]], granted: Collection[str]
) -> tuple[ItemPlan, dict[str, Any]]:
    wanted = [golden for number, golden in sorted(revisions.items()) if request.revision in (None, number)]
    for golden in wanted:
        needed = users.get(golden.ref, ())
        if needed:
            detail = f"{golden.ref} is needed by {listed(needed)}"
            remedy = "give those nodes another image first, or remove them with their disks"
            raise VcError("in_use", request.item, "removing it", detail, remedy)
    actions = tuple(Action(request.item, "remove", {"revision": golden.revision}) for golden in wanted)
    before = {golden.ref: _shown(golden, granted) for golden in wanted} or None
    gone: dict[str, Any] = {"name": request.name, "revision": request.revision or 0, "image": request.item, "state": "absent"}
    return ItemPlan(request.item, "absent", actions, before, None), gone


def _same_file(golden: Golden, request: GoldenRequest, fingerprint: Fingerprint) -> bool:
    return golden.fingerprint == fingerprint and golden.source_format == request.source_format


def _same(golden: Golden, request: GoldenRequest, source: Source) -> bool:
    same_content = bool(source.sha256) and golden.source_sha256 == source.sha256 and golden.source_format == request.source_format
    return same_content or _same_file(golden, request, source.fingerprint)


def _shown(golden: Golden, granted: Collection[str]) -> dict[str, Any]:
    return _shown_golden(golden.name, golden.revision, golden.source_format, golden.size_mib, granted)


def _shown_golden(name: str, revision: int, source_format: str, size_mib: int, granted: Collection[str]) -> dict[str, Any]:
    shown = {"name": name, "revision": revision, "image": f"{name}@r{revision}"}
    return {**shown, "format": source_format, "size_mib": size_mib, "access": sorted(granted), "state": "present"}


def _shown_disk(disk: Disk) -> dict[str, Any]:
    return {**disk.__dict__, "pristine": disk.pristine, "state": "present"}


def _golden(item: Mapping[str, Any]) -> GoldenRequest:
    ref = names.image_ref(item.get("name"))
    if ref.revision is not None:
        raise VcError(
            "invalid", f"name {ref}", "reading it", "a name carries no revision", f"write name: {ref.name}, revision: {ref.revision}"
        )
    revision = item.get("revision")
    if revision is not None:
        ref = names.image_ref(f"{ref.name}@r{revision}")
    state = choice(item, "state", STATES)
    source = item.get("source") or ""
    if state == "absent":
        return GoldenRequest(ref.name, state, revision=ref.revision)
    if not source:
        raise VcError("invalid", "source", "reading it", "it is missing", "give the path of an image file on the vault host")
    granted = None if item.get("access") is None else access.parse_all(item["access"])
    return GoldenRequest(ref.name, state, source, choice(item, "format", FORMATS), ref.revision, granted)


def _disk(item: Mapping[str, Any]) -> DiskRequest:
    image, size = item.get("image"), item.get("size")
    return DiskRequest(
        names.cluster_name(item.get("cluster")),
        names.node_name(item.get("node")),
        choice(item, "state", STATES),
        str(names.image_ref(image)) if image else "",
        units.parse_size(size) if size else 0,
    )
