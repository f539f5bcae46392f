# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Carries partitions into the fabric: file, one reload, the ports' own tables; what the ports do not show is taken back."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Optional

from ..command import Commands
from ..fabric import daemon, ports
from ..fabric.daemon import Daemon
from ..fabric.document import Partition
from ..fabric.partition_file import PartitionFile
from ..fabric.ports import Ports, Tables
from ..model.errors import VcError
from ..planner import partition as planner
from ..planner.partition import Fabric, Request
from ..planner.plan import Action, Done, Plan

_PAUSE_SECONDS = 0.2
_SHOWN = 3
_TRIED = "having it on the fabric"
# What each item is to become.
Goals = Mapping[str, Optional[Partition]]


class PartitionActions:
    """One call's work; its caller holds the file's lock."""

    def __init__(self, commands: Commands, file: PartitionFile, running: Daemon, requests: Sequence[Request], wait_seconds: float) -> None:
        self._commands = commands
        self._file = file
        self._daemon = running
        self._requests = requests
        self._wait_seconds = wait_seconds
        self._start = Fabric(file.read())
        self._ports = Ports(running)
        self._tables: Tables = {}

    def plan(self) -> Plan:
        start = Fabric(self._file.read(), self._file.good())
        self._tables = self._ports.read(planner.expected(self._requests, start))
        self._start = replace(start, tables=self._tables)
        return planner.plan_partitions(self._requests, self._start)

    def apply(self, actions: Sequence[Action], done: Done) -> Mapping[str, VcError]:
        """All items in one write and one reload; a second one only when some of them have to be taken back."""
        if self._start.good is None:
            self._start = replace(self._start, good=dict(self._start.document.partitions))
            self._file.remember(self._start.document.partitions)
        items = {action.item for action in actions}
        goals = {request.name: request.partition for request in self._requests if request.name in items}
        try:
            wrong = self._carry(goals)
        except VcError:
            # Whenever OpenSM comes back it must not find there what nobody has seen on the fabric.
            with contextlib.suppress(VcError):
                self._put({name: self._start.last(name) for name in goals})
                daemon.reload(self._commands, self._daemon)
            raise
        kept = {name: goal for name, goal in goals.items() if name not in wrong}
        good = _with(self._start.good or {}, kept)
        if good:
            self._file.remember(good)
        else:
            self._file.forget()
        for action in actions:
            if action.item in kept:
                done(action)
        return {name: self._failure(name, detail) for name, detail in wrong.items()}

    def answer(self, plan: Plan, predicted: bool) -> list[dict[str, Any]]:
        """The partitions of the call, in its order, as they are or as they will be."""
        if predicted:
            return [dict(item.after) if item.after else planner.absent(item.name) for item in plan.items]
        now = Fabric(self._file.read())
        found = [(request.name, now.declared(request.name)) for request in self._requests]
        return [planner.absent(name) if one is None else planner.describe(one, self._tables) for name, one in found]

    def _carry(self, goals: Goals) -> dict[str, str]:
        """Write, reload, look; take back what the ports do not show, and say by item what that is."""
        self._put(goals)
        daemon.reload(self._commands, self._daemon)
        wrong = self._wait(goals)
        if not wrong:
            return {}
        mixed = {name: self._start.last(name) if name in wrong else goal for name, goal in goals.items()}
        self._put(mixed)
        daemon.reload(self._commands, self._daemon)
        still = self._wait(mixed)
        if still:
            self._put({name: self._start.last(name) for name in goals})
            daemon.reload(self._commands, self._daemon)
            after = "; ".join(f"{name}: {detail}" for name, detail in still.items())
            return {name: f"{wrong.get(name, 'taken back with the others')} (and after that was taken back: {after})" for name in goals}
        return wrong

    def _put(self, goals: Goals) -> None:
        self._file.put(_with(self._file.read().partitions, goals))

    def _wait(self, goals: Goals) -> dict[str, str]:
        """Look until the ports show it; what they do not show after all, by item.  OpenSM may be too busy to answer meanwhile."""
        until = time.monotonic() + self._wait_seconds
        while True:
            left = until - time.monotonic()
            try:
                seen = self._ports.read(planner.expected(self._requests, self._start, goals), max(0.0, left))
                break
            except VcError:
                if left <= 0:
                    raise
            time.sleep(_PAUSE_SECONDS)
        self._tables = {**self._tables, **seen}
        found = {}
        for request in self._requests:
            if request.name in goals:
                known = [*self._start.known(request.name), *([request.partition] if request.partition else [])]
                wrong = ports.problems(known, goals[request.name], seen)
                if wrong:
                    found[request.name] = "; ".join(wrong[:_SHOWN]) + (f"; and {len(wrong) - _SHOWN} more" if len(wrong) > _SHOWN else "")
        return found

    def _failure(self, name: str, detail: str) -> VcError:
        remedy = f"see `journalctl -u {self._daemon.unit}` and OpenSM's log; what was there before is in force again"
        if "is full" in detail:
            remedy = "take that port out of another partition first; what was there before is in force again"
        return VcError("backend", name, _TRIED, detail, remedy)


def _with(partitions: Mapping[str, Partition], goals: Goals) -> dict[str, Partition]:
    kept = {name: one for name, one in partitions.items() if name not in goals}
    return {**kept, **{name: one for name, one in goals.items() if one is not None}}
