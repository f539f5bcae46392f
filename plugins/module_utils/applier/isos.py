# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads what planning ISOs needs, and carries the plan out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..model.errors import VcError
from ..planner import isos
from ..planner.plan import Action, Done, ItemPlan, Plan, unheard
from ..vault import source_file
from ..vault.registry import Registry
from ..vault.store import Isos, Store
from .images import about, in_turns, told


class IsoActions:
    """The installation media of one vault."""

    def __init__(self, registry: Registry, store: Store) -> None:
        self._registry = registry
        self._store = store

    def plan(self, requests: Sequence[isos.IsoRequest]) -> tuple[Plan, list[dict[str, Any]]]:
        """All items, refused ones with their error, and ``images`` as it will be."""
        present = self._store.isos()
        planned = [self._plan(request, present) for request in requests]
        return Plan(tuple(item for item, _shown in planned)), [shown for _item, shown in planned]

    def apply(self, actions: Sequence[Action], done: Done = unheard) -> Mapping[str, VcError]:
        """Import and remove; an item that fails does not stop the others."""
        failures: dict[str, VcError] = {}
        for action in in_turns(actions):
            try:
                if action.verb == "import":
                    self._store.import_iso(action.item, action.details["source"], action.details["sha256"])
                    done(action)
                    continue
                with self._registry.lock(action.item):
                    present = self._store.isos().get(action.item)
                    if present is not None:
                        self._store.remove_iso(present)
                        done(action)
            except (VcError, OSError) as error:
                failures[action.item] = told(action, error)
        return failures

    def _plan(self, request: isos.IsoRequest, present: Isos) -> tuple[ItemPlan, dict[str, Any]]:
        try:
            medium = None if request.state == "absent" else _medium(request, present)
            return isos.plan_iso(request, present, medium)
        except VcError as error:
            return ItemPlan(request.item, "failed", error=about(request.item, error)), {"name": request.name, "state": "failed"}


def _medium(request: isos.IsoRequest, present: Isos) -> isos.Medium:
    known = present.get(request.name)
    with source_file.open_unfollowed(request.source) as stream:
        found = source_file.fingerprint_of(stream, request.source)
        if known is not None and known.fingerprint == found:
            return isos.Medium(found, known.sha256)
        return isos.Medium(found, source_file.sha256_of_stream(stream))
