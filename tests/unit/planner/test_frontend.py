# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A frontend from any state in which a run may have been killed: every plan reaches its goal, and a second one is empty."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.model.definition import parse
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.planner.cluster import plan_cluster
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.planner.frontend import (
    Facts,
    Wish,
    describe,
    final_state,
    not_up,
    plan_frontend,
)
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.planner.plan import Action
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.unit.definitions import changed

CLUSTER = plan_cluster(parse(changed()), None, [])[1]
FRONTEND = CLUSTER.node("frontend")
UP = Facts("fe1", 3, "running", 3, True, True, "current", "current", True, "current", (), "running", True)


def wish(**changes: Any) -> Wish:
    return replace(Wish(CLUSTER, FRONTEND), **changes)


def followed(facts: Facts, actions: list[Action], made: Wish) -> Facts:
    for action in actions:
        facts = _step(facts, action, made)
    return facts


def _step(facts: Facts, action: Action, made: Wish) -> Facts:
    if action.verb == "lease":
        epoch = facts.lease_epoch or 4
        return replace(
            facts, lease_epoch=epoch, record_epoch=epoch, lease_state="preparing" if not facts.lease_epoch else facts.lease_state
        )
    if action.verb == "delete":
        return replace(facts, record_epoch=0, disk=False, disk_made=False, seed="missing")
    changes: dict[str, dict[str, Any]] = {
        "disk": {"disk": True, "disk_made": True},
        "attach": {"network": "current"},
        "seed": {"seed": "current"},
        "secret": {"secret": True},
        "define": {"domain": "current", "differences": ()},
        "autostart": {"autostart": made.autostart},
        "start": {"state": "running"},
        "report": {"lease_state": action.details.get("state")},
        "undefine": {"domain": "missing", "differences": (), "state": "off", "autostart": False},
        "detach": {"network": "missing"},
        "forget": {"secret": False},
        "release": {"lease_epoch": 0, "lease_state": "off"},
    }
    return replace(facts, **changes[action.verb])


@st.composite
def any_facts(draw: st.DrawFn) -> Facts:
    domain = draw(st.sampled_from(["missing", "current", "outdated"]))
    record = draw(st.sampled_from([0, 3]))
    disk = draw(st.booleans()) and record > 0
    return Facts(
        host="fe1",
        lease_epoch=3 if record else draw(st.sampled_from([0, 3])),
        lease_state=draw(st.sampled_from(["preparing", "running", "off"])) if record else "preparing",
        record_epoch=record,
        disk=disk,
        disk_made=disk and draw(st.booleans()),
        seed=draw(st.sampled_from(["missing", "outdated", "current"])) if record else "missing",
        network=draw(st.sampled_from(["missing", "outdated", "current"])),
        secret=draw(st.booleans()),
        domain=domain,
        differences=("domain/vcpu",) if domain == "outdated" else (),
        state="off" if domain == "missing" else draw(st.sampled_from(["running", "suspended", "stopping", "off", "crashed"])),
        autostart=domain != "missing" and draw(st.booleans()),
    )


@given(any_facts(), st.booleans(), st.booleans())
def test_present_is_reached_from_anywhere(facts: Facts, started: bool, autostart: bool) -> None:
    made = wish(started=started, autostart=autostart)
    first = plan_frontend(made, facts)
    assert first.error is None
    after = followed(facts, list(first.actions), made)
    assert describe(after) == first.after
    assert after.state == final_state(made, facts)
    assert plan_frontend(made, after).actions == ()


@given(any_facts(), st.booleans())
def test_absent_is_reached_from_anywhere_that_is_off(facts: Facts, remove_disk: bool) -> None:
    assume(facts.state in ("off", "crashed"))
    made = wish(present=False, remove_disk=remove_disk)
    first = plan_frontend(made, facts)
    assert first.error is None
    after = followed(facts, list(first.actions), made)
    assert plan_frontend(made, after).actions == ()
    assert (after.domain, after.network) == ("missing", "missing")
    if remove_disk:
        assert describe(after) is None
    else:
        assert (after.disk, after.lease_epoch) == (facts.disk, facts.lease_epoch)


def test_the_disk_goes_last() -> None:
    off = replace(UP, state="off")
    verbs = [action.verb for action in plan_frontend(wish(present=False, remove_disk=True), off).actions]
    assert verbs == ["undefine", "detach", "forget", "release", "delete"]


@pytest.mark.parametrize(
    ("made", "facts", "code"),
    [
        (wish(present=False), UP, "in_use"),
        (wish(present=False), replace(UP, state="suspended"), "in_use"),
        (wish(), replace(UP, host="fe2"), "conflict"),
        (wish(present=False), replace(UP, host="fe2"), "conflict"),
        (wish(present=False, remove_disk=True), replace(UP, redefined=True, state="off"), "conflict"),
        (wish(), replace(UP, domain="foreign"), "conflict"),
        (wish(present=False, remove_disk=True), replace(UP, domain="foreign", state="off"), "conflict"),
        (wish(), replace(UP, lease_epoch=0), "stale_epoch"),
        (wish(), replace(UP, lease_epoch=5), "stale_epoch"),
        (wish(), replace(UP, disk=False), "conflict"),
        (wish(), Facts("fe1", lease_epoch=3, lease_state="running"), "conflict"),
    ],
)
def test_what_would_lose_something_is_refused(made: Wish, facts: Facts, code: str) -> None:
    planned = plan_frontend(made, facts)
    assert planned.error is not None
    assert planned.error.code == code
    assert planned.actions == ()


def test_what_is_left_after_a_broken_lease_can_be_given_up() -> None:
    broken = replace(UP, lease_epoch=0, state="off")
    verbs = [action.verb for action in plan_frontend(wish(present=False, remove_disk=True), broken).actions]
    assert verbs == ["undefine", "detach", "forget", "delete"]


@pytest.mark.parametrize("epoch", [0, 5])
def test_a_removal_that_was_ended_after_giving_the_lease_up_is_taken_up_again(epoch: int) -> None:
    ended = replace(UP, lease_epoch=epoch, state="off", secret=False)
    made = wish(present=False)
    planned = plan_frontend(made, ended)
    assert planned.error is None
    assert [action.verb for action in planned.actions] == ["undefine", "detach"]
    after = followed(ended, list(planned.actions), made)
    assert after.disk
    assert describe(after) == planned.after
    removed = plan_frontend(wish(present=False, remove_disk=True), after)
    assert [action.verb for action in removed.actions] == (["release"] if epoch else []) + ["delete"]


def test_a_running_frontend_is_never_switched_off() -> None:
    assert plan_frontend(wish(started=False), UP).actions == ()
    (action,) = plan_frontend(wish(), replace(UP, domain="outdated", differences=("domain/vcpu",))).actions
    assert (action.verb, action.details["effective"]) == ("define", "at its next power-on")


@pytest.mark.parametrize("state", ["off", "crashed", "suspended", "stopping"])
def test_a_frontend_that_does_not_run_is_no_success(state: str) -> None:
    for answered in (True, False):
        error = not_up(wish(), replace(UP, state=state), answered, 600, Path("/console.log"))
        assert error is not None
        assert (error.code, error.item) == ("backend", "vc1/frontend")
        assert state in error.detail
    assert not_up(wish(started=False), replace(UP, state=state), True, 600, Path("/console.log")) is None


def test_a_frontend_whose_services_do_not_come_is_no_success() -> None:
    error = not_up(wish(), UP, False, 600, Path("/console.log"))
    assert error is not None
    assert error.code == "timeout"
    assert not_up(wish(), UP, True, 600, Path("/console.log")) is None
    assert not_up(wish(present=False), replace(UP, state="off"), True, 600, Path("/console.log")) is None
