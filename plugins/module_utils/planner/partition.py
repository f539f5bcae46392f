# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Partitions that are asked for against OpenSM's file and the ports' own tables.  No I/O."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Optional

from ..fabric import ports
from ..fabric.document import Document, Partition, default_is_defined
from ..fabric.ports import EMPTY, Expected, Tables, problems
from ..model import addresses, names
from ..model.errors import VcError
from .plan import Action, ItemPlan, Plan

_TRIED = "reading the partitions"


@dataclass(frozen=True)
class Request:
    """One item of the module's list; no partition means that it is to be absent."""

    name: str
    partition: Optional[Partition]


@dataclass(frozen=True)
class Fabric:
    """What was read: the file, what the fabric had when a run last ended well (None when no run has), and the tables of the ports."""

    document: Document
    good: Optional[Mapping[str, Partition]] = None
    tables: Tables = field(default_factory=dict)

    @functools.cached_property
    def owners(self) -> Mapping[str, str]:
        """pkey -> the partition of ours that has it in the file."""
        return {one.pkey: name for name, one in self.document.partitions.items()}

    def declared(self, name: str) -> Optional[Partition]:
        return self.document.partitions.get(name)

    def known(self, name: str) -> list[Partition]:
        """The forms of this partition that ports may show: the file's, and the last good one unless its pkey has another owner now."""
        forms = (self.declared(name), (self.good or {}).get(name))
        return [one for one in forms if one is not None and self.owners.get(one.pkey, name) == name]

    def last(self, name: str) -> Optional[Partition]:
        """The form to go back to: the file's, unless a run was killed before the fabric had it."""
        declared = self.declared(name)
        if self.good is None or (declared is not None and not problems(self.known(name), declared, self.tables)):
            return declared
        return self.good.get(name)


def read_requests(items: Sequence[Mapping[str, Any]]) -> list[Request]:
    """Validate what the user gave; VcError ``invalid`` or ``duplicate`` names the item by its index."""
    requests: list[Request] = []
    places: dict[str, int] = {}
    pkeys: dict[str, int] = {}
    for index, item in enumerate(items):
        place = f"partitions[{index}]"
        try:
            request = Request(names.cluster_name(item["name"]), _partition(item) if item["state"] == "present" else None)
        except VcError as error:
            inner = "." if error.code == "duplicate" else " "
            raise VcError(error.code, f"{place}{inner}{error.item}", error.tried, error.detail, error.remedy) from None
        same, what = places.setdefault(request.name, index), "name"
        if same == index and request.partition is not None:
            same, what = pkeys.setdefault(request.partition.pkey, index), "pkey"
        if same != index:
            detail = f"it has the same {what} as partitions[{same}]"
            raise VcError("duplicate", f"{place} {request.name}", _TRIED, detail, "list every partition once")
        requests.append(request)
    return requests


def plan_partitions(requests: Sequence[Request], fabric: Fabric) -> Plan:
    """Plan all items; refused ones carry their error."""
    crowded = _crowded(requests, fabric)
    return Plan(tuple(_plan(request, fabric, crowded.get(request.name, ())) for request in requests))


def expected(requests: Sequence[Request], fabric: Fabric, goals: Optional[Mapping[str, Optional[Partition]]] = None) -> Expected:
    """What the ports of these requests have to show when each item is as asked for, or as ``goals`` says of it."""
    asked = {request.name: request.partition for request in requests}
    known = {name: [*fabric.known(name), *([one] if one is not None else [])] for name, one in asked.items()}
    return ports.expected((known[name], goal) for name, goal in (asked if goals is None else goals).items())


def describe(partition: Partition, tables: Tables) -> dict[str, Any]:
    """A partition as the module returns it; the same for one that was read and for one that is predicted."""
    return {
        "name": partition.name,
        "state": "present",
        "pkey": partition.pkey,
        "guids": list(partition.guids),
        "limited_guids": list(partition.limited_guids),
        "ipoib": partition.ipoib,
        "off_fabric": [guid for guid in sorted(partition.members) if tables.get(guid) is None],
        "problems": problems([partition], partition, tables),
    }


def absent(name: str) -> dict[str, Any]:
    """What the module returns for a partition that is not there."""
    return {"name": name, "state": "absent"}


def _partition(item: Mapping[str, Any]) -> Partition:
    name = item["name"]
    if item.get("pkey") is None:
        raise VcError("invalid", name, _TRIED, "it has no pkey", "give cluster.pkey of what vc_cluster returned")
    seen: dict[str, str] = {}
    members: dict[str, list[str]] = {"guids": [], "limited_guids": []}
    for kind, found in members.items():
        for index, value in enumerate(item.get(kind) or ()):
            guid, place = addresses.parse_guid(value), f"{kind}[{index}]"
            if guid in seen:
                raise VcError("duplicate", f"{place} {guid}", _TRIED, f"it is {seen[guid]} as well", "list every port once")
            seen[guid] = place
            found.append(guid)
    if not seen:
        raise VcError("invalid", name, _TRIED, "it has no ports", "give guids or limited_guids, or make it absent")
    full, limited = (tuple(sorted(found)) for found in members.values())
    return Partition(name, addresses.parse_pkey(item["pkey"]), full, limited, bool(item.get("ipoib")))


def _crowded(requests: Sequence[Request], fabric: Fabric) -> dict[str, list[str]]:
    """The ports of each item that have no place for its key: earlier items come first, and what the call takes away makes room."""
    expectations = {request.name: expected([request], fabric) for request in requests}
    tables = {guid: table for guid, table in fabric.tables.items() if table is not None}
    room = {guid: table.count(EMPTY) for guid, table in tables.items()}
    for wanted in expectations.values():
        for guid in set(wanted) & set(tables):
            room[guid] += len(wanted[guid][1] & set(tables[guid]))
    found: dict[str, list[str]] = {}
    for name, wanted in expectations.items():
        for guid in sorted(set(wanted) & set(tables)):
            new = len(wanted[guid][0] - set(tables[guid]))
            if new > room[guid]:
                found.setdefault(name, []).append(guid)
            else:
                room[guid] -= new
    return found


def _plan(request: Request, fabric: Fabric, crowded: Sequence[str]) -> ItemPlan:
    declared = fabric.declared(request.name)
    before = None if declared is None else describe(declared, fabric.tables)
    try:
        _check_owner(request, fabric)
        actions = _actions(request, fabric)
        # What the file has already is no reason to refuse the rest of the call.
        if crowded and request.partition != declared:
            keys = len(fabric.tables[crowded[0]] or ())
            others = f" (and {len(crowded) - 1} more ports)" if len(crowded) > 1 else ""
            detail = f"port {crowded[0]} has no place for another key, its table of {keys} keys is full{others}"
            raise VcError("conflict", request.name, "changing its partition", detail, "take that port out of another partition first")
    except VcError as error:
        return ItemPlan(request.name, "unknown", before=before, after=before, error=error)
    if request.partition is None:
        return ItemPlan(request.name, "absent", actions, before, None)
    # The ports will show it, or the run will have failed.
    return ItemPlan(request.name, "present", actions, before, {**describe(request.partition, fabric.tables), "problems": []})


def _actions(request: Request, fabric: Fabric) -> tuple[Action, ...]:
    declared, wanted = fabric.declared(request.name), request.partition
    if declared == wanted:
        late = problems(fabric.known(request.name), wanted, fabric.tables)
        # A run that was killed has left the file ahead of the fabric.
        return (Action(request.name, "reload", {"problems": late}),) if late else ()
    if wanted is None:
        return (Action(request.name, "remove", {"pkey": declared.pkey, "drop": sorted(declared.members)} if declared else {}),)
    there: Mapping[str, str] = declared.members if declared is not None else {}
    changed = sorted(guid for guid, key in wanted.members.items() if there.get(guid) != key)
    details = {"pkey": wanted.pkey, "set": changed, "drop": sorted(set(there) - set(wanted.members)), "ipoib": wanted.ipoib}
    return (Action(request.name, "create" if declared is None else "change", details),)


def _check_owner(request: Request, fabric: Fabric) -> None:
    document, tried = fabric.document, "changing its partition"
    if not default_is_defined(document):
        detail = "no line outside our marks defines the default partition, and without one OpenSM may make every port a full member of it"
        remedy = "run role opensm, or write beside the marks: Default=0x7fff : SELF=full ;"
        raise VcError("conflict", request.name, tried, detail, remedy)
    wanted, declared = request.partition, document.partitions.get(request.name)
    for definition in document.foreign:
        place = f"line {definition.line}"
        if definition.name == request.name:
            raise VcError("conflict", request.name, tried, f"{place} of the file has one of this name that is not ours", "rename either")
        if wanted is None:
            continue
        if definition.pkey is None:
            detail = f"{place} of the file lets OpenSM choose a pkey, and it may choose {wanted.pkey}"
            raise VcError("conflict", request.name, tried, detail, "give that partition a pkey of its own")
        if definition.pkey == int(wanted.pkey, 16):
            detail = f"{place} of the file has pkey {wanted.pkey} for a partition that is not ours"
            raise VcError("conflict", request.name, tried, detail, f"give {request.name} or that one another pkey")
    if wanted is None:
        return
    if declared is not None and declared.pkey != wanted.pkey:
        detail = f"it has pkey {declared.pkey}, and a port that is in use would lose it"
        raise VcError("conflict", request.name, tried, detail, "use that pkey, or make it absent first")
    other = fabric.owners.get(wanted.pkey, request.name)
    if other != request.name:
        raise VcError("conflict", request.name, tried, f"pkey {wanted.pkey} belongs to {other}", f"give {request.name} another pkey")
