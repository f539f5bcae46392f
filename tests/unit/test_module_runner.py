# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What every module promises: check mode predicts, a refusal writes nothing, failures are per item, a second run is empty."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.testing import patch_module_args
from ansible_collections.hpc.virtual_cluster.plugins.module_utils import module_runner
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.model.errors import VcError
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.planner.plan import Action, Done, ItemPlan, Plan

from tests.unit.steps import is_linear

BROKEN = VcError("backend", "b", "making it", "disk full", "free some space")


class World:
    """A backend of named things, for a module that makes them."""

    def __init__(self, *present: str, broken: tuple[str, ...] = ()) -> None:
        self.present = list(present)
        self.broken = broken
        self.applied = 0

    def plan(self, *wanted: str) -> Plan:
        return Plan(
            tuple(
                ItemPlan(name, "present", (), {"is": 1}, {"is": 1})
                if name in self.present
                else ItemPlan(name, "present", (Action(name, "make"),), None, {"is": 1})
                for name in wanted
            )
        )

    def apply(self, actions: Sequence[Action], _done: Done) -> Mapping[str, VcError]:
        self.applied += 1
        failures = {action.item: BROKEN for action in actions if action.item in self.broken}
        self.present += [action.item for action in actions if action.item not in failures]
        return failures


def run(
    capsys: pytest.CaptureFixture[str],
    plan: Callable[[], Plan],
    apply: module_runner.Apply,
    answer: Callable[[Plan, bool], Any],
    check_mode: bool = False,
) -> dict[str, Any]:
    """Run as Ansible would and return the JSON."""
    with patch_module_args({"_ansible_check_mode": check_mode}):
        module = AnsibleModule({}, supports_check_mode=True)
        with pytest.raises(SystemExit):
            module_runner.run(module, "things", plan, apply, answer)
    outcome: dict[str, Any] = json.loads(capsys.readouterr().out)
    return outcome


def go(capsys: pytest.CaptureFixture[str], world: World, *wanted: str, check_mode: bool = False) -> dict[str, Any]:
    def answer(planned: Plan, predicted: bool) -> list[str]:
        return sorted({*world.present, *(item.name for item in planned.items)}) if predicted else sorted(world.present)

    return run(capsys, lambda: world.plan(*wanted), world.apply, answer, check_mode)


def test_check_mode_says_what_a_run_then_does(capsys: pytest.CaptureFixture[str]) -> None:
    world = World("a")
    predicted = go(capsys, world, "a", "b", check_mode=True)
    assert world.applied == 0
    done = go(capsys, world, "a", "b")
    for key in ("changed", "diff", "actions", "results", "things"):
        assert predicted[key] == done[key]
    assert done["changed"]
    assert done["things"] == ["a", "b"]
    assert [(result["name"], result["changed"], result["actions"]) for result in done["results"]] == [
        ("a", False, []),
        ("b", True, ["make"]),
    ]


def test_a_second_run_changes_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    world = World()
    go(capsys, world, "a")
    again = go(capsys, world, "a")
    assert (again["changed"], again["actions"], again["diff"], world.applied) == (False, [], {"before": {}, "after": {}}, 1)


def test_a_refused_item_keeps_all_items_from_being_written(capsys: pytest.CaptureFixture[str]) -> None:
    world = World()
    refusal = VcError("conflict", "b", "making it", "c has it", "choose another")

    def plan() -> Plan:
        return Plan((*world.plan("a").items, ItemPlan("b", "unknown", error=refusal)))

    outcome = run(capsys, plan, world.apply, lambda _plan, _predicted: world.present)
    assert (outcome["failed"], outcome["changed"], outcome["actions"], world.applied) == (True, False, [], 0)
    assert (outcome["error_code"], outcome["msg"]) == ("conflict", str(refusal))
    assert [result["state"] for result in outcome["results"]] == ["present", "failed"]
    assert outcome["diff"] == {"before": {}, "after": {}}


def test_one_failed_item_does_not_hide_the_others(capsys: pytest.CaptureFixture[str]) -> None:
    world = World(broken=("b",))
    outcome = go(capsys, world, "a", "b", "c")
    assert (outcome["failed"], outcome["changed"], outcome["error_code"]) == (True, True, "backend")
    assert [result["changed"] for result in outcome["results"]] == [True, False, True]
    assert outcome["results"][1]["msg"] == str(BROKEN)
    assert set(outcome["diff"]["after"]) == {"a", "c"}
    assert outcome["things"] == ["a", "c"]


def test_several_failures_are_counted(capsys: pytest.CaptureFixture[str]) -> None:
    outcome = go(capsys, World(broken=("a", "b")), "a", "b")
    assert "(and 1 more, see results)" in outcome["msg"]
    assert not outcome["changed"]


def test_a_backend_that_cannot_be_read_is_one_result(capsys: pytest.CaptureFixture[str]) -> None:
    def plan() -> Plan:
        raise BROKEN

    world = World()
    outcome = run(capsys, plan, world.apply, lambda _plan, _predicted: None)
    assert (outcome["failed"], outcome["changed"], world.applied) == (True, False, 0)
    assert outcome["results"] == [
        {"name": "b", "changed": False, "state": "unknown", "actions": [], "msg": str(BROKEN), "error_code": "backend"}
    ]


def test_a_write_that_fails_as_a_whole_fails_every_item_in_it(capsys: pytest.CaptureFixture[str]) -> None:
    def apply(_actions: Sequence[Action], _done: Done) -> Mapping[str, VcError]:
        raise BROKEN

    world = World("c")
    outcome = run(capsys, lambda: world.plan("a", "b", "c"), apply, lambda _plan, _predicted: [])
    assert [result["state"] for result in outcome["results"]] == ["failed", "failed", "present"]
    assert not outcome["changed"]


def test_what_could_not_be_written_is_told_rather_than_what_came_of_it(capsys: pytest.CaptureFixture[str]) -> None:
    def answer(_plan: Plan, _predicted: bool) -> Any:
        raise module_runner.Incomplete(VcError("timeout", "b", "waiting for it", "still pending", "wait longer"), ["pending"])

    world = World(broken=("b",))
    outcome = run(capsys, lambda: world.plan("b"), world.apply, answer)
    assert (outcome["error_code"], outcome["msg"], outcome["things"]) == ("backend", str(BROKEN), ["pending"])


@pytest.mark.parametrize("raised", [False, True])
def test_an_item_that_fails_half_way_has_changed(capsys: pytest.CaptureFixture[str], raised: bool) -> None:
    def apply(actions: Sequence[Action], done: Done) -> Mapping[str, VcError]:
        done(actions[0])
        if raised:
            raise BROKEN
        return {"b": BROKEN}

    item = ItemPlan("b", "present", (Action("b", "make"), Action("b", "start")), None, {"is": 1})
    outcome = run(capsys, lambda: Plan((item,)), apply, lambda _plan, _predicted: [])
    assert (outcome["failed"], outcome["changed"], outcome["error_code"]) == (True, True, "backend")
    assert outcome["actions"] == [{"item": "b", "verb": "make"}]
    result = outcome["results"][0]
    assert (result["changed"], result["actions"], result["state"]) == (True, ["make"], "failed")
    # What it is now, nobody knows.
    assert outcome["diff"] == {"before": {}, "after": {}}


def test_what_was_written_but_did_not_become_true_is_a_failure_with_the_object(capsys: pytest.CaptureFixture[str]) -> None:
    def answer(_plan: Plan, _predicted: bool) -> Any:
        raise module_runner.Incomplete(VcError("timeout", "a", "waiting for it", "still pending", "wait longer"), ["pending"])

    world = World()
    outcome = run(capsys, lambda: world.plan("a"), world.apply, answer)
    assert (outcome["failed"], outcome["changed"], outcome["error_code"], outcome["things"]) == (True, True, "timeout", ["pending"])
    assert outcome["results"][0]["error_code"] == "timeout"


def test_a_refused_call_has_the_object_too(capsys: pytest.CaptureFixture[str]) -> None:
    def plan() -> Plan:
        raise OSError(30, "Read-only file system", "/somewhere")

    outcome = run(capsys, plan, World().apply, lambda _plan, _predicted: None)
    assert (outcome["things"], outcome["error_code"], outcome["changed"]) == ({}, "backend", False)
    assert "things: reading what there is failed: [Errno 30] Read-only file system: '/somewhere'. Remedy:" in outcome["msg"]


@pytest.mark.parametrize(("steps", "failed"), [(1, ["b"]), (2, ["a", "b"])])
def test_an_error_without_an_item_fails_what_was_not_finished(capsys: pytest.CaptureFixture[str], steps: int, failed: list[str]) -> None:
    """After the last step nothing is unfinished; then the error is everybody's."""

    def apply(actions: Sequence[Action], done: Done) -> Mapping[str, VcError]:
        for action in actions[:steps]:
            done(action)
        raise OSError(28, "No space left on device")

    outcome = run(capsys, lambda: World("c").plan("a", "b", "c"), apply, lambda _plan, _predicted: [])
    assert [result["name"] for result in outcome["results"] if result["error_code"] == "backend"] == failed
    assert [action["item"] for action in outcome["actions"]] == ["a", "b"][:steps]
    assert outcome["changed"]


@pytest.mark.parametrize("ends", ["well", "each failed", "raised"])
def test_many_items_are_told_one_by_one(capsys: pytest.CaptureFixture[str], ends: str) -> None:
    def apply(actions: Sequence[Action], done: Done) -> Mapping[str, VcError]:
        for action in actions:
            done(action)
        if ends == "raised":
            raise BROKEN
        return {action.item: BROKEN for action in actions} if ends == "each failed" else {}

    def answer(planned: Plan, _predicted: bool) -> Any:
        late = [VcError("timeout", f"{item.name} late", "waiting for it", "still pending", "wait longer") for item in planned.items]
        raise module_runner.Incomplete(late[0], [], *late[1:])

    def items(number: int) -> Plan:
        return World().plan(*(f"n{place}" for place in range(number)))

    # Many, because a module is some work without any item.
    assert is_linear(items, lambda planned: run(capsys, lambda: planned, apply, answer), 200)
