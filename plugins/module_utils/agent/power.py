# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The power switch of a running job's guests.

A request is taken by the control socket's thread and carried out by the agent's loop; until then the guest's status shows it.  A guest
that was switched off on request is held: it keeps its lease, its overlay and its share of the job, and can be switched on again for as
long as the job lives.  One that switches itself off is not held, so that a job still ends when the last of its guests has done so.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from ..libvirt.session import Session
from ..model.errors import VcError
from ..model.states import NodeState
from .guest import Guest, Request

VERBS = ("on", "off", "shutdown", "reboot", "reset")
LONGEST_SECONDS = 86400
# What needs no answer from the guest is done within seconds, or not at all.
_LEAST_SECONDS = 30


def take(guest: Guest, verb: str, seconds: int) -> None:
    """Note a request in place of the last one; VcError ``conflict`` when the guest cannot do it in its state."""
    tried = f"switching it ({verb})"
    if guest.state is NodeState.PREPARING:
        raise VcError("conflict", guest.name, tried, "it is just being started", "try again when it is running")
    if verb in ("shutdown", "reset") and guest.ended:
        raise VcError("conflict", guest.name, tried, f"it is {guest.state}", "switch it on")
    guest.failed = ""
    guest.request = Request(verb, time.monotonic() + max(_LEAST_SECONDS if verb in ("on", "off", "reset") else 1, seconds))


def carry_out(guest: Guest, request: Request, session: Session, start: Callable[[Guest], None]) -> None:
    """One step towards what was asked for.  VcError when libvirt refuses; it is tried again until the request's deadline."""
    if request.verb == "on" or (request.verb == "reboot" and guest.ended):
        _switch_on(guest, session, start)
        _done(guest, request)
    elif request.verb == "reset":
        guest.reset(session)
        _done(guest, request)
    elif request.verb == "off":
        guest.held = True
        guest.pull_plug(session)
        guest.look(session, stopping=True)
    else:
        guest.held = request.verb == "shutdown"
        guest.press(session)
        guest.look(session, stopping=True)
    if request.verb in ("off", "shutdown") and guest.ended:
        _done(guest, request)


def give_up(guest: Guest, request: Request, why: str) -> None:
    """The deadline is over: the guest stays as it is."""
    guest.held = guest.held and guest.ended
    guest.failed = why
    _done(guest, request)


def _switch_on(guest: Guest, session: Session, start: Callable[[Guest], None]) -> None:
    guest.held = False
    if guest.ended:
        # So that whatever comes of it is news.
        guest.become(NodeState.PREPARING)
        start(guest)
    elif guest.state is NodeState.SUSPENDED:
        session.resume(guest.name)


def _done(guest: Guest, request: Request) -> None:
    # Another may have come meanwhile.
    if guest.request is request:
        guest.request = None
