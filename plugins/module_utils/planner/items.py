# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Items of the vault's lists: read at their place, named once, and left alone while somebody runs on them.  No I/O."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from ..model.errors import VcError
from ..model.names import shown
from ..vault.lease_record import Lease, save_or_break

STATES = ("present", "absent")
_SHOWN = 5


def at(place: str, read: Any, item: Mapping[str, Any]) -> Any:
    """Read one item; what is refused is named by its place in the list."""
    try:
        return read(item)
    except VcError as error:
        raise VcError(error.code, f"{place}: {error.item}", error.tried, error.detail, error.remedy) from None


def choice(item: Mapping[str, Any], key: str, choices: Sequence[str]) -> str:
    value = item.get(key)
    if value not in choices:
        raise VcError("invalid", f"{key} {shown(value)}", "reading it", "there is no such choice", f"use one of {', '.join(choices)}")
    return str(value)


def refuse_duplicate(option: str, number: int, item: str, places: dict[str, int]) -> None:
    """Note the item's place; VcError ``duplicate`` when the list has it at an earlier one."""
    earlier = places.setdefault(item, number)
    if earlier != number:
        detail = f"{option}[{earlier}] is the same"
        raise VcError("duplicate", f"{option}[{number}] {item}", "reading it", detail, "name each of them once")


def refuse_leased(lease: Lease, tried: str) -> None:
    """VcError ``leased`` or ``not_flushed`` while a disk is not what its node last wrote."""
    if lease.holder is None:
        return
    if lease.exported:
        raise VcError("leased", lease.item, tried, f"held by {lease.holder}", "end that first")
    detail = f"changes of {lease.holder} are not in the vault"
    raise VcError("not_flushed", lease.item, tried, detail, save_or_break(lease, lease.holder))


def listed(names: Collection[str]) -> str:
    """The first of them in order, and how many there are besides: what fits into a message."""
    ordered = sorted(names)
    return ", ".join(ordered[:_SHOWN]) + (f" and {len(ordered) - _SHOWN} more" if len(ordered) > _SHOWN else "")
