# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which switch is touched, which is left alone, and which must not be touched; for every state a node can be in."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.model.errors import VcError
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.model.states import NodeState
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.planner.power import (
    VERBS,
    Machine,
    arrived,
    by_job,
    plan_power,
    predicted,
    read_options,
)
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.planner.computesets import cluster_dict
from tests.unit.refusal import refused

UP = Machine("running", "hv1", job_id=7, computeset="sim")
DOWN = replace(UP, state="off")
STALE = VcError("stale_epoch", "vc1/frontend", "preparing the frontend", "its lease is another's", "give its disk up")


def options(**changes: Any) -> dict[str, Any]:
    given_options = {"cluster": cluster_dict(), "nodes": "compute0", "state": None, "action": None, "wait": True, "wait_timeout": 60}
    wanted = changes.pop("wanted", "powered_on")
    return {**given_options, "action" if wanted in ("reboot", "reset") else "state": wanted, **changes}


def decide(wanted: str, machine: Machine, nodes: str = "compute0") -> str:
    """The verb, ``-`` for nothing to do, or the code of the refusal."""
    wish = read_options(options(wanted=wanted, nodes=nodes))
    item = plan_power(wish, {nodes: machine}).items[0]
    if item.error is not None:
        assert item.error.remedy
        assert not item.actions
        return item.error.code
    return item.actions[0].verb if item.actions else "-"


@pytest.mark.parametrize(
    ("machine", "on", "off", "shutdown", "reboot", "reset"),
    [
        (Machine(), "conflict", "-", "-", "conflict", "conflict"),
        (UP, "-", "power_off", "shutdown", "reboot", "reset"),
        (replace(UP, state="booting"), "-", "power_off", "shutdown", "reboot", "reset"),
        (replace(UP, state="queued"), "-", "conflict", "conflict", "conflict", "conflict"),
        (replace(UP, state="preparing"), "-", "conflict", "conflict", "conflict", "conflict"),
        (replace(UP, state="suspended"), "power_on", "power_off", "conflict", "conflict", "reset"),
        (replace(UP, state="stopping", asked="shutdown"), "power_on", "power_off", "-", "reboot", "reset"),
        (replace(UP, state="stopping", asked="reboot"), "-", "power_off", "shutdown", "reboot", "reset"),
        (replace(UP, state="stopping", leaving=True), "conflict", "conflict", "conflict", "conflict", "conflict"),
        (DOWN, "power_on", "-", "-", "reboot", "conflict"),
        (replace(DOWN, asked="on"), "-", "power_off", "shutdown", "-", "conflict"),
        (replace(DOWN, deserted=True), "conflict", "-", "-", "conflict", "conflict"),
        (replace(UP, state="crashed"), "power_on", "-", "-", "reboot", "conflict"),
        (replace(DOWN, state="flushing"), "power_on", "-", "-", "reboot", "conflict"),
    ],
)
def test_what_is_done_in_each_state(machine: Machine, on: str, off: str, shutdown: str, reboot: str, reset: str) -> None:
    wanted = {"powered_on": on, "powered_off": off, "shutdown": shutdown, "reboot": reboot, "reset": reset}
    assert {verb: decide(verb, machine) for verb in wanted} == wanted


def test_a_frontend_whose_lease_is_anothers_is_not_switched_on() -> None:
    for state in ("off", "running"):
        fenced = Machine(state, "fe1", refusal=STALE)
        assert decide("reboot", fenced, "frontend") == "stale_epoch"
    assert decide("powered_on", Machine("off", "fe1", refusal=STALE), "frontend") == "stale_epoch"
    assert decide("powered_off", Machine("running", "fe1"), "frontend") == "power_off"


@st.composite
def machines(draw: st.DrawFn) -> Machine:
    state = draw(st.sampled_from([str(state) for state in NodeState]))
    asked = draw(st.sampled_from(["", "on", "off", "shutdown", "reboot", "reset"]))
    return Machine(
        state, "hv1", asked=asked, job_id=draw(st.sampled_from([0, 7])), leaving=draw(st.booleans()), deserted=draw(st.booleans())
    )


@given(machines(), st.sampled_from(["powered_on", "powered_off", "shutdown"]))
def test_what_was_done_is_there_and_a_second_run_does_nothing(machine: Machine, wanted: str) -> None:
    wish = read_options(options(wanted=wanted))
    first = plan_power(wish, {"compute0": machine}).items[0]
    if first.error is not None:
        return
    after = replace(machine, state=predicted(wish, machine) if first.actions or machine.asked else machine.state, asked="")
    assert plan_power(wish, {"compute0": after}).items[0].actions == ()
    if first.actions:
        assert first.after == {"state": after.state}
        assert arrived(wish, "vc1/compute0", replace(after, leaving=False)) == (True, None)
    else:
        assert first.before == first.after


@pytest.mark.parametrize(
    ("wanted", "state", "compute", "frontend"),
    [
        ("powered_on", "off", "booting", "running"),
        ("powered_on", "suspended", "running", "running"),
        ("powered_off", "running", "stopping", "off"),
        ("powered_off", "crashed", "crashed", "crashed"),
        ("shutdown", "running", "stopping", "stopping"),
        ("reset", "running", "booting", "running"),
        ("reboot", "running", "stopping", ""),
        ("reboot", "off", "booting", ""),
    ],
)
def test_who_does_not_wait_is_told_what_is_under_way(wanted: str, state: str, compute: str, frontend: str) -> None:
    for name, said in (("compute0", compute), ("frontend", frontend)):
        if said:
            wish = read_options(options(wanted=wanted, nodes=name, wait=False))
            assert predicted(wish, replace(UP, state=state)) == said
            waiting = replace(wish, waits=True)
            assert predicted(waiting, replace(UP, state=state)) in ("off", "running", "crashed")


def test_an_action_is_done_every_time() -> None:
    for wanted in ("reboot", "reset"):
        wish = read_options(options(wanted=wanted, nodes="compute[0-1]"))
        plan = plan_power(wish, {"compute0": UP, "compute1": UP})
        assert [action.to_dict() for action in plan.actions] == [
            {"item": f"vc1/{name}", "verb": VERBS[wanted], "node": name, "host": "hv1", "job_id": 7} for name in ("compute0", "compute1")
        ]


@pytest.mark.parametrize(
    ("wanted", "machine", "code"),
    [
        ("powered_on", replace(UP, state="crashed", msg="QEMU ended unexpectedly"), "backend"),
        ("reboot", replace(DOWN, msg="disk full"), "backend"),
        ("shutdown", replace(UP, failed="the guest did not react"), "timeout"),
        ("reboot", replace(UP, failed="the guest did not react"), "timeout"),
        ("powered_on", replace(UP, state="stopping", leaving=True), "conflict"),
    ],
)
def test_what_will_not_come_true_ends_the_wait(wanted: str, machine: Machine, code: str) -> None:
    over, error = arrived(read_options(options(wanted=wanted)), "vc1/compute0", machine)
    assert over
    assert error is not None
    assert (error.code, error.item) == (code, "vc1/compute0")
    assert error.remedy


def test_a_reboot_under_way_is_not_taken_for_its_end() -> None:
    wish = read_options(options(wanted="reboot"))
    for state in ("running", "stopping", "off"):
        assert arrived(wish, "vc1/compute0", replace(UP, state=state, asked="reboot")) == (False, None)
    over, error = arrived(wish, "vc1/compute0", replace(UP, asked="reboot"), late=True)
    assert not over
    assert error is not None


def test_options() -> None:
    refused("unknown", read_options, options(nodes="compute99"))
    refused("duplicate", read_options, options(nodes="compute0,compute[0-1]"))
    refused("invalid", read_options, options(nodes=""))
    refused("invalid", read_options, options(nodes="frontend,compute0"))
    refused("invalid", read_options, options(wait_timeout=0))
    refused("invalid", read_options, options(nodes="frontend", wanted="reboot", wait=False))
    assert read_options(options(nodes="frontend", wanted="reset", wait=False)).role == "frontend"


def test_nodes_are_asked_by_their_job() -> None:
    found = {"compute0": UP, "compute1": replace(UP, job_id=8), "compute2": UP, "compute3": Machine()}
    assert by_job(found, ["compute2", "compute3", "compute1", "compute0", "compute9"]) == {7: ["compute2", "compute0"], 8: ["compute1"]}
