# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The longest wait that the gate allows ends with an answer: before the caller gives up, and before systemd ends the helper."""

from __future__ import annotations

import re
import types
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.applier.compute_power import ComputeSwitches
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.frontend import power as frontend_power
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.gate import front
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.gate.requests import LONGEST_CALL, LONGEST_WAIT
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.libvirt.system import Domain
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.planner.power import Wish
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.slurm import watch

from tests.unit.applier.test_power import Site, node
from tests.unit.planner.test_frontend import CLUSTER, FRONTEND
from tests.unit.slurm.test_watch import NODES, RUNNING, FakeClock, Play, Scene

UNIT = Path(__file__).resolve().parents[3] / "roles" / "gate" / "templates" / "vc-gate@.service.j2"
# Of a helper's minutes this much is for what answers in its own time: Slurm's commands, the vault, libvirt.
SPARE = 240


class Stuck:
    """A frontend that neither hears its button nor comes up, and its host."""

    def __init__(self) -> None:
        self.time, self.runs = 0.0, True

    def monotonic(self) -> float:
        return self.time

    def sleep(self, seconds: float) -> None:
        self.time += seconds

    def wait(self, seconds: float) -> bool:
        self.time += seconds
        return False

    def is_running(self, _name: str) -> bool:
        return self.runs

    def destroy(self, _name: str) -> None:
        self.runs = False

    def read(self, *_names: str) -> Domain:
        return Domain(ours=True, state="running", autostart=True, xml="")

    def shutdown(self, _name: str) -> None:
        """It does not listen."""

    note_state = shutdown


class Deaf(Site):
    """Agents that take orders and carry none out."""

    def _carry_out(self, name: str) -> None:
        """Nothing."""


def computes_by_force() -> float:
    """A reboot that does not come about, and a reset after which no node comes up."""
    site, clock = Deaf("compute[0-1]"), FakeClock()
    site.nodes = {name: {**node("stopping"), "asked": "reboot"} for name in site.nodes}
    wish = Wish(CLUSTER, tuple(one for one in CLUSTER.computes if one.name in site.nodes), "reboot")
    switches = ComputeSwitches(site, wish, CLUSTER.owner, clock)
    _seen, failed = switches.wait(switches.read(), list(site.nodes), LONGEST_WAIT, force=True)
    assert {error.code for error in failed.values()} == {"timeout"}
    return clock.now()


def frontend_by_force(monkeypatch: pytest.MonkeyPatch) -> float:
    """The same of a frontend."""
    stuck: Any = Stuck()
    wish = Wish(CLUSTER, (FRONTEND,), "reboot")
    with monkeypatch.context() as patched:
        patched.setattr(frontend_power, "time", types.SimpleNamespace(monotonic=stuck.monotonic, sleep=stuck.sleep))
        switch = frontend_power.FrontendSwitch(wish, FRONTEND.host, stuck, stuck)
        patched.setattr(switch, "_switch_on", lambda: None)
        before = {FRONTEND.name: switch._machine(stuck.read())}
        _seen, failed = switch.wait(before, [FRONTEND.name], LONGEST_WAIT, force=True)
    assert {error.code for error in failed.values()} == {"timeout"}
    return float(stuck.time)


def set_that_stays() -> float:
    """It is stopped, and so is what it waits for, and nothing of that ends."""
    clock = FakeClock()
    _seen, error = watch.until_gone(Play(RUNNING), "vc1/sim", range(7, 12), NODES, LONGEST_WAIT, True, clock)
    assert error is not None
    return clock.now()


def set_that_does_not_start() -> float:
    clock = FakeClock()
    _seen, error = watch.until_running(Play(Scene("COMPLETING")), "vc1/sim", 7, NODES, LONGEST_WAIT, True, "/nowhere/log", clock)
    assert error is not None
    return clock.now()


def test_whoever_waits_as_long_as_he_may_gets_his_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    waits = {
        "computes": computes_by_force(),
        "frontend": frontend_by_force(monkeypatch),
        "terminate": set_that_stays(),
        "start": set_that_does_not_start(),
    }
    assert waits["computes"] >= 2 * LONGEST_WAIT
    assert waits["frontend"] >= 2 * LONGEST_WAIT
    assert not {what: seconds for what, seconds in waits.items() if seconds > LONGEST_CALL - SPARE}


def test_systemd_ends_a_helper_after_its_caller_has_given_up() -> None:
    given = re.search(r"^RuntimeMaxSec=(\d+)$", UNIT.read_text(encoding="utf-8"), re.MULTILINE)
    assert given is not None
    assert int(given[1]) > LONGEST_CALL


def test_a_caller_gives_up_when_no_wait_can_be_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    limits: list[float] = []

    class Helper:
        def __enter__(self) -> Any:
            return self

        def __exit__(self, *_how: object) -> None:
            """Closed."""

        def settimeout(self, seconds: float) -> None:
            limits.append(seconds)

        def connect(self, _path: str) -> None:
            raise OSError("nobody is there")

    monkeypatch.setattr(front.socket, "socket", lambda *_kind: Helper())
    with pytest.raises(front.VcError):
        front._ask("anna", "{}")
    assert limits == [LONGEST_CALL]
