# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Switching computes, against a Slurm that plays a script: how often it is asked, and what each node is told in the end."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.applier.compute_power import ComputeSwitches
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.applier.power import PowerActions
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.command import Commands, Result
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.model.noderange import expand
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.planner.power import read_options
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.slurm import watch

from tests.unit.planner.computesets import cluster_dict
from tests.unit.refusal import refused

Node = dict[str, Any]


class Site(Commands):
    """Running sets by job; their agents answer at once, and what they were asked for is done when they are asked the next time."""

    def __init__(self, *sets: str, stubborn: Sequence[str] = (), user: str = "labuser") -> None:
        super().__init__()
        self.user = user
        self.sets = {7 + place: nodes for place, nodes in enumerate(sets)}
        self.stubborn, self.silent, self.rising = set(stubborn), set[str](), set[str]()
        self.nodes: dict[str, Node] = {name: node("running") for nodes in sets for name in expand(nodes)}
        self.ran: list[list[str]] = []

    def run(self, argv: Sequence[str], stdin: str = "", timeout: float = 120.0, holding: Sequence[int] = ()) -> Result:
        self.ran.append(list(argv))
        if argv[0] == "squeue" and "--json" in argv:
            return Result(0, json.dumps({"jobs": [self._job(job_id) for job_id in self.sets]}), "")
        if argv[0] == "squeue":
            job_id = next(word for word in argv if word.startswith("--jobs=")).partition("=")[2]
            return Result(0, f"{job_id}|RUNNING|None|hv1|1:00:00|59:00|labuser|physics|hv1|vc-vc1-set\n", "")
        job_id = int(next(word for word in argv if word.startswith("--jobid=")).partition("=")[2])
        own = [name for name in expand(self.sets[job_id]) if name not in self.silent]
        words = list(argv[argv.index("call") + 1 :])
        if words != ["status"]:
            asked = [name for text in words[2:] for name in expand(text)]
            for name in [name for name in own if name in asked]:
                self.nodes[name]["asked"] = words[0]
        answer = json.dumps({"ok": True, "host": "hv1", "nodes": {name: self.nodes[name] for name in own}})
        for name in own:
            self._carry_out(name)
        return Result(0, answer, "")

    def _carry_out(self, name: str) -> None:
        asked = self.nodes[name]["asked"]
        if name in self.stubborn and asked in ("shutdown", "reboot"):
            self.nodes[name] = node("running", failed="the guest did not react")
        elif name in self.rising:
            self.nodes[name] = node("running")
        elif asked:
            self.nodes[name] = node("off" if asked in ("off", "shutdown") else "running")

    def _job(self, job_id: int) -> dict[str, Any]:
        comment = json.dumps({"vc": "vc1", "set": f"s{job_id}", "nodes": self.sets[job_id], "v": 1})
        return {"job_id": job_id, "user_name": self.user, "account": "physics", "job_state": "RUNNING", "comment": comment, "nodes": "hv1"}

    def sruns(self) -> list[list[str]]:
        return [argv[argv.index("call") + 1 :] for argv in self.ran if argv[0] == "srun"]


def node(state: str, failed: str = "") -> Node:
    return {"state": state, "msg": "", "asked": "", "failed": failed}


def power(site: Site, nodes: str, wanted: str, force: bool = False, wait: bool = True, user: str = "labuser") -> PowerActions:
    verb = {"action" if wanted in ("reboot", "reset") else "state": wanted}
    options = {"cluster": cluster_dict(64), "nodes": nodes, "state": None, "action": None, "wait": wait, "wait_timeout": 5, **verb}
    wish = read_options(options)
    slept: list[float] = []
    clock = watch.Clock(now=lambda: sum(slept), sleep=slept.append)
    return PowerActions(wish, ComputeSwitches(site, wish, user, clock), 5, force)


def done(actions: PowerActions) -> tuple[dict[str, str], dict[str, str]]:
    """States, and codes of what failed."""
    plan = actions.plan()
    assert not plan.errors
    told: list[Any] = []
    failed = {item: error.code for item, error in (actions.apply(plan.actions, told.append) if plan.actions else {}).items()}
    assert {action.item for action in told} == {action.item for action in plan.actions} - set(failed)
    nodes, late = actions.answer(plan, False)
    return {name: seen["state"] for name, seen in nodes.items()}, {**failed, **{error.item: error.code for error in late}}


def test_as_many_commands_for_one_node_as_for_64() -> None:
    counts = []
    for size in (1, 8, 64):
        site = Site("compute[0-63]")
        states, failed = done(power(site, f"compute[0-{size - 1}]" if size > 1 else "compute0", "powered_off"))
        assert set(states.values()) == {"off"}
        assert not failed
        counts.append(len(site.ran))
    assert counts[0] == counts[1] == counts[2]


def test_one_srun_for_each_set_and_only_its_own_nodes() -> None:
    site = Site("compute[0-1]", "compute[2-3]", "compute[4-5]")
    states, failed = done(power(site, "compute[1-2]", "shutdown"))
    assert states == {"compute1": "off", "compute2": "off"}
    assert not failed
    assert [words for words in site.sruns() if words != ["status"]] == [["shutdown", "5", "compute1"], ["shutdown", "5", "compute2"]]
    assert site.nodes["compute0"]["state"] == "running"


def test_what_is_as_wanted_is_left_alone() -> None:
    site = Site("compute[0-1]")
    for _run in range(2):
        assert done(power(site, "compute[0-1]", "powered_on")) == ({"compute0": "running", "compute1": "running"}, {})
    assert all(words == ["status"] for words in site.sruns())


def test_each_node_that_does_not_react_is_named() -> None:
    site = Site("compute[0-3]", stubborn=["compute1", "compute3"])
    states, failed = done(power(site, "compute[0-3]", "shutdown"))
    assert states == {"compute0": "off", "compute1": "running", "compute2": "off", "compute3": "running"}
    assert failed == {"vc1/compute1": "timeout", "vc1/compute3": "timeout"}


def test_force_is_for_those_that_do_not_react() -> None:
    site = Site("compute[0-3]", stubborn=["compute1"])
    assert done(power(site, "compute[0-3]", "shutdown", force=True)) == (dict.fromkeys(expand("compute[0-3]"), "off"), {})
    assert [words for words in site.sruns() if words[0] == "off"] == [["off", "5", "compute1"]]
    site = Site("compute[0-3]", stubborn=["compute1"])
    assert done(power(site, "compute[0-3]", "reboot", force=True)) == (dict.fromkeys(expand("compute[0-3]"), "running"), {})
    assert [words for words in site.sruns() if words[0] == "reset"] == [["reset", "5", "compute1"]]


def test_an_agent_that_does_not_answer_fails_its_own_nodes_only() -> None:
    site = Site("compute[0-1]")
    actions = power(site, "compute[0-1]", "powered_off")
    plan = actions.plan()
    site.silent = {"compute1"}
    failed = actions.apply(plan.actions, lambda _action: None)
    assert {item: error.code for item, error in failed.items()} == {"vc1/compute1": "unreachable"}
    nodes, late = actions.answer(plan, False)
    assert (nodes["compute0"]["state"], late) == ("off", [])


def test_without_waiting_nobody_is_asked_again_and_again() -> None:
    site = Site("compute[0-1]")
    assert done(power(site, "compute[0-1]", "reset", wait=False)) == ({"compute0": "booting", "compute1": "booting"}, {})
    assert [words[0] for words in site.sruns()] == ["status", "reset"]


@pytest.mark.parametrize("wanted", ["powered_on", "powered_off", "shutdown", "reboot", "reset"])
@pytest.mark.parametrize("wait", [True, False])
@pytest.mark.parametrize("state", ["running", "off", "suspended", "crashed"])
def test_what_is_foretold_is_what_is_answered(wanted: str, wait: bool, state: str) -> None:
    site = Site("compute[0-1]")
    site.nodes["compute1"] = node(state)
    actions = power(site, "compute[0-1]", wanted, wait=wait)
    plan = actions.plan()
    if plan.errors:
        return
    foretold = actions.answer(plan, True)
    assert actions.apply(plan.actions, lambda _action: None) == {} if plan.actions else True
    assert actions.answer(plan, False) == foretold


@pytest.mark.parametrize(
    ("wanted", "state", "asked", "becomes"),
    [
        ("powered_on", "booting", "", "running"),
        ("powered_on", "preparing", "", "running"),
        ("powered_on", "off", "on", "running"),
        ("shutdown", "stopping", "shutdown", "off"),
    ],
)
def test_what_is_only_waited_for_is_foretold_as_well(wanted: str, state: str, asked: str, becomes: str) -> None:
    for wait in (True, False):
        site = Site("compute[0-1]")
        site.rising = {"compute1"} if wait and not asked else set()
        site.nodes["compute0"] = node("off" if wanted == "shutdown" else "running")
        site.nodes["compute1"] = {**node(state), "asked": asked}
        actions = power(site, "compute[0-1]", wanted, wait=wait)
        plan = actions.plan()
        assert (plan.actions, plan.errors) == ([], [])
        foretold = actions.answer(plan, True)
        assert foretold[0]["compute1"]["state"] == (becomes if wait else state)
        assert actions.answer(plan, False) == foretold


def test_only_the_owner_reaches_the_agents() -> None:
    for user in ("root", "helper", "otheruser"):
        site = Site("compute0")
        refused("forbidden", power(site, "compute0", "powered_off", user=user).plan)
        assert site.ran == []


def test_a_job_of_somebody_else_is_not_asked() -> None:
    site = Site("compute0", user="otheruser")
    assert power(site, "compute0", "powered_off").plan().actions == []
    assert site.sruns() == []
