# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plan, apply, answer, as the modules do it, without check mode and without Ansible."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Optional

from ..model.errors import VcError
from ..planner.plan import Action, Done, Plan

Apply = Callable[[Sequence[Action], Done], Mapping[str, VcError]]
Answer = Callable[[Plan, bool], tuple[Any, Sequence[VcError]]]


def carried_out(key: str, plan: Callable[[], Plan], apply: Apply, answer: Answer) -> tuple[dict[str, Any], Optional[VcError]]:
    """``{changed, actions, failed, KEY}``, and the first failure.  Nothing is written when any item was refused."""
    planned = plan()
    failed: dict[str, VcError] = {error.item: error for error in planned.errors}
    done: list[Action] = []
    if not failed and planned.actions:
        try:
            failed = dict(apply(planned.actions, done.append))
        except VcError as error:
            failed = {error.item: error}
    seen, late = answer(planned, bool(planned.errors))
    for unmet in late:
        failed.setdefault(unmet.item, unmet)
    result = {
        "changed": bool(done),
        "actions": [action.to_dict() for action in done],
        "failed": {item: error.to_dict() for item, error in failed.items()},
        key: seen,
    }
    return result, next(iter(failed.values()), None)
