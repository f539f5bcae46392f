# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A guest's power switch: what a request does step by step, while libvirt plays the machine."""

from __future__ import annotations

import time

import pytest
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.agent import power
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.agent.guest import Guest
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.libvirt.session import Session
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.model.states import NodeState

from tests.unit.refusal import refused


class Machine(Session):
    """libvirt with one guest."""

    def __init__(self, state: str = "running") -> None:
        self.now = state
        self.did: list[str] = []

    def state(self, name: str) -> str:
        return self.now

    def agent_answers(self, name: str) -> bool:
        return self.now == "running"

    def shutdown(self, name: str) -> None:
        self.did.append("press")

    def destroy(self, name: str) -> None:
        self.did.append("destroy")
        self.now = "off"

    def reset(self, name: str) -> None:
        self.did.append("reset")
        self.now = "running"

    def resume(self, name: str) -> None:
        self.did.append("resume")
        self.now = "running"


STATES = {"running": NodeState.RUNNING, "off": NodeState.OFF, "suspended": NodeState.SUSPENDED, "crashed": NodeState.CRASHED}


@pytest.fixture
def machine() -> Machine:
    return Machine()


def guest_of(machine: Machine) -> Guest:
    return Guest("compute0", STATES[machine.now], _domain="compute0", _up=machine.now == "running")


def step(guest: Guest, machine: Machine) -> None:
    """What the agent's loop does with it."""

    def start(started: Guest) -> None:
        machine.did.append("start")
        machine.now = "running"
        started.become(NodeState.BOOTING)

    if guest.request is not None:
        power.carry_out(guest, guest.request, machine, start)
    elif not guest.ended:
        guest.look(machine, stopping=False)


def test_off_pulls_the_plug_and_keeps_the_guest_for_its_job(machine: Machine) -> None:
    guest = guest_of(machine)
    power.take(guest, "off", 30)
    step(guest, machine)
    assert (guest.state, guest.request, guest.held, guest.finished) == (NodeState.OFF, None, True, False)
    assert machine.did == ["destroy"]


def test_on_starts_a_held_guest_again(machine: Machine) -> None:
    machine.now = "off"
    guest = guest_of(machine)
    guest.held = True
    power.take(guest, "on", 30)
    assert not guest.finished
    step(guest, machine)
    assert (guest.state, guest.request, guest.held) == (NodeState.BOOTING, None, False)
    assert machine.did == ["start"]


def test_on_lets_a_suspended_guest_go_on(machine: Machine) -> None:
    machine.now = "suspended"
    guest = guest_of(machine)
    power.take(guest, "on", 30)
    step(guest, machine)
    step(guest, machine)
    assert machine.did == ["resume"]
    assert guest.state is NodeState.RUNNING


def test_shutdown_presses_until_the_guest_is_off(machine: Machine) -> None:
    guest = guest_of(machine)
    power.take(guest, "shutdown", 30)
    step(guest, machine)
    assert (guest.state, guest.request is None) == (NodeState.STOPPING, False)
    machine.now = "off"
    step(guest, machine)
    assert (guest.state, guest.request, guest.finished) == (NodeState.OFF, None, False)
    assert machine.did == ["press"]


def test_a_guest_that_ignores_its_button_runs_on_and_says_so(machine: Machine) -> None:
    guest = guest_of(machine)
    power.take(guest, "shutdown", 1)
    step(guest, machine)
    assert guest.request is not None
    assert guest.request.deadline <= time.monotonic() + 1
    power.give_up(guest, guest.request, "the guest did not react")
    step(guest, machine)
    assert (guest.state, guest.failed, guest.held) == (NodeState.RUNNING, "the guest did not react", False)
    # Off by itself, later: nobody holds it.
    machine.now = "off"
    step(guest, machine)
    assert guest.finished
    power.take(guest, "on", 30)
    assert guest.failed == ""


def test_reboot_is_off_and_on_again(machine: Machine) -> None:
    guest = guest_of(machine)
    power.take(guest, "reboot", 30)
    step(guest, machine)
    machine.now = "off"
    step(guest, machine)
    assert not guest.finished
    step(guest, machine)
    assert (guest.state, guest.request, guest.held) == (NodeState.BOOTING, None, False)
    assert machine.did == ["press", "start"]


def test_reset_boots_anew(machine: Machine) -> None:
    guest = guest_of(machine)
    power.take(guest, "reset", 30)
    step(guest, machine)
    assert (guest.state, guest.request, machine.did) == (NodeState.BOOTING, None, ["reset"])


def test_a_request_takes_the_last_ones_place(machine: Machine) -> None:
    guest = guest_of(machine)
    power.take(guest, "shutdown", 30)
    step(guest, machine)
    power.take(guest, "on", 30)
    step(guest, machine)
    assert (guest.request, guest.held) == (None, False)
    step(guest, machine)
    assert guest.state is NodeState.RUNNING


def test_a_request_that_came_meanwhile_is_not_lost(machine: Machine) -> None:
    guest = guest_of(machine)
    power.take(guest, "off", 30)
    first = guest.request
    assert first is not None
    power.take(guest, "on", 30)
    power.carry_out(guest, first, machine, lambda _guest: None)
    assert guest.request is not None
    assert guest.request.verb == "on"


@pytest.mark.parametrize("verb", power.VERBS)
def test_a_guest_that_is_just_being_started_takes_no_request(verb: str) -> None:
    refused("conflict", lambda: power.take(Guest("compute0"), verb, 30))


@pytest.mark.parametrize("verb", ["shutdown", "reset"])
def test_what_is_off_cannot_be_shut_down_or_reset(verb: str, machine: Machine) -> None:
    machine.now = "off"
    refused("conflict", lambda: power.take(guest_of(machine), verb, 30))
