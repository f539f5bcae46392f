# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who may start throw-away machines from a golden image: a list of ``all``, ``user:NAME`` and ``account:NAME``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from .errors import VcError
from .names import account_name, shown, user_name

EVERYBODY = "all"


def parse(value: Any) -> str:
    """One entry; VcError ``invalid``."""
    if value == EVERYBODY:
        return EVERYBODY
    kind, colon, name = value.partition(":") if isinstance(value, str) else ("", "", "")
    if colon and kind == "user":
        return f"user:{user_name(name)}"
    if colon and kind == "account":
        # Slurm compares accounts without case.
        return f"account:{account_name(name.lower())}"
    remedy = f"write {EVERYBODY}, user:NAME or account:NAME"
    raise VcError("invalid", shown(value), "reading who may use an image", "it names nobody", remedy)


def parse_all(values: Sequence[Any]) -> tuple[str, ...]:
    """Option ``access``, sorted; VcError ``invalid`` or ``duplicate`` (what means the same) names the entry by its index."""
    entries: list[str] = []
    for number, value in enumerate(values):
        entry = parse(value)
        if entry in entries:
            detail = f"access[{entries.index(entry)}] is {entry} too"
            raise VcError("duplicate", f"access[{number}]", "reading who may use an image", detail, "name everybody once")
        entries.append(entry)
    return tuple(sorted(entries))


def allows(entries: Iterable[str], user: str, account: str) -> bool:
    """Whether one of them means a job of this user that is charged to this account."""
    return not {EVERYBODY, f"user:{user}", f"account:{account.lower()}"}.isdisjoint(entries)
