# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a host remembers of its frontend, and when its switch is not touched.  With libvirt and the vault it is proved in tests/lab."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.cloudinit.documents import up_message
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.command import Commands
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.frontend import host as subject
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.frontend import starts
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.frontend.host import FrontendHost
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.frontend.power import FrontendSwitch
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.frontend.record import Files, Record
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.host_config import HostConfig
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.libvirt.system import Domain
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.model.errors import VcError
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.planner import power
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.planner.frontend import Facts, Wish
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.planner.plan import Action, unheard

from tests.unit.overlay.switch import HOST
from tests.unit.planner.test_frontend import CLUSTER, FRONTEND, UP

SAYS_UP = f"{up_message(CLUSTER, FRONTEND)}\n".encode()
NOISE = b"[ 12345.678901] kernel: nothing of interest\n" * 30000


class Guest:
    """A libvirt with one domain that runs and has no agent."""

    pressed = 0

    def read(self, *_names: str) -> Domain:
        return Domain(ours=True, state="running", autostart=True, xml="")

    def is_running(self, _name: str) -> bool:
        return True

    def agent_answers(self, _name: str) -> bool:
        return False

    def shutdown(self, _name: str) -> None:
        self.pressed += 1

    reset = shutdown


class Vault:
    """One whose lease has just been broken."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []

    def call(self, verb: str, question: dict[str, Any]) -> dict[str, Any]:
        self.asked.append({"verb": verb, **question})
        error = VcError("stale_epoch", "vc1/frontend", "releasing it", "epoch 3 is over", "look").to_dict()
        return {"clusters": {}} if verb == "status" else {"nodes": {"frontend": {"ok": False, "error": error}}}


class Place:
    """A frontend's files and its processes, which are real ones."""

    def __init__(self, root: Path) -> None:
        self.files, self._pids, self._process = Files(CLUSTER.name, root), root, subprocess.Popen(["sleep", "60"])
        self.files.make()
        self.files.write(Record(3))
        self.restart()

    def restart(self) -> None:
        self.end()
        self._process = subprocess.Popen(["sleep", "60"])
        (self._pids / f"{CLUSTER.name}.{FRONTEND.name}.pid").write_text(f"{self._process.pid}\n")
        self.files.console.write_bytes(b"")

    def end(self) -> None:
        self._process.kill()
        self._process.wait()

    def says(self, text: bytes) -> None:
        with open(self.files.console, "ab") as console:
            console.write(text)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    made = Place(tmp_path)
    monkeypatch.setattr(subject, "Files", lambda _name: made.files)
    monkeypatch.setattr(starts, "_PIDS", tmp_path)
    monkeypatch.setattr(subject, "_RUN", tmp_path / "run")
    yield made
    made.end()


class Host(FrontendHost):
    """One of which these facts were read."""

    facts = UP

    def read(self) -> Facts:
        return self.facts


def host(vault: Any = None, guest: Any = None) -> Host:
    config = HostConfig("fe1", "tcg", "10.77.0.12", "root", HOST)
    return Host(Commands(), config, vault or Vault(), guest or Guest(), Wish(CLUSTER, FRONTEND))


def test_a_guest_that_was_seen_up_is_not_looked_for_again(place: Place) -> None:
    assert not host().wait(0)
    place.says(SAYS_UP)
    assert host().wait(0)
    place.says(NOISE)
    assert host().wait(0)


def test_it_is_another_start_in_another_process_and_after_a_reset(place: Place) -> None:
    place.says(SAYS_UP)
    assert host().wait(0)
    place.restart()
    assert not host().wait(0)
    place.says(SAYS_UP)
    assert host().wait(0)
    _reset()
    assert not host().wait(0)
    place.says(SAYS_UP)
    assert host().wait(0)


def test_who_looked_before_a_reset_says_nothing_after_it(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    resets = [_reset]

    def looked(*about: Any) -> str:
        # The console was read, and nothing is made of it yet.
        if resets:
            resets.pop()()
        return up_message(*about)

    place.says(SAYS_UP)
    monkeypatch.setattr(subject, "up_message", looked)
    assert not host().wait(0)
    assert resets == []
    assert not host().wait(0)


def test_a_note_that_comes_late_is_of_the_start_that_was_looked_at(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.says(SAYS_UP)
    note_up = starts.Starts.note_up

    def late(self: starts.Starts, start: str) -> None:
        _reset()
        note_up(self, start)

    with monkeypatch.context() as patched:
        patched.setattr(starts.Starts, "note_up", late)
        assert host().wait(0)
    assert not host().wait(0)


def test_what_a_guest_says_while_it_is_reset_is_of_its_old_start(place: Place) -> None:
    class Talking(Guest):
        def reset(self, _name: str) -> None:
            place.says(SAYS_UP)

    _reset(Talking())
    assert not host().wait(0)


def test_a_console_that_was_rotated_after_a_reset_is_of_the_new_start(place: Place) -> None:
    place.says(NOISE)
    _reset()
    place.files.console.rename(place.files.console.with_suffix(".log.0"))
    place.says(SAYS_UP)
    assert host().wait(0)


def test_nothing_of_it_is_left_with_the_frontend(place: Place, tmp_path: Path) -> None:
    place.says(SAYS_UP)
    _reset()
    place.says(SAYS_UP)
    assert host().wait(0)
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == ["frontend.vc1.reset", "frontend.vc1.up"]
    host().apply([Action("vc1/frontend", "delete", {})], unheard)
    assert list((tmp_path / "run").iterdir()) == []


@pytest.mark.parametrize("asked", [{"action": "reboot"}, {"state": "powered_on"}])
def test_the_button_is_not_pressed_for_a_definition_that_is_over(place: Place, asked: dict[str, str]) -> None:
    guest = Guest()
    switch, machines = _switch(guest, replace(UP, redefined=True), **asked)
    (item,) = power.plan_power(_wish(**asked), machines).items
    assert item.error is not None
    assert item.error.code == "conflict"
    assert guest.pressed == 0


def test_a_lease_that_was_broken_meanwhile_is_told(place: Place) -> None:
    vault = Vault()
    with pytest.raises(VcError) as refusal:
        host(vault).apply([Action("vc1/frontend", "release", {"epoch": 3})], unheard)
    assert refusal.value.code == "stale_epoch"
    assert vault.asked[-1]["nodes"] == {"frontend": {"epoch": 3, "outcome": "discarded"}}


def _wish(**asked: str) -> power.Wish:
    options = {"cluster": CLUSTER.to_dict(), "nodes": "frontend", "state": None, "action": None, "wait": True, "wait_timeout": 5}
    return power.read_options({**options, **asked})


def _switch(guest: Any, facts: Facts, **asked: str) -> tuple[FrontendSwitch, power.Machines]:
    there = host(guest=guest)
    there.facts = facts
    switch = FrontendSwitch(_wish(**asked), "fe1", guest, there)
    return switch, switch.read()


def _reset(guest: Any = None) -> None:
    switch, machines = _switch(guest or Guest(), replace(UP, redefined=False), action="reset")
    assert switch.switch("reset", machines, ["frontend"], 1) == {}
