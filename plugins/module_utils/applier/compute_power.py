# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The power switches of computes, which their job's agents hold: one squeue for all sets, then one srun for each set concerned."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Optional

from ..command import Commands
from ..model.errors import VcError
from ..model.noderange import fold
from ..model.states import NodeState
from ..planner.power import Failed, Machine, Machines, Wish, arrived, by_job
from ..slurm import jobs, submit, watch

# One word of a command line may have 128 KiB; a name has 32 characters at most.
_NAMES_IN_A_WORD = 1024
_REFUSED = "its agent did not answer"
# After what was asked for in vain comes what needs no answer from the guest.
FORCE_SECONDS = 60.0
_FORCED = {"shutdown": "power_off", "reboot": "reset"}
_WORDS = {"power_on": "on", "power_off": "off", "shutdown": "shutdown", "reboot": "reboot", "reset": "reset"}


class ComputeSwitches:
    """The running sets of one cluster, as its owner reaches them.

    Parameters
    ----------
    commands : with the caller's environment for Slurm
    wish : the nodes; only these are looked at
    user : who runs this: only the owner of a job reaches its agents
    """

    def __init__(self, commands: Commands, wish: Wish, user: str, clock: Optional[watch.Clock] = None) -> None:
        self._commands = commands
        self._wish = wish
        self._user = user
        self._clock = clock or watch.Clock()
        self._names = [node.name for node in wish.nodes]
        self._sets: dict[int, str] = {}

    def read(self) -> Machines:
        """Every node that is in a live set; VcError ``forbidden`` for others than the owner."""
        owner, name = self._wish.cluster.owner, self._wish.cluster.name
        if self._user != owner:
            detail = f"the computes of {name} are jobs of {owner}"
            raise VcError(
                "forbidden", name, f"switching its computes as {self._user}", detail, f"set `become: true` and `become_user: {owner}`"
            )
        found: Machines = {}
        for job in sorted(jobs.read(self._commands), key=lambda job: job.job_id):
            if job.claim is None or job.ended or job.user_name != owner or job.claim.cluster != name:
                continue
            names = [node for node in self._names if node in job.claim.nodes]
            if names:
                self._sets[job.job_id] = job.claim.computeset
                # Of two sets that claim a node the one that runs has it.
                found.update({node: seen for node, seen in self._look(job.job_id, names).items() if job.live or node not in found})
        return found

    def switch(self, verb: str, machines: Machines, names: Sequence[str], seconds: int) -> Failed:
        """Ask the agents of these nodes; those that did not take the request.  `verb` is an action's."""
        failed: Failed = {}
        for job_id, members in by_job(machines, names).items():
            job = jobs.look(self._commands, job_id)
            answer = submit.Answer(problem="the job has ended")
            if job is not None and job.live:
                words = [fold(members[first : first + _NAMES_IN_A_WORD]) for first in range(0, len(members), _NAMES_IN_A_WORD)]
                answer = submit.agents(self._commands, job, _WORDS[verb], str(seconds), *words)
            for name in members:
                guest = answer.guests.get(name)
                if guest is None:
                    remedy = f"look at job {job_id} (set {self._sets.get(job_id, '')}) and its log"
                    failed[name] = VcError(
                        "unreachable", self._wish.item(name), f"switching it ({verb})", answer.problem or _REFUSED, remedy
                    )
                elif guest.error is not None:
                    failed[name] = VcError.from_dict({**guest.error.to_dict(), "item": self._wish.item(name)})
        return failed

    def wait(self, machines: Machines, names: Sequence[str], seconds: int, force: bool) -> tuple[Machines, Failed]:
        """Wait for these nodes: what they have become, and which of them did not become what was asked for."""
        seen, failed = self._until(machines, names, seconds)
        stuck = [name for name in names if name in failed and failed[name].code == "timeout"]
        if not (force and stuck and self._wish.wanted in _FORCED):
            return seen, failed
        refused = self.switch(_FORCED[self._wish.wanted], machines, stuck, seconds)
        again, late = self._until(machines, [name for name in stuck if name not in refused], max(seconds, FORCE_SECONDS))
        failed = {name: error for name, error in failed.items() if name not in stuck}
        return {**seen, **again}, {**failed, **refused, **late}

    def _until(self, machines: Machines, names: Sequence[str], seconds: float) -> tuple[Machines, Failed]:
        seen: Machines = {name: machines[name] for name in names if name in machines}
        failed: Failed = {}
        waiting = by_job(machines, names)
        # An agent gives a request up at that time, too, and is to be heard about it.
        deadline = self._clock.now() + seconds + 1.5
        for pause in watch.backoff():
            late = self._clock.now() >= deadline
            for job_id, members in list(waiting.items()):
                looked = self._look(job_id, members)
                seen.update(looked)
                left = []
                for name in members:
                    over, error = arrived(self._wish, self._wish.item(name), looked[name], late)
                    if error is not None:
                        failed[name] = error
                    if not over and not late:
                        left.append(name)
                waiting[job_id] = left
            waiting = {job_id: members for job_id, members in waiting.items() if members}
            if not waiting:
                return seen, failed
            self._clock.sleep(min(pause, max(0.0, deadline - self._clock.now())))
        raise AssertionError("unreachable")

    def _look(self, job_id: int, names: Sequence[str]) -> Machines:
        view = watch.view(self._commands, job_id, names)
        gone = view.ended is not None
        base = Machine(
            job_id=0 if gone else job_id, computeset=self._sets.get(job_id, ""), leaving=view.job is not None and view.job.stopping
        )
        return {
            name: replace(
                base,
                state=guest.state,
                host=guest.host,
                msg=guest.msg or (view.problem if guest.state == NodeState.PREPARING else "its job has ended" if gone else ""),
                asked=guest.asked,
                failed=guest.failed,
                deserted=guest.ended,
            )
            for name, guest in view.guests.items()
        }
