# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What ports have in their pkey tables: one process for all of them, and what of a partition is missing or left over there."""

from __future__ import annotations

import inspect
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Optional

from ..command import Commands
from ..model.errors import VcError
from . import query
from .daemon import Daemon
from .document import FULL_BIT, Partition

# GUID -> the keys in its table, empty places included; None for a port that is not on the fabric.
Tables = Mapping[str, Optional[Sequence[str]]]
# GUID -> keys that its table has to have, keys that it must not have.
Expected = Mapping[str, tuple[set[str], set[str]]]
EMPTY = "0x0000"
_OPEN = "0xffff"
_TRIED = "reading pkey tables"


class Ports:
    """The ports of one fabric, seen as its OpenSM does."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self._places: dict[str, query.Place] = {}

    def read(self, wanted: Expected, seconds: float = 0.0) -> dict[str, Optional[list[str]]]:
        """Ask these ports; for so many seconds again those that are not as expected.  Raises VcError ``unreachable``, or ``timeout``."""
        if not wanted:
            return {}
        # In OpenSM's environment, so as a process; its text as an argument, because a module is an archive without files.
        argv = [sys.executable, "-I", "-c", inspect.getsource(query), self._daemon.port_guid]
        ports = {guid: [sorted(keys) for keys in wanted[guid]] for guid in sorted(wanted)}
        places = {guid: place for guid, place in self._places.items() if guid in wanted}
        question = json.dumps({"ports": ports, "seconds": seconds, "places": places})
        done = Commands(self._daemon.environment).run(argv, stdin=question, timeout=30 + seconds + len(wanted))
        try:
            answer = json.loads(done.out)
        except ValueError:
            answer = {"error": done.last_line}
        if "error" in answer:
            remedy = f"see `systemctl status {self._daemon.unit}` and `ibstat`; libibmad comes with infiniband-diags"
            raise VcError("unreachable", self._daemon.unit, _TRIED, str(answer["error"]), remedy)
        self._places.update(answer["places"])
        return {guid: answer["ports"][guid] for guid in wanted}


def expected(changes: Iterable[tuple[Iterable[Partition], Optional[Partition]]]) -> Expected:
    """What the ports of these partitions have to show: of each, the forms they may have had, and the one that is wanted."""
    found: dict[str, tuple[set[str], set[str]]] = {}
    for known, wanted in changes:
        forms = [*known, wanted] if wanted is not None else list(known)
        keys = {f"0x{int(form.pkey, 16) | bit:04x}" for form in forms for bit in (0, FULL_BIT)}
        members = wanted.members if wanted is not None else {}
        for guid in {guid for form in forms for guid in form.members}:
            have, lack = found.setdefault(guid, (set(), set()))
            own = {members[guid]} if guid in members else set()
            have |= own
            lack |= keys - own
    return found


def problems(known: Iterable[Partition], wanted: Optional[Partition], tables: Tables) -> list[str]:
    """What of ``wanted`` the fabric does not show, and what it still shows of the other ``known`` forms of this partition.

    A port that is not on the fabric shows nothing, and that is no problem.
    """
    found = []
    for guid, (have, lack) in sorted(expected([(known, wanted)]).items()):
        table = tables.get(guid)
        if table is None:
            continue
        full = "" if EMPTY in table else f", its table of {len(table)} keys is full"
        opened = ", it is a full member of the default partition" if _OPEN in table else ""
        found += [f"port {guid} lacks key {key}{full}{opened}" for key in sorted(have - set(table))]
        found += [f"port {guid} still has key {key}" for key in sorted(lack & set(table))]
    return found
