# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A job's libvirtd that hangs holds up nobody for long: it is replaced, and what it had begun is ended."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Optional

import pytest
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.agent.guest import Guest
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.libvirt.session import Session
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.model.states import NodeState

from tests.unit.refusal import refused


class Stopped:
    """libvirt's binding, connected to a daemon that does not answer; its own names are what they are."""

    libvirtError = RuntimeError

    def __init__(self) -> None:
        self.over = threading.Event()

    def __getattr__(self, _name: str) -> Callable[..., Any]:
        return self._hang

    def _hang(self, *_arguments: object) -> None:
        self.over.wait(30)
        raise self.libvirtError


class Job(Session):
    """The session of a job; what it starts is counted."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self._libvirt = self._agent = self._connection = self.daemon = Stopped()
        self.launched = 0

    def _launch(self) -> None:
        self.launched += 1


@pytest.fixture
def session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Job]:
    join = threading.Thread.join

    def impatient(thread: threading.Thread, timeout: Optional[float] = None) -> None:
        assert timeout is not None
        join(thread, timeout / 500)

    monkeypatch.setattr(threading.Thread, "join", impatient)
    made = Job(tmp_path)
    yield made
    made.daemon.over.set()


ASKED: dict[str, Callable[[Session], Any]] = {
    "state": lambda session: session.state("compute0"),
    "secret": lambda session: session.define_secret("vc1/compute0", "secret"),
    "create": lambda session: session.create("compute0", "<domain/>"),
    "open": lambda session: session._open("qemu:///session"),
}


@pytest.mark.parametrize("what", ASKED)
def test_a_daemon_that_hangs_is_replaced(session: Job, what: str) -> None:
    begun = time.monotonic()
    refused("timeout", ASKED[what], session)
    assert time.monotonic() - begun < 5
    assert session.hangs
    assert session.revive() is True
    assert (session.launched, session.hangs) == (1, False)


def test_asking_the_guest_does_not_blame_the_daemon(session: Job) -> None:
    begun = time.monotonic()
    assert session.agent_answers("compute0") is False
    session.shutdown("compute0")
    session.stop()
    assert time.monotonic() - begun < 5
    assert not session.hangs


@pytest.fixture
def qemu(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that is called as QEMU is, with its pid file."""
    program = tmp_path / "qemu-system-x86_64"
    shutil.copy("/bin/sleep", program)
    process = subprocess.Popen([program, "60"])
    run = tmp_path / "x" / "libvirt" / "qemu" / "run"
    run.mkdir(parents=True)
    (run / "compute0.pid").write_text(str(process.pid))
    yield process
    process.kill()
    process.wait()


def test_a_guest_that_was_just_being_started_does_not_live_on_unknown(session: Job, qemu: subprocess.Popen[bytes]) -> None:
    refused("timeout", session.create, "compute0", "<domain/>")
    assert qemu.wait(5) == -9


def test_a_guest_is_ended_without_a_daemon_that_answers(session: Job, qemu: subprocess.Popen[bytes]) -> None:
    guest = Guest("compute0", NodeState.RUNNING, _domain="compute0", _process=os.pidfd_open(qemu.pid))
    session.hangs = True
    guest.pull_plug(session)
    assert qemu.wait(5) == -9
    assert guest.kill() is True
    assert Guest("compute1").kill() is False
