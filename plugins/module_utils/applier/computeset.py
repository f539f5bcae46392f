# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Starts, extends and terminates one computeset: what module vc_computeset does where Slurm's commands are."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Optional

from ..command import Commands
from ..model.errors import VcError
from ..model.names import own_cluster, shown
from ..model.states import SetState
from ..planner import computeset as planner
from ..planner.plan import Action, Done, ItemPlan, Plan
from ..planner.wish import read_options
from ..slurm import jobs, submit, watch
from ..slurm.condition import conditions
from ..slurm.submit import Guest

# Whoever floods the queue with claims does not fill every answer with them.
_MOST_REJECTED = 100
_HOME = re.compile(r"/[A-Za-z0-9_.+/-]{1,255}")


class ComputesetActions:
    """One computeset, from the options of one call to its job; `user` and `home` are the caller's own.

    ``plan`` comes first; ``apply`` and ``answer`` belong to what it has decided.
    """

    def __init__(self, commands: Commands, options: Mapping[str, Any], user: str, home: str) -> None:
        self.commands = commands
        self.options = options
        self.user, self.home = user, home
        self.job_id: Optional[int] = None

    def plan(self) -> Plan:
        """Validate, read the queue once, decide."""
        wish = self.wish = read_options(self.options, self.user)
        if not _HOME.fullmatch(self.home):
            raise VcError("invalid", shown(self.home), "writing the job's log there", "Slurm cannot be told such a path", "use a plain one")
        listed, now = jobs.read(self.commands) if self.user != "root" else [], int(time.time())
        decision = planner.plan_computeset(wish, listed, now, conditions(self.commands, planner.worth_asking(wish, listed), now))
        if planner.raises_limit_of_running_job(decision) and not submit.may_extend(self.commands, self.user):
            decision = planner.refuse_extension(wish, decision)
        self.decision = decision
        self.job_id = decision.jobs[0].job_id if decision.jobs else None
        return Plan((decision.item,))

    def apply(self, actions: Sequence[Action], done: Done) -> Mapping[str, VcError]:
        """Carry the plan out, in order."""
        for action in actions:
            if action.verb == "submit":
                self.job_id = submit.sbatch(self.commands, self._request())
                done(action)
                # Between reading the queue and submitting, another run may have done the same.
                others = [job for job in jobs.read(self.commands) if job.job_id not in self.decision.after]
                other = planner.rival(self.wish, self.decision.nodes, self.job_id, others)
                if other is not None:
                    submit.power_cord(self.commands, self.job_id)
                    raise planner.lost_to(self.wish, other)
            elif action.verb == "set_walltime":
                minutes = planner.walltime_minutes(action.details["walltime_seconds"])
                submit.set_walltime(self.commands, action.item, action.details["job_id"], minutes)
            elif action.verb == "withdraw":
                submit.withdraw(self.commands, action.details["job_id"])
            elif action.verb == "cancel":
                submit.power_cord(self.commands, action.details["job_id"])
            else:
                submit.terminate(self.commands, action.details["job_id"])
            done(action)
        return {}

    def answer(self, plan: Plan, predicted: bool) -> tuple[dict[str, Any], Optional[VcError]]:
        """The set as it has become, or as it would, and why that is not what was asked for, if so."""
        if predicted and not plan.errors:
            return self._foretold(plan), None
        wait = self.options["wait"] and not predicted
        if self.wish.started or plan.errors:
            seen, error = self._started(wait)
            return self._described(seen), error
        seen, error = self._stopped(wait)
        # How its last job ended is no state of a set that has to be absent, and was not known beforehand.
        return self._described(None if seen is not None and seen.ended is not None else seen), error

    def _foretold(self, plan: Plan) -> dict[str, Any]:
        """The set as a run would leave it: one that there is already, after the same wait."""
        if any(action.verb != "set_walltime" for action in plan.actions):
            return self._predicted(plan.items[0])
        if not self.wish.started:
            return self._described(None if self.options["wait"] else self._going())
        seen = watch.view(self.commands, self.decision.jobs[0].job_id, self.decision.nodes)
        for action in plan.actions:
            seen = watch.with_walltime(seen, action.details["walltime_seconds"])
        return self._described(watch.awaited(seen) if self.options["wait"] else seen)

    def _started(self, wait: bool) -> tuple[Optional[watch.View], Optional[VcError]]:
        if self.job_id is None:
            return None, None
        if not wait:
            return watch.view(self.commands, self.job_id, self.decision.nodes), None
        cancel = self.options["on_timeout"] == "cancel"
        output = submit.output_path(self.home, self.wish.cluster.name, self.wish.name)
        return watch.until_running(
            self.commands, self.wish.item, self.job_id, self.decision.nodes, self.options["wait_timeout"], cancel, output
        )

    def _stopped(self, wait: bool) -> tuple[Optional[watch.View], Optional[VcError]]:
        job_ids = [job.job_id for job in self.decision.jobs]
        if wait:
            cancel, left = self.options["on_timeout"] == "cancel", [*job_ids, *self.decision.after]
            return watch.until_gone(self.commands, self.wish.item, left, self.decision.nodes, self.options["wait_timeout"], cancel)
        seen, failure = self._going(), None
        for job_id in job_ids:
            seen, error = watch.until_told(self.commands, self.wish.item, job_id, self.decision.nodes)
            failure = failure or error
        return seen, failure

    def _going(self) -> Optional[watch.View]:
        """The last job of the set that had been told to stop before and is not over, if any."""
        seen = [watch.view(self.commands, job_id, (), ask_agents=False) for job_id in self.decision.after]
        left = [replace(view, state=SetState.STOPPING) for view in seen if view.ended is None]
        return left[-1] if left else None

    def _request(self) -> submit.Request:
        wish, nodes = self.wish, self.decision.nodes
        cpus, memory_mib = planner.resources(wish.cluster, nodes, wish.overhead_mib)
        return submit.Request(
            spec=planner.spec(wish, nodes),
            account=wish.account,
            cpus=cpus,
            memory_mib=memory_mib,
            walltime_minutes=planner.walltime_minutes(wish.walltime_seconds),
            lead_seconds=wish.lead_seconds,
            home=self.home,
            per_host=wish.per_host,
            on_hosts=wish.on_hosts,
            exclude_hosts=wish.exclude_hosts,
            partition=wish.partition,
            reservation=wish.reservation,
            qos=wish.qos,
            after=self.decision.after,
        )

    def _predicted(self, item: ItemPlan) -> dict[str, Any]:
        """The set as it will be once the plan is carried out; what nobody knows yet is null or empty."""
        stays = not self.options["wait"] and any(action.verb in ("terminate", "cancel") for action in item.actions)
        state = ("running" if self.options["wait"] else "pending") if self.wish.started else "stopping" if stays else "absent"
        node = Guest("queued" if state == "pending" else state, "")
        walltime = (item.after or {}).get("walltime_seconds")
        return {
            **self._identity(),
            "state": state,
            "nodes": {} if state == "absent" else self._nodes(dict.fromkeys(self.decision.nodes, node)),
            "walltime_seconds": walltime,
            "remaining_seconds": walltime,
            "account": self.wish.account,
            "reason": "",
        }

    def _described(self, seen: Optional[watch.View]) -> dict[str, Any]:
        job = seen.job if seen else None
        limit = job.time_limit_seconds if job else None
        left = max(0, job.end_time - int(time.time())) if job and job.end_time else limit
        return {
            **self._identity(),
            "state": str(seen.state) if seen else "absent",
            "nodes": self._nodes(seen.guests) if seen else {},
            "walltime_seconds": limit,
            "remaining_seconds": 0 if seen and seen.ended else left,
            "account": job.account if job else self.wish.account,
            "reason": (job.reason if job else "") or (seen.problem if seen else ""),
        }

    def _nodes(self, guests: Mapping[str, Guest]) -> dict[str, Any]:
        addresses = {node.name: node.address for node in self.wish.cluster.nodes}
        return {
            name: {"state": guest.state, "host": guest.host, "address": addresses.get(name, ""), "msg": guest.msg}
            for name, guest in guests.items()
        }

    def _cluster(self) -> str:
        if not self.wish.own:
            return self.wish.cluster.name
        claims = [job.claim.cluster for job in self.decision.jobs if job.claim is not None]
        return claims[0] if claims else own_cluster(self.job_id, 0) if self.job_id is not None else ""

    def _identity(self) -> dict[str, Any]:
        wish, job_id = self.wish, self.job_id
        return {
            "name": wish.name,
            "cluster": self._cluster(),
            "job_id": job_id,
            "output": submit.output_path(self.home, wish.cluster.name, wish.name),
            "rejected_jobs": [
                {"job_id": job.job_id, "user": job.user_name, "computeset": job.claim.computeset if job.claim else ""}
                for job in self.decision.rejected[:_MOST_REJECTED]
            ],
        }
