# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Switches nodes on and off: what module vc_power does, whoever holds the switches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

from ..model.errors import VcError
from ..planner.plan import Action, Done, Plan
from ..planner.power import Failed, Machine, Machines, Wish, plan_power, predicted


class Switches(Protocol):
    """The power switches of some nodes: those of computes are in their job's agents, that of a frontend in libvirt."""

    def read(self) -> Machines:
        """The nodes that somebody runs; the others are off."""

    def switch(self, verb: str, machines: Machines, names: Sequence[str], seconds: int) -> Failed:
        """Do what an action of this verb says to these nodes, all in one; those to which it could not be done."""

    def wait(self, machines: Machines, names: Sequence[str], seconds: int, force: bool) -> tuple[Machines, Failed]:
        """Wait for these nodes: what they have become, and which of them did not become what was asked for."""


class PowerActions:
    """One call: the same switch of some nodes.

    Parameters
    ----------
    seconds : how long to wait, and how long guests have to react
    force : pull the plug of those that have not, or reset them
    """

    def __init__(self, wish: Wish, switches: Switches, seconds: int, force: bool) -> None:
        self._wish, self._switches = wish, switches
        self._seconds, self._force = seconds, force
        self._machines: Machines = {}
        self._failed: Failed = {}

    def plan(self) -> Plan:
        """Look once, decide."""
        self._machines = self._switches.read()
        return plan_power(self._wish, self._machines)

    def apply(self, actions: Sequence[Action], done: Done) -> Mapping[str, VcError]:
        """All actions of a call are the same one."""
        by_name = {str(action.details["node"]): action for action in actions}
        self._failed = self._switches.switch(actions[0].verb, self._machines, list(by_name), self._seconds)
        for name, action in by_name.items():
            if name not in self._failed:
                done(action)
        return {self._wish.item(name): error for name, error in self._failed.items()}

    def answer(self, plan: Plan, foretell: bool) -> tuple[dict[str, Any], list[VcError]]:
        """The nodes as they are, or will be, and what did not become true.

        Who does not wait is told what is under way: how far it has come at that moment would be chance.
        """
        machines: Machines = dict(self._machines)
        late: Failed = {}
        if self._wish.waits and not foretell:
            names = [node.name for node in self._wish.nodes if node.name not in self._failed]
            seen, late = self._switches.wait(self._machines, names, self._seconds, self._force)
            machines.update(seen)
        elif not plan.errors:
            touched = {str(action.details["node"]) for action in plan.actions} - set(self._failed)
            # A run that waits sees through as well what is under way already.
            moving = {name for name, machine in machines.items() if self._wish.waits and predicted(self._wish, machine) != machine.state}
            machines = {
                name: replace(machine, state=predicted(self._wish, machine), msg="") if name in touched | moving else machine
                for name, machine in machines.items()
            }
        nodes = {node.name: machines.get(node.name, Machine()).to_dict() for node in self._wish.nodes}
        return nodes, list(late.values())
