# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The agent (``vc-agent run``): starts this host's nodes of a job as the job's user, watches them, and ends when the last of them is off.

However it ends, its guests end with it: in order by :meth:`Agent.run`, else because libvirt destroys them when its client is gone
(see :mod:`..libvirt.session`), and at the very last by the epilog.  When it is killed, its supervisor reports the nodes as crashed.

States: ``booting`` when QEMU runs; ``running`` when the guest agent inside answers, else when the console shows a login prompt.  A guest
that offers neither for five minutes is still ``booting``, and says so.
"""

# A program of its own, not a module: what it prints is its output.
# pylint: disable=ansible-bad-function

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any, Optional

from ..command import Commands
from ..libvirt.session import Session, clear_away
from ..model.definition import MOST_NODES
from ..model.errors import VcError
from ..model.noderange import expand
from ..model.states import NodeState
from . import power
from .control import Control, call
from .guest import Guest, Job
from .places import Places
from .reporter import Reporter
from .root_helper import ask
from .spec import KILL_WAIT, LAYOUT, nodes_of_host, read_spec, tasks_per_host
from .supervisor import supervise

_TICK_SECONDS = 0.25
# Leases are waited for, and the vault may be slow.
_PREPARE_SECONDS = 180.0
_STATE_SECONDS = 60.0
# After a signal to the whole step KillWait runs; this much of it is left for destroying and saying so.
_KILL_MARGIN_SECONDS = 5.0
_LEAST_SIGNAL_GRACE_SECONDS = 2.0
_REVIVALS = 5


class Agent:
    """One host's part of a job.

    Parameters
    ----------
    env : Slurm's variables, ``VC_SPEC`` and ``VC_LAYOUT``
    places : the host's directories
    """

    def __init__(self, env: Mapping[str, str], places: Places) -> None:
        self._places = places
        self._spec = read_spec(env)
        self._job_id = int(env["SLURM_JOB_ID"])
        self._restart_count = int(env.get("SLURM_RESTART_COUNT") or 0)
        counts = tasks_per_host(env.get(LAYOUT) or env["SLURM_TASKS_PER_NODE"])
        names = nodes_of_host(self._spec, counts, int(env["SLURM_NODEID"]))
        kill_wait = float(env.get(KILL_WAIT) or 10)
        self._signal_grace = max(_LEAST_SIGNAL_GRACE_SECONDS, kill_wait - _KILL_MARGIN_SECONDS)
        self._host = env.get("SLURMD_NODENAME") or os.uname().nodename
        self._directory = places.job_directory(self._job_id)
        self._commands = Commands()
        self._guests = {name: Guest(name) for name in names}
        self._session: Optional[Session] = None
        self._job: Optional[Job] = None
        self._grants: dict[str, Mapping[str, Any]] = {}
        self._reporter: Optional[Reporter] = None
        self._control: Optional[Control] = None
        self._wake = threading.Event()
        self._grace: Optional[float] = None
        self._deadline = 0.0
        self._revivals = 0
        # Filled by the reporter's thread, read by the loop.
        self._fenced: set[str] = set()

    def run(self) -> int:
        """0 when every node of this host was started and ended in order."""
        if not self._guests:
            return 0
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, lambda _number, _frame: self._stop(self._signal_grace))
        if not self._directory.is_dir():
            remedy = "an admin should see that vc-prolog is one of Slurm's prologs here"
            raise VcError("unknown", str(self._directory), "looking for the job's directory", f"{self._host} has none", remedy)
        self._control = control = Control(self._directory, self._answer)
        control.start()
        control.note()
        try:
            try:
                self._start()
            except VcError as error:
                # None of them was started yet.
                for guest in self._guests.values():
                    self._fail(guest, error)
            while not all(guest.finished for guest in self._guests.values()):
                self._wake.wait(_TICK_SECONDS)
                self._wake.clear()
                self._tick()
        finally:
            self._end()
            control.stop()
        return 0 if all(guest.state is NodeState.OFF for guest in self._guests.values()) else 1

    def killed(self, number: int) -> None:
        """In the supervisor: the agent was killed, and whatever it knew is gone but for what it had written down."""
        self._say(f"the agent was killed (signal {number}); its guests go with it")
        clear_away(self._directory)
        lost = Control(self._directory, self._answer).abandon(f"its agent was killed (signal {number})")
        for name in lost:
            try:
                self._send({name: str(NodeState.CRASHED)})
                self._say(f"{name}: {NodeState.CRASHED}")
            except VcError as error:
                self._say(str(error))

    def _start(self) -> None:
        self._say(f"preparing {', '.join(self._guests)}")
        vms = {"vms": self._spec.vms.to_dict()} if self._spec.vms else {}
        answer = self._ask("prepare", {"nodes": list(self._guests), **vms}, _PREPARE_SECONDS)
        for name, guest in self._guests.items():
            grant = answer["nodes"].get(name, {})
            if grant.get("ok"):
                self._grants[name] = grant
            else:
                self._fail(guest, VcError.from_dict(grant.get("error", {})))
        self._reporter = Reporter(self._send, self._say)
        self._job = Job(
            cluster=self._spec.cluster,
            directory=self._directory,
            scratch=self._places.overlay_directory(self._job_id),
            accelerator=str(answer["accelerator"]),
            datapath=str(answer["datapath"]),
        )
        ready = [guest for guest in self._guests.values() if not guest.ended]
        if not ready or self._grace is not None:
            return
        # After prepare: libvirtd and everything it starts has to be born in the job's cgroup.
        self._session = Session(self._directory)
        self._session.start()
        for guest in ready:
            if self._grace is not None:
                return
            self._start_guest(guest)
            self._tell(guest)

    def _start_guest(self, guest: Guest) -> None:
        try:
            if self._job is None:
                raise VcError("backend", guest.name, "starting the guest", "its job was never prepared", "start the set anew")
            guest.start(self._living_session(), self._commands, self._job, self._grants[guest.name])
        except VcError as error:
            self._fail(guest, error)

    def _tick(self) -> None:
        stopping = self._grace is not None
        for guest in self._guests.values():
            if stopping or guest.name in self._fenced:
                guest.held, guest.request = False, None
            request = guest.request
            if guest.ended and request is None:
                continue
            if not guest.started and request is None:
                guest.become(NodeState.OFF, "stopped before it was started")
                self._tell(guest)
                continue
            if guest.name in self._fenced:
                # Once more, for one that was just being started.
                if not guest.kill():
                    guest.pull_plug(self._session)
                guest.become(NodeState.CRASHED, "its lease was taken away; what it wrote is kept as an orphan if it is persistent")
                self._tell(guest, report=False)
                continue
            why = "the guest did not react to its power button in time"
            try:
                session = self._living_session()
                if request is not None:
                    power.carry_out(guest, request, session, self._start_guest)
                else:
                    guest.look(session, stopping)
                if stopping and not guest.ended:
                    if time.monotonic() >= self._deadline:
                        self._say(f"{guest.name}: did not shut down in time, destroying it")
                        guest.pull_plug(session)
                    else:
                        guest.press(session)
            except VcError as error:
                # libvirtd may just have gone; the next round starts it again.
                why = str(error)
                self._say(why)
            if request is not None and guest.request is request and time.monotonic() >= request.deadline:
                power.give_up(guest, request, why)
                self._say(f"{guest.name}: gave up on {request.verb}: {why}")
            self._tell(guest)

    def _living_session(self) -> Session:
        if self._session is None:
            raise VcError("backend", "libvirtd", "talking to the job's private session", "there is none", "")
        if self._session.revive():
            self._revivals += 1
            self._say("libvirtd has ended unexpectedly; started it again")
            if self._revivals > _REVIVALS:
                raise SystemExit(f"vc-agent: libvirtd has ended {self._revivals} times; giving up")
        return self._session

    def _end(self) -> None:
        """Whatever has happened: no guest of ours runs after this."""
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        for guest in self._guests.values():
            if not guest.ended:
                guest.pull_plug(self._session)
                guest.become(NodeState.CRASHED, "it was ended together with its agent")
                self._tell(guest, report=guest.started)
        if self._session is not None:
            self._session.stop()
        if self._reporter is not None:
            self._reporter.close(2.0)

    def _stop(self, grace: float) -> None:
        # Also a signal handler: it may take no lock, so the loop finds out at its next tick.
        deadline = time.monotonic() + min(grace, self._spec.grace_seconds)
        if self._grace is None or deadline < self._deadline:
            self._deadline = deadline
        self._grace = grace

    def _answer(self, verb: str, request: Mapping[str, Any]) -> dict[str, Any]:
        errors: dict[str, VcError] = {}
        if verb == "stop":
            self._stop(self._spec.grace_seconds)
            self._wake.set()
        elif verb in power.VERBS:
            errors = self._ask_guests(verb, request)
            self._wake.set()
        elif verb != "status":
            raise KeyError(verb)
        nodes = {name: self._describe(guest, errors.get(name)) for name, guest in self._guests.items()}
        # Nobody switches them on any more: the job is just going, though Slurm still calls it running.
        ending = all(guest.finished for guest in self._guests.values())
        return {"host": self._host, "nodes": nodes, **({"ended": True} if ending else {})}

    def _ask_guests(self, verb: str, request: Mapping[str, Any]) -> dict[str, VcError]:
        """In the control socket's thread: hand each of the named guests of this host its request; those that it cannot be given to."""
        errors: dict[str, VcError] = {}
        seconds = min(max(int(request["seconds"]), 0), power.LONGEST_SECONDS)
        for guest in [guest for name, guest in self._guests.items() if name in set(request["nodes"])]:
            tried = f"switching it ({verb})"
            try:
                if self._grace is not None:
                    raise VcError("conflict", guest.name, tried, "its set is being terminated", "start the set anew")
                if guest.name in self._fenced or guest.name not in self._grants:
                    raise VcError("conflict", guest.name, tried, guest.msg or "its lease was taken away", "start its set anew")
                power.take(guest, verb, seconds)
            except VcError as error:
                errors[guest.name] = error
        return errors

    def _describe(self, guest: Guest, error: Optional[VcError]) -> dict[str, Any]:
        request = guest.request
        return {
            "state": str(guest.state),
            "host": self._host,
            "msg": guest.msg,
            "asked": "" if request is None else request.verb,
            "failed": guest.failed,
            **({} if error is None else {"error": error.to_dict()}),
        }

    def _fail(self, guest: Guest, error: VcError) -> None:
        if guest.ended:
            return
        guest.become(NodeState.CRASHED, str(error))
        self._tell(guest, report=guest.started)

    def _tell(self, guest: Guest, report: bool = True) -> None:
        if not guest.changed:
            return
        guest.changed = False
        if self._control is not None:
            self._control.note()
        self._say(f"{guest.name}: {guest.state}" + (f" ({guest.msg})" if guest.msg else ""))
        if report and self._reporter is not None:
            self._reporter.report(guest.name, str(guest.state))

    def _send(self, states: Mapping[str, str]) -> None:
        answer = self._ask("state", {"nodes": dict(states)}, _STATE_SECONDS)
        for name, result in answer["nodes"].items():
            if not result.get("ok") and result["error"].get("code") == "stale_epoch":
                self._fenced.add(name)
                # At once: its node may already run elsewhere, with the same addresses, and the loop may be waiting for libvirt.
                self._guests[name].kill()
                self._wake.set()

    def _ask(self, verb: str, args: Mapping[str, Any], seconds: float) -> dict[str, Any]:
        identity = {"job_id": self._job_id, "restart_count": self._restart_count}
        return ask(self._places.host_socket, verb, {**identity, **args}, seconds)

    def _say(self, message: str) -> None:
        print(f"{time.strftime('%H:%M:%S')} {self._host}: {message}", flush=True)


def _reported(agent: Agent) -> int:
    try:
        return agent.run()
    except VcError as error:
        print(f"{time.strftime('%H:%M:%S')} {os.uname().nodename}: {error}", flush=True)
        return 1


def _called(arguments: Sequence[str]) -> int:
    """``status`` or ``stop``, or ``VERB SECONDS NODES...``, where nodes of other hosts of the job do no harm."""
    job_id = os.environ.get("SLURM_JOB_ID", "")
    if not job_id.isdecimal():
        print("vc-agent: call it in a job, by srun --overlap --jobid=ID", file=sys.stderr)
        return 2
    directory = Places().job_directory(int(job_id))
    if len(arguments) == 1 and arguments[0] in ("status", "stop"):
        answer = call(directory, arguments[0])
    elif len(arguments) >= 3 and arguments[0] in power.VERBS and arguments[1].isdecimal():
        try:
            names = [name for text in arguments[2:] for name in expand(text, MOST_NODES)]
        except VcError as error:
            print(f"vc-agent: {error}", file=sys.stderr)
            return 2
        answer = call(directory, arguments[0], names, int(arguments[1]))
    else:
        return _usage()
    print(json.dumps(answer, sort_keys=True), flush=True)
    return 0 if answer.get("ok") else 1


def _usage() -> int:
    print(f"usage: vc-agent run | call status | call stop | call {'|'.join(power.VERBS)} SECONDS NODES...", file=sys.stderr)
    return 2


def main(argv: Sequence[str]) -> int:
    """``vc-agent run`` (in the job's step) or ``vc-agent call ...`` (one JSON line on stdout)."""
    arguments = list(argv)
    if arguments[:1] == ["call"]:
        return _called(arguments[1:])
    if arguments != ["run"]:
        return _usage()
    try:
        agent = Agent(os.environ, Places())
        return supervise(lambda: _reported(agent), agent.killed)
    except VcError as error:
        print(f"vc-agent on {os.uname().nodename}: {error}", flush=True)
        return 1
    except KeyError as error:
        with contextlib.suppress(OSError):
            print(f"vc-agent: the variable {error} is missing; it is started by vc-job in a Slurm job", file=sys.stderr, flush=True)
        return 2
