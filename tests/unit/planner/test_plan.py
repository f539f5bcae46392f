# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plans: what is shown of them."""

from __future__ import annotations

from ansible_collections.hpc.virtual_cluster.plugins.module_utils.model.errors import VcError
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.planner.plan import Action, ItemPlan, Plan

MADE = ItemPlan("a", "present", (Action("a", "make", {"size": 1}), Action("a", "start")), None, {"size": 1})
KEPT = ItemPlan("b", "present", (), {"size": 2}, {"size": 2})
GONE = ItemPlan("c", "absent", (Action("c", "remove"),), {"size": 3}, None)
ERROR = VcError("conflict", "d", "making it", "somebody has it", "choose another")
REFUSED = ItemPlan("d", "unknown", error=ERROR)


def test_actions_are_in_the_order_of_items() -> None:
    plan = Plan((MADE, KEPT, GONE))
    assert [action.to_dict() for action in plan.actions] == [
        {"item": "a", "verb": "make", "size": 1},
        {"item": "a", "verb": "start"},
        {"item": "c", "verb": "remove"},
    ]
    assert plan.errors == []


def test_the_diff_shows_only_what_changes() -> None:
    assert Plan((MADE, KEPT, GONE)).diff() == {"before": {"c": {"size": 3}}, "after": {"a": {"size": 1}}}
    assert Plan((KEPT,)).diff() == {"before": {}, "after": {}}


def test_errors_are_collected() -> None:
    assert Plan((MADE, REFUSED)).errors == [ERROR]
