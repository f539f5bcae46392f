# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What every planner answers: per item, the ordered actions and the state before and after.  No I/O."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Optional

from ..model.errors import VcError


@dataclass(frozen=True)
class Action:
    """One step on one item.

    Parameters
    ----------
    item : the item it belongs to, e.g. ``debian12``
    verb : what is done, in the words a reader of the play's output knows, e.g. ``import``
    details : what the applier needs; JSON-able, no secrets (it is shown to the user)
    """

    item: str
    verb: str
    details: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        return {"item": self.item, "verb": self.verb, **self.details}


# An applier calls it with every action as soon as something of it was written.
Done = Callable[[Action], None]


def unheard(_action: Action) -> None:
    """For callers of an applier who only want to know what failed."""


@dataclass(frozen=True)
class ItemPlan:
    """Desired against current for one item.

    Parameters
    ----------
    name : the item
    state : the state it will have afterwards, e.g. ``present``
    actions : in order; empty means nothing to do
    before, after : canonical state for the diff, None where the item does not exist
    error : set when the item was refused; then it has no actions
    """

    name: str
    state: str
    actions: tuple[Action, ...] = ()
    before: Optional[Mapping[str, Any]] = None
    after: Optional[Mapping[str, Any]] = None
    error: Optional[VcError] = None


@dataclass(frozen=True)
class Plan:
    """All items of one module call, in the order the user gave them."""

    items: tuple[ItemPlan, ...]

    @property
    def actions(self) -> list[Action]:
        return [action for item in self.items for action in item.actions]

    @property
    def errors(self) -> list[VcError]:
        return [item.error for item in self.items if item.error is not None]

    def diff(self) -> dict[str, dict[str, Any]]:
        """The same in check mode and in a run: only items that change."""
        changing = [item for item in self.items if item.actions]
        return {
            "before": {item.name: dict(item.before) for item in changing if item.before is not None},
            "after": {item.name: dict(item.after) for item in changing if item.after is not None},
        }
