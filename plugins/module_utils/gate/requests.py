# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The gate's verbs and their arguments, and the right that each needs.  No I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..model import names
from ..model.cluster import Cluster
from ..model.errors import VcError
from ..model.noderange import expand
from ..vault import protocol

_TRIED = "reading the request"
# Nobody waits longer than that at the gate.
LONGEST_WAIT = 900
# Who reboots by force waits twice; the rest is for Slurm, libvirt and the vault, which answer in their own time.
LONGEST_CALL = 2 * LONGEST_WAIT + 300
_WAIT: Mapping[str, Any] = {"wait": True, "wait_timeout": 300}
# Verb -> argument -> value when it is left out; its type, or for None the one in _TYPES, is the argument's.
ARGUMENTS: Mapping[str, Mapping[str, Any]] = {
    "status": {},
    "start": {
        "name": None,
        "nodes": None,
        "count": None,
        "walltime": None,
        "per_host": None,
        "partition": None,
        "reservation": None,
        "qos": None,
        "on_timeout": "leave",
        **_WAIT,
    },
    "terminate": {"name": None, "on_timeout": "leave", **_WAIT},
    "power": {"nodes": None, "state": None, "action": None, "on_timeout": "leave", **_WAIT},
    "console": {"lines": 50},
}
_TYPES: Mapping[str, type] = {"count": int, "per_host": int}
_CHOICES = {
    ("start", "on_timeout"): ("leave", "cancel"),
    ("terminate", "on_timeout"): ("leave", "cancel"),
    ("power", "on_timeout"): ("leave", "force"),
    ("power", "state"): (None, "powered_on", "powered_off", "shutdown"),
    ("power", "action"): (None, "reboot", "reset"),
}
VERBS = tuple(ARGUMENTS)
# What a host can do: where Slurm's commands are, and where a cluster's frontend runs.
PLACES: Mapping[str, tuple[str, ...]] = {"submit": ("status", "start", "terminate", "power"), "frontend": ("status", "power", "console")}


@dataclass(frozen=True)
class Request:
    """One call, as far as it can be understood without the registry."""

    verb: str
    cluster: str
    options: Mapping[str, Any]

    def right(self, cluster: Cluster) -> str:
        """The right that it needs; power over the frontend is one of its own."""
        frontend = cluster.frontend
        named = expand(self.options["nodes"]) if self.verb == "power" else []
        return "power_frontend" if frontend is not None and frontend.name in named else self.verb


def read_request(text: str) -> Request:
    """VcError ``invalid`` or ``version``; anybody with a key may have written the text."""
    verb, args = protocol.decode_request(text, VERBS, "gate")
    known = ARGUMENTS[verb]
    unknown = sorted(set(args) - set(known) - {"cluster"})
    if unknown:
        raise VcError("invalid", names.shown(unknown[0]), _TRIED, f"{verb} has no such argument", f"use {', '.join(['cluster', *known])}")
    options = {key: _checked(verb, key, args.get(key, default), default) for key, default in known.items()}
    if verb == "power" and (options["state"] is None) == (options["action"] is None):
        raise VcError("invalid", "power", _TRIED, "it has not exactly one of state and action", "give one of them")
    if verb == "start" and (options["nodes"] is None) == (options["count"] is None):
        raise VcError("invalid", "start", _TRIED, "it has not exactly one of nodes and count", "give one of them")
    for key in ("name", "nodes"):
        if key in known and options[key] is None and not (key == "nodes" and verb == "start"):
            raise VcError("invalid", key, _TRIED, f"{verb} needs it", "give it")
    return Request(verb, names.cluster_name(args.get("cluster")), options)


def _checked(verb: str, key: str, value: Any, default: Any) -> Any:
    wanted: type = _TYPES.get(key, str) if default is None else type(default)
    if value is None and default is None:
        return None
    # A bool is an int to Python.
    if not isinstance(value, wanted) or (isinstance(value, bool) and wanted is not bool):
        raise VcError("invalid", key, _TRIED, f"{names.shown(value)} is not of type {wanted.__name__}", "give another value")
    choices = _CHOICES.get((verb, key))
    if choices is not None and value not in choices:
        allowed = ", ".join(str(choice) for choice in choices if choice is not None)
        raise VcError("invalid", key, _TRIED, f"{names.shown(value)} is not one of its values", f"use one of {allowed}")
    if key in ("wait_timeout", "lines") and isinstance(value, int) and not 1 <= value <= LONGEST_WAIT:
        raise VcError("invalid", key, _TRIED, f"{value} is not between 1 and {LONGEST_WAIT}", "give another number")
    return value
