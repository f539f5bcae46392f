# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The power switches of a cluster's nodes: what is wanted against what each machine does.  No I/O.

A compute is switched within the job of its running set: powered off, it keeps its place in the job, its lease and what it has written,
and is switched on again there.  Nothing here starts or ends a job.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Optional

from ..model.cluster import Cluster, Node
from ..model.definition import MOST_NODES
from ..model.errors import VcError
from ..model.noderange import expand
from ..model.states import NodeState
from ..model.units import LONGEST_DURATION
from .plan import Action, ItemPlan, Plan

# Option value -> what is done to a machine that is not yet as wanted.
VERBS = {"powered_on": "power_on", "powered_off": "power_off", "shutdown": "shutdown", "reboot": "reboot", "reset": "reset"}
_OFF = frozenset({NodeState.OFF, NodeState.FLUSHING, NodeState.CRASHED})
_COMING = frozenset({NodeState.QUEUED, NodeState.PREPARING})


@dataclass(frozen=True)
class Wish:
    """What a play asks for.

    Parameters
    ----------
    cluster, nodes : the nodes, in the order of the play; all computes, or the frontend alone
    wanted : a key of VERBS
    waits : until it has come true
    """

    cluster: Cluster
    nodes: tuple[Node, ...]
    wanted: str
    waits: bool = True

    @property
    def role(self) -> str:
        return self.nodes[0].role

    def item(self, node: str) -> str:
        return f"{self.cluster.name}/{node}"


@dataclass(frozen=True)
class Machine:
    """A node as the one who runs it sees it.

    Parameters
    ----------
    state, host, msg : its node state, where it is, and what there is to say about it
    asked : the switch that is being carried out: ``on``, ``off``, ``shutdown``, ``reboot``, ``reset``, or ""
    failed : why the last one came to nothing
    job_id, computeset : of a compute in a live set; 0 and "" otherwise
    leaving : its set is being terminated
    deserted : its set runs, but nobody is there any more to switch it on
    refusal : why it must not be switched on, if it must not
    """

    state: str = str(NodeState.OFF)
    host: str = ""
    msg: str = ""
    asked: str = ""
    failed: str = ""
    job_id: int = 0
    computeset: str = ""
    leaving: bool = False
    deserted: bool = False
    refusal: Optional[VcError] = None

    def to_dict(self) -> dict[str, Any]:
        return {
            "state": self.state,
            "host": self.host,
            "msg": self.msg,
            "computeset": self.computeset,
            "job_id": self.job_id or None,
        }


# By node name.
Machines = dict[str, Machine]
Failed = dict[str, VcError]


def read_options(options: Mapping[str, Any]) -> Wish:
    """The wish in a module's options.  VcError ``invalid``, ``duplicate`` or ``unknown`` (no such node)."""
    cluster = Cluster.from_dict(options["cluster"])
    wanted = options["state"] or options["action"]
    timeout = options["wait_timeout"]
    if not 1 <= timeout <= LONGEST_DURATION:
        raise VcError("invalid", cluster.name, "reading wait_timeout", f"{timeout} is not a number of seconds", "give 1 or more")
    nodes = tuple(cluster.node(name) for name in expand(options["nodes"], MOST_NODES))
    if len({node.role for node in nodes}) > 1:
        detail = "the frontend and computes are switched on different hosts"
        raise VcError("invalid", cluster.name, "reading nodes", detail, "name computes on the submit host, the frontend on its own host")
    if nodes[0].role == "frontend" and wanted == "reboot" and not options["wait"]:
        detail = "nobody would stay to switch it on when it is off"
        raise VcError("invalid", f"{cluster.name}/{nodes[0].name}", "reading wait", detail, "use wait=true, or action=reset")
    return Wish(cluster, nodes, wanted, options["wait"])


def plan_power(wish: Wish, machines: Mapping[str, Machine]) -> Plan:
    """One item per node; a refusal is in its ``error``."""
    return Plan(tuple(_item(wish, node, machines.get(node.name, Machine())) for node in wish.nodes))


def predicted(wish: Wish, machine: Machine) -> str:
    """The node's state once its switch was touched, and what was asked for has come true if the wish is to wait for that."""
    # libvirt does within the call to a frontend what needs no answer of the guest's.
    waits = wish.waits or (wish.role == "frontend" and wish.wanted != "shutdown")
    if machine.state in _OFF:
        turns_on = wish.wanted not in ("powered_off", "shutdown")
        return str(NodeState.RUNNING if waits else NodeState.BOOTING) if turns_on else machine.state
    if wish.wanted in ("powered_off", "shutdown"):
        return str(NodeState.OFF if waits else NodeState.STOPPING)
    under_way = {"reboot": NodeState.STOPPING, "reset": NodeState.BOOTING}
    return str(NodeState.RUNNING if waits else under_way.get(wish.wanted, NodeState.RUNNING))


def arrived(wish: Wish, item: str, machine: Machine, late: bool = False) -> tuple[bool, Optional[VcError]]:
    """Whether waiting for it is over, and what has gone wrong if anything has; `late` when there is no more time."""
    tried = f"waiting until it is {'off' if wish.wanted in ('powered_off', 'shutdown') else 'running'}"
    down = machine.state in _OFF
    if wish.wanted in ("powered_off", "shutdown") and down and not machine.asked:
        return True, None
    if wish.wanted not in ("powered_off", "shutdown") and machine.state == NodeState.RUNNING and not machine.asked and not machine.failed:
        return True, None
    if machine.failed and not machine.asked:
        remedy = "try again, or use on_timeout=force" if wish.wanted in ("shutdown", "reboot") else "look at its console"
        return True, VcError("timeout", item, tried, f"{machine.failed}; it is {machine.state}", remedy)
    if wish.wanted not in ("powered_off", "shutdown") and down and not machine.asked:
        return True, VcError("backend", item, tried, _why(machine), "look at its console; for a compute, see the log of its set")
    if machine.leaving:
        return True, VcError("conflict", item, tried, "its set is being terminated", "start the set anew")
    detail = f"it is {machine.state}" + (f" ({machine.msg})" if machine.msg else "")
    return False, VcError("timeout", item, tried, detail, "wait longer with wait_timeout, or look at its console") if late else None


def _item(wish: Wish, node: Node, machine: Machine) -> ItemPlan:
    name = wish.item(node.name)
    before = {"state": machine.state}
    try:
        if not _to_do(wish, name, machine):
            return ItemPlan(name, wish.wanted, before=before, after=before)
    except VcError as error:
        return ItemPlan(name, "unknown", before=before, after=before, error=error)
    where = {"host": machine.host, **({"job_id": machine.job_id} if machine.job_id else {})}
    action = Action(name, VERBS[wish.wanted], {"node": node.name, **where})
    return ItemPlan(name, wish.wanted, (action,), before, {"state": predicted(wish, machine)})


def _to_do(wish: Wish, item: str, machine: Machine) -> bool:
    """Whether its switch has to be touched.  VcError when it must not be, or cannot."""
    wanted, tried = wish.wanted, f"switching it ({wish.wanted})"
    down = machine.state in _OFF
    turns_on = wanted in ("powered_on", "reboot")
    if machine.leaving:
        raise VcError("conflict", item, tried, "its set is being terminated", "start the set anew when it has ended")
    if machine.state in _COMING:
        if wanted == "powered_on":
            return False
        detail = f"it is only {machine.state}" + (f" ({machine.msg})" if machine.msg else "")
        raise VcError("conflict", item, tried, detail, "wait until it runs, or terminate its set")
    if turns_on and machine.refusal is not None:
        raise machine.refusal
    if down and wanted in ("powered_on", "reboot", "reset"):
        if wish.role == "compute" and not machine.job_id:
            raise VcError("conflict", item, tried, "it is in no running set", "start one with vc_computeset")
        if machine.deserted:
            detail = f"all guests of job {machine.job_id} on {machine.host} had ended, and their agent with them"
            raise VcError("conflict", item, tried, detail, f"terminate set {machine.computeset} and start it anew")
        if wanted == "reset":
            raise VcError("conflict", item, tried, f"it is {machine.state}", "use state=powered_on")
        return machine.asked not in ("on", "reboot")
    if down:
        return machine.asked in ("on", "reboot")
    if wanted in ("shutdown", "reboot") and machine.state == NodeState.SUSPENDED:
        detail = "it is suspended, and does not notice its power button"
        raise VcError("conflict", item, tried, detail, "use state=powered_on first, or state=powered_off")
    if wanted == "powered_on":
        return machine.state == NodeState.SUSPENDED or machine.asked in ("off", "shutdown")
    if wanted == "shutdown":
        return machine.asked not in ("off", "shutdown")
    return True


def _why(machine: Machine) -> str:
    return f"it is {machine.state}" + (f": {machine.msg}" if machine.msg else "")


def by_job(machines: Mapping[str, Machine], nodes: Sequence[str]) -> dict[int, list[str]]:
    """The nodes that are in live sets, by the set's job."""
    found: dict[int, list[str]] = {}
    for name in nodes:
        machine = machines.get(name)
        if machine is not None and machine.job_id:
            found.setdefault(machine.job_id, []).append(name)
    return found
