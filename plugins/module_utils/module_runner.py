# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs a plan inside an Ansible module.  The only place that asks for check mode, and the only file here that imports Ansible."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Optional

from ansible.module_utils.basic import AnsibleModule

from .model.errors import VcError
from .planner.plan import Action, Done, ItemPlan, Plan

# Applies all actions of a plan in one batch; answers the items that failed.  Actions of an item stop at its first failure.
# It says what it has done as it goes: of an item that failed that alone tells whether anything changed.  Others are done as a whole.
Apply = Callable[[Sequence[Action], Done], Mapping[str, VcError]]


class Incomplete(Exception):
    """Raised by `answer`: all was written, but it did not become what was asked for.  Carries the object as it is."""

    def __init__(self, error: VcError, answer: Any, *others: VcError) -> None:
        super().__init__(str(error))
        self.errors = (error, *others)
        self.answer = answer


def run(
    module: AnsibleModule, key: str, plan: Callable[[], Plan], apply: Apply, answer: Callable[[Plan, bool], Any], nothing: Any = None
) -> None:
    """Plan, apply unless in check mode, answer, leave.

    Parameters
    ----------
    key : name of the returned object, e.g. ``networks``
    plan : reads the backend and plans; a VcError from it means that nothing could be read or the whole input was refused
    apply : writes; never called in check mode, when there is nothing to do, or when any item was refused
    answer : the returned object; called with the plan and True when it has to be predicted rather than read back.  May raise Incomplete
    nothing : the returned object where none is known, ``{}`` unless given: its key is always there
    """
    nothing = {} if nothing is None else nothing
    try:
        planned = plan()
    except (VcError, OSError) as error:
        refuse(module, _told(error, key, "reading what there is"), **{key: nothing})
    failures: dict[str, VcError] = {item.name: item.error for item in planned.items if item.error is not None}
    applied: Sequence[Action] = []
    if not failures:
        applied = planned.actions
        if applied and not module.check_mode:
            done: list[Action] = []
            try:
                failures = dict(apply(applied, done.append))
            except (VcError, OSError) as error:
                failures = _unfinished(planned, done, error)
            written = _identities(done)
            applied = [action for action in applied if action.item not in failures or id(action) in written]
    outcome: dict[str, Any] = {
        "changed": bool(applied),
        "diff": planned.diff() if not failures else _diff_of(planned, {action.item for action in applied} - set(failures)),
        "actions": [action.to_dict() for action in applied],
        key: nothing,
    }
    try:
        outcome[key] = answer(planned, module.check_mode or bool(planned.errors))
    except Incomplete as incomplete:
        for unmet in incomplete.errors:
            # What could not be written explains what did not become true, not the other way round.
            failures.setdefault(unmet.item, unmet)
        outcome[key] = incomplete.answer
    except (VcError, OSError) as error:
        unread = _told(error, key, "reading it back")
        failures.setdefault(unread.item, unread)
    verbs: dict[str, list[str]] = {}
    for action in applied:
        verbs.setdefault(action.item, []).append(action.verb)
    outcome["results"] = [_result(item, failures.get(item.name), verbs.get(item.name, [])) for item in planned.items]
    if failures:
        first = next(iter(failures.values()))
        more = f" (and {len(failures) - 1} more, see results)" if len(failures) > 1 else ""
        module.fail_json(msg=f"{first}{more}", error_code=first.code, **outcome)
    module.exit_json(**outcome)


def refuse(module: AnsibleModule, error: VcError, **nothing: Any) -> None:
    """Leave with a refusal that concerns the whole call; nothing was written.  `nothing` are the module's objects, empty."""
    result = {"name": error.item, "changed": False, "state": "unknown", "actions": [], "msg": str(error), "error_code": error.code}
    outcome: dict[str, Any] = {"changed": False, "diff": {"before": {}, "after": {}}, "actions": [], "results": [result], **nothing}
    module.fail_json(msg=str(error), error_code=error.code, **outcome)


def _told(error: Exception, item: str, tried: str) -> VcError:
    """What the kernel refused (a full disk, a file system that is read-only) is told like any other failure."""
    return (
        error
        if isinstance(error, VcError)
        else VcError("backend", item, tried, str(error), "mend that as root on this host, then run it again")
    )


def _unfinished(plan: Plan, done: Sequence[Action], error: Exception) -> dict[str, VcError]:
    """The items that an error which names none has stopped: those with something left to do, all if it came after the last step."""
    changing = [item for item in plan.items if item.actions]
    written = _identities(done)
    left = [item for item in changing if not all(id(action) in written for action in item.actions)]
    return {item.name: _told(error, item.name, "writing it") for item in left or changing}


def _identities(done: Sequence[Action]) -> set[int]:
    """Which actions these are: two steps of one item may be alike, and their details cannot be hashed."""
    return {id(action) for action in done}


def _result(item: ItemPlan, error: Optional[VcError], verbs: list[str]) -> dict[str, Any]:
    return {
        "name": item.name,
        "changed": bool(verbs),
        "state": item.state if error is None else "failed",
        "actions": verbs,
        "msg": str(error) if error else "",
        "error_code": error.code if error else "",
    }


def _diff_of(plan: Plan, done: set[str]) -> dict[str, dict[str, Any]]:
    whole = plan.diff()
    return {side: {name: state for name, state in items.items() if name in done} for side, items in whole.items()}
