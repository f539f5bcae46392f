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
EMPTY = "0x0000"
_OPEN = "0xffff"
_TRIED = "reading pkey tables"


def read(daemon: Daemon, guids: Iterable[str]) -> dict[str, Optional[list[str]]]:
    """Ask these ports, seeing the fabric as OpenSM does.  Raises VcError ``unreachable``."""
    wanted = sorted(set(guids))
    if not wanted:
        return {}
    # In OpenSM's environment, so as a process; on standard input, because a module is an archive without files.
    argv = [sys.executable, "-I", "-", daemon.port_guid, *wanted]
    done = Commands(daemon.environment).run(argv, stdin=inspect.getsource(query), timeout=30 + len(wanted))
    try:
        answer = json.loads(done.out)
    except ValueError:
        answer = {"error": done.last_line}
    if "error" in answer:
        remedy = f"see `systemctl status {daemon.unit}` and `ibstat`; libibmad comes with infiniband-diags"
        raise VcError("unreachable", daemon.unit, _TRIED, str(answer["error"]), remedy)
    return {guid: answer["ports"][guid] for guid in wanted}


def problems(known: Iterable[Partition], wanted: Optional[Partition], tables: Tables) -> list[str]:
    """What of ``wanted`` the fabric does not show, and what it still shows of the other ``known`` forms of this partition.

    A port that is not on the fabric shows nothing, and that is no problem.
    """
    forms = [*known, wanted] if wanted is not None else list(known)
    keys = {f"0x{int(form.pkey, 16) | bit:04x}" for form in forms for bit in (0, FULL_BIT)}
    members = wanted.members if wanted is not None else {}
    found = []
    for guid in sorted({guid for form in forms for guid in form.members}):
        table = tables.get(guid)
        if table is None:
            continue
        key = members.get(guid)
        if key is not None and key not in table:
            full = "" if EMPTY in table else f", its table of {len(table)} keys is full"
            opened = ", it is a full member of the default partition" if _OPEN in table else ""
            found.append(f"port {guid} lacks key {key}{full}{opened}")
        found += [f"port {guid} still has key {one}" for one in sorted((keys & set(table)) - {key})]
    return found
