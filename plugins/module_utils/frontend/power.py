# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The power switch of a frontend.

Switching it on is what `vc_frontend` does with `started`, with all its checks: a frontend whose lease is another's now must not run.
Everything else needs libvirt alone, so that a frontend can be switched off while the vault is away.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Optional

from ..libvirt.system import Domain, System
from ..model.errors import VcError
from ..planner import frontend as frontend_planner
from ..planner.plan import ItemPlan, unheard
from ..planner.power import Failed, Machine, Machines, Wish, arrived
from .host import FrontendHost

_POLL_SECONDS = 0.5
_PRESS_SECONDS = 5.0
# After what was asked for in vain comes what needs no answer from the guest.
_FORCE_SECONDS = 60


class FrontendSwitch:
    """The frontend of one cluster on this host.

    Parameters
    ----------
    wish : what to do with it
    host_name : of this host
    system : its libvirt
    """

    def __init__(self, wish: Wish, host_name: str, system: System, host: FrontendHost) -> None:
        self._wish, self._host_name, self._system, self._host = wish, host_name, system, host
        self._node = wish.nodes[0]
        self._item = wish.item(self._node.name)
        self._domain = f"{wish.cluster.name}.{self._node.name}"

    def read(self) -> Machines:
        """The frontend as it is.  VcError ``conflict`` when it belongs to another host, ``unknown`` when it was never made here."""
        tried = f"switching it ({self._wish.wanted})"
        if self._node.host != self._host_name:
            detail = f"the definition places it on {self._node.host}, this host is {self._host_name}"
            raise VcError("conflict", self._item, tried, detail, f"run this on {self._node.host}")
        domain = self._read()
        refusal: Optional[VcError] = None
        if self._wish.wanted in ("powered_on", "reboot"):
            refusal = self._refusal(domain)
        return {self._node.name: replace(self._machine(domain), refusal=refusal)}

    def switch(self, verb: str, machines: Machines, names: Sequence[str], seconds: int) -> Failed:
        """Touch the switch; what needs the guest's answer is only begun here, and seen through by `wait`."""
        name = self._node.name
        try:
            if verb == "power_on" or (verb == "reboot" and machines[name].state in ("off", "crashed")):
                self._switch_on()
            elif verb == "power_off":
                self._system.destroy(self._domain)
                self._note("off")
            elif verb == "reset":
                self._host.reset()
            else:
                self._system.shutdown(self._domain)
        except VcError as error:
            return {name: error}
        return {}

    def wait(self, machines: Machines, names: Sequence[str], seconds: int, force: bool) -> tuple[Machines, Failed]:
        """Wait for it: what it has become, and why that is not what was asked for."""
        name, until = self._node.name, time.monotonic() + seconds
        before = machines.get(name, Machine())
        if not names:
            return {}, {}
        if self._wish.wanted in ("shutdown", "reboot") and before.state not in ("off", "crashed"):
            if not self._gone(until):
                if not force:
                    return self._verdict(replace(self._machine(self._read()), failed="the guest did not react to its power button in time"))
                self._system.destroy(self._domain)
                until = time.monotonic() + max(seconds, _FORCE_SECONDS)
            self._note("off")
            if self._wish.wanted == "reboot":
                try:
                    self._switch_on()
                except VcError as refusal:
                    return {name: self._machine(self._read())}, {name: refusal}
        up = True
        if self._wish.wanted not in ("powered_off", "shutdown"):
            up = self._host.wait(max(0.0, until - time.monotonic()))
        machine = self._machine(self._read())
        if not up and machine.state == "running":
            machine = replace(machine, state="booting", msg="its services are not up")
        return self._verdict(machine)

    def _verdict(self, machine: Machine) -> tuple[Machines, Failed]:
        error = arrived(self._wish, self._item, machine, late=True)[1]
        return {self._node.name: machine}, {} if error is None else {self._node.name: error}

    def _gone(self, until: float) -> bool:
        """Whether it has switched itself off in time; a guest that is still booting does not notice its power button the first time."""
        pressed = time.monotonic()
        while self._system.is_running(self._domain):
            now = time.monotonic()
            if now >= until:
                return False
            if now - pressed >= _PRESS_SECONDS:
                pressed = now
                self._system.shutdown(self._domain)
            time.sleep(_POLL_SECONDS)
        return True

    def _switch_on(self) -> None:
        with self._host.locked():
            plan = self._plan(self._read())
            if plan.error is not None:
                raise plan.error
            self._host.apply(plan.actions, unheard)

    def _refusal(self, domain: Domain) -> Optional[VcError]:
        """Why it could not be switched on: asked for before its button is pressed."""
        wish, facts = self._as_made(domain), self._host.read()
        return frontend_planner.other_definition(wish) if facts.redefined else frontend_planner.plan_frontend(wish, facts).error

    def _plan(self, domain: Domain) -> ItemPlan:
        return frontend_planner.plan_frontend(self._as_made(domain), self._host.read())

    def _as_made(self, domain: Domain) -> frontend_planner.Wish:
        return frontend_planner.Wish(self._wish.cluster, self._node, autostart=domain.autostart)

    def _read(self) -> Domain:
        domain = self._system.read(self._domain, self._wish.cluster.name, self._node.name)
        if domain is None or not domain.ours:
            detail = "it was never started here" if domain is None else f"libvirt has a domain {self._domain} that is not this frontend"
            raise VcError("unknown", self._item, f"switching it ({self._wish.wanted})", detail, "run vc_frontend first")
        return domain

    def _machine(self, domain: Domain) -> Machine:
        return Machine(state=domain.state, host=self._host_name)

    def _note(self, state: str) -> None:
        # libvirt owns this fact; the vault's note is for those who cannot ask here, and may be late.
        with contextlib.suppress(VcError):
            self._host.note_state(state)
