# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the agent makes of a guest's console, and how long it lets it grow."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.agent import console as module
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.agent import guest as guests
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.agent.console import Console
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.agent.guest import Guest
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.libvirt.session import Session
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.model.states import NodeState


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "console.log"


class Qemu:
    """A serial port into a file, appended to."""

    def __init__(self, path: Path) -> None:
        self.handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def write(self, content: bytes) -> None:
        os.write(self.handle, content)


def test_a_prompt_of_an_earlier_start_does_not_count(path: Path) -> None:
    console = Console(path)
    assert not console.prompts()
    Qemu(path).write(b"tiny login: ")
    assert console.prompts()
    console.mark()
    assert (console.prompts(), console.last_line()) == (False, "")
    Qemu(path).write(b"Booting\r\n\x1b[31mstuck \r\n\r\n")
    assert (console.prompts(), console.last_line()) == (False, "[31mstuck")
    console.begin()
    assert not path.exists()


def test_it_is_kept_short_while_it_is_written(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LONGEST", 1 << 20)
    console, qemu = Console(path), Qemu(path)
    for number in range(64):
        qemu.write(b"%05d\n" % number * 20000)
        console.shorten()
        assert path.stat().st_size <= module.LONGEST
    # Not even a file with holes: what is written next comes right after what was kept.
    qemu.write(b"tiny login: ")
    content = path.read_bytes()
    assert b"\0" not in content
    assert content.endswith(b"00063\ntiny login: ")
    assert console.prompts()


def test_what_did_not_count_does_not_count_after_a_cut(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LONGEST", 1 << 20)
    console, qemu = Console(path), Qemu(path)
    qemu.write(b"x" * (2 << 20) + b"tiny login: ")
    console.mark()
    qemu.write(b"Booting\n")
    console.shorten()
    assert path.stat().st_size < module.LONGEST
    assert (console.prompts(), console.last_line()) == (False, "Booting")


class Hung(Session):
    """libvirt with a guest that runs and says nothing to its agent's socket."""

    def __init__(self) -> None:
        pass

    def state(self, name: str) -> str:
        return "running"

    def agent_answers(self, name: str) -> bool:
        return False


def test_a_guest_that_hangs_at_boot_is_booting_and_says_so(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr(guests.time, "monotonic", lambda: now[0])
    guest, changes = Guest("compute0", NodeState.BOOTING, _domain="compute0", _console=Console(path), _started=1000.0), []
    Qemu(path).write(b"[    1.0] Kernel panic - not syncing: No working init found\n")
    for second in range(0, 400, 5):
        now[0] = 1000.0 + second
        guest.look(Hung(), stopping=False)
        if guest.changed:
            guest.changed = False
            changes.append((second, str(guest.state), guest.msg))
    said = "no agent and no login prompt for 300 s; its console ends with: [    1.0] Kernel panic - not syncing: No working init found"
    assert changes == [(305, "booting", said)]
    Qemu(path).write(b"tiny login: ")
    now[0] += 5
    guest.look(Hung(), stopping=False)
    assert (guest.state, guest.msg) == (NodeState.RUNNING, "login prompt on its console")
