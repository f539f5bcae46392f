# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The vault's protocol, version 1: one JSON object in, one out.  Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from ..model.errors import VcError
from ..model.names import shown

SCHEMA = 1
# What hosts that run guests may ask for, and what gates may.
VERBS = ("lease", "state", "release", "status")
GATE_VERBS = ("authorize",)
LARGEST_REQUEST = 1024 * 1024


def encode_request(verb: str, args: Mapping[str, Any]) -> str:
    """What a host sends."""
    return json.dumps({"schema": SCHEMA, "verb": verb, "args": dict(args)}, sort_keys=True) + "\n"


def decode_request(text: str, verbs: Sequence[str] = VERBS, whose: str = "vault") -> tuple[str, Mapping[str, Any]]:
    """(verb, args) of a request.  Raises VcError ``invalid`` or ``version``; a stranger may have written the text."""
    tried, remedy = "reading the request", "use a client of the same release"
    if len(text) > LARGEST_REQUEST:
        raise VcError("invalid", "request", tried, f"it has more than {LARGEST_REQUEST} characters", "ask for fewer nodes at once")
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        raise VcError("invalid", "request", tried, "it is not JSON", remedy) from None
    if not isinstance(data, dict):
        raise VcError("invalid", "request", tried, "it is not an object", remedy)
    schema, verb, args = data.get("schema"), data.get("verb"), data.get("args", {})
    if isinstance(schema, bool) or not isinstance(schema, int) or schema < 1:
        raise VcError("invalid", "request", tried, "it has no schema number", remedy)
    if schema > SCHEMA:
        detail = f"it has schema {schema}, this {whose} speaks {SCHEMA}"
        raise VcError("version", "request", tried, detail, "install one release on both: playbook site, without --limit")
    if verb not in verbs:
        raise VcError("invalid", "request", tried, f"{shown(verb)} is not a verb", f"use one of {', '.join(verbs)}")
    if not isinstance(args, dict):
        raise VcError("invalid", "request", tried, "args is not an object", remedy)
    return str(verb), args


def answer(result: Mapping[str, Any]) -> str:
    """A good answer."""
    return json.dumps({"ok": True, "result": dict(result)}, sort_keys=True) + "\n"


def refusal(error: VcError) -> str:
    """A bad one."""
    return json.dumps({"ok": False, "error": error.to_dict()}, sort_keys=True) + "\n"


def decode_answer(text: str, item: str, tried: str) -> dict[str, Any]:
    """The result inside an answer; raises the VcError that it carries, or ``backend`` for anything that is no answer."""
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        data = None
    if isinstance(data, dict) and data.get("ok") is True and isinstance(data.get("result"), dict):
        return dict(data["result"])
    if isinstance(data, dict) and data.get("ok") is False and isinstance(data.get("error"), dict):
        raise VcError.from_dict(data["error"])
    lines = text.strip().splitlines()
    detail = shown(lines[-1]) if lines else "it said nothing"
    raise VcError("backend", item, tried, f"the vault's answer is not an answer: {detail}", "compare the releases on host and vault")
