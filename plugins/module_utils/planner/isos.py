# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Installation media: from what is asked for and what the store has to the steps between.  No I/O."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Optional

from ..model import names
from ..model.errors import VcError
from ..vault.store import Fingerprint, Iso, Isos
from .items import STATES, at, choice, refuse_duplicate
from .plan import Action, ItemPlan

_CHECKSUM = re.compile(r"sha256:([0-9a-fA-F]{64})")


@dataclass(frozen=True)
class IsoRequest:
    """An ISO as asked for; ``sha256`` is empty where any content will do."""

    name: str
    state: str
    source: str = ""
    sha256: str = ""

    @property
    def item(self) -> str:
        return self.name


@dataclass(frozen=True)
class Medium:
    """A file to import, as it is now."""

    fingerprint: Fingerprint
    sha256: str


def parse_isos(items: Sequence[Mapping[str, Any]]) -> list[IsoRequest]:
    """Validate the module's list.  VcError ``invalid`` or ``duplicate``; the item is the place in the list."""
    requests: list[IsoRequest] = []
    places: dict[str, int] = {}
    for number, item in enumerate(items):
        request = at(f"isos[{number}]", _iso, item)
        refuse_duplicate("isos", number, request.item, places)
        requests.append(request)
    return requests


def plan_iso(request: IsoRequest, isos: Isos, medium: Optional[Medium]) -> tuple[ItemPlan, dict[str, Any]]:
    """The steps for one ISO, and how ``images`` will show it.

    Parameters
    ----------
    medium : the file; None for state absent

    Raises VcError ``invalid`` (not the content that was promised) and ``conflict`` (the name has other content).
    """
    present = isos.get(request.name)
    if request.state == "absent":
        gone = {"name": request.name, "state": "absent"}
        actions = (Action(request.item, "remove"),) if present is not None else ()
        return ItemPlan(request.item, "absent", actions, None if present is None else _shown(present), None), gone
    if medium is None:
        raise AssertionError("an ISO is planned with its file")
    tried = f"importing {request.source}"
    if request.sha256 and medium.sha256 != request.sha256:
        detail = f"it has sha256 {medium.sha256}, {request.sha256} was promised"
        raise VcError("invalid", request.item, tried, detail, "get the file again, or correct the checksum")
    if present is not None:
        if present.sha256 != medium.sha256:
            detail = f"the store has another content, from {present.fingerprint.path}"
            raise VcError("conflict", request.item, tried, detail, "ISOs never change: give it another name, or remove that one first")
        return ItemPlan(request.item, "present", (), _shown(present), _shown(present)), _shown(present)
    after = _shown(Iso(request.name, medium.fingerprint.size, medium.sha256, medium.fingerprint))
    details = {"source": request.source, "sha256": medium.sha256}
    return ItemPlan(request.item, "present", (Action(request.item, "import", details),), None, after), after


def _shown(iso: Iso) -> dict[str, Any]:
    return {"name": iso.name, "size_bytes": iso.size, "sha256": iso.sha256, "state": "present"}


def _iso(item: Mapping[str, Any]) -> IsoRequest:
    name, state = names.stored_name(item.get("name"), "an ISO's name"), choice(item, "state", STATES)
    if state == "absent":
        return IsoRequest(name, state)
    source, checksum = item.get("source") or "", item.get("checksum") or ""
    if not source:
        raise VcError("invalid", "source", "reading it", "it is missing", "give the path of a file on the vault host")
    matched = _CHECKSUM.fullmatch(checksum)
    if checksum and matched is None:
        remedy = "write sha256: and 64 hexadecimal digits"
        raise VcError("invalid", f"checksum {names.shown(checksum)}", "reading it", "it is not a SHA-256 checksum", remedy)
    return IsoRequest(name, state, source, matched.group(1).lower() if matched else "")
