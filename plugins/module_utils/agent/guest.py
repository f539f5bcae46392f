# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One guest on its way from a lease to a running machine, and down again."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Optional

from ..command import Commands
from ..libvirt.domain import DomainSpec, Export, Interface, domain_xml
from ..libvirt.session import Session
from ..model.cluster import Node
from ..model.errors import VcError
from ..model.states import NodeState
from .console import Console

# Agent or console says that the guest is up.  One that has said nothing to either for so long is told about, and still booting.
_SILENT_SECONDS = 300.0
_ASK_SECONDS = 2.0
_PRESS_SECONDS = 5.0
_ENDED = frozenset({NodeState.OFF, NodeState.CRASHED})


@dataclass(frozen=True)
class Request:
    """A verb for a guest's power switch, and until when (monotonic clock) it is worth trying."""

    verb: str
    deadline: float


@dataclass
class Guest:
    """A node that this host runs.

    Parameters
    ----------
    name : the node
    state : its node state
    msg : why, when it is not well
    changed : set when the state has changed and nobody was told yet
    request : what its owner has asked for and is not done yet (see :mod:`.power`); written by two threads, so replaced as a whole
    failed : why the last request came to nothing
    held : switched off on request: it stays part of the job, which may switch it on again
    """

    name: str
    state: NodeState = NodeState.PREPARING
    msg: str = ""
    changed: bool = False
    request: Optional[Request] = None
    failed: str = ""
    held: bool = False
    _domain: str = ""
    _process: int = -1
    _console: Console = field(default_factory=lambda: Console(Path()))
    _up: bool = False
    _silent: bool = False
    _started: float = 0.0
    _asked: float = 0.0
    _pressed: float = 0.0

    @property
    def ended(self) -> bool:
        return self.state in _ENDED

    @property
    def finished(self) -> bool:
        """Off, and nobody keeps it for being switched on again."""
        return self.ended and not self.held and self.request is None

    @property
    def started(self) -> bool:
        return bool(self._domain)

    def become(self, state: NodeState, msg: str = "") -> None:
        if state != self.state:
            self.state, self.msg, self.changed = state, msg, True

    def start(self, session: Session, commands: Commands, job: Job, lease: Mapping[str, Any]) -> None:
        """Overlay, secret, domain.  VcError when any of them fails; the guest is then not running."""
        node = Node.from_dict(lease["node"])
        usage = f"{job.cluster}/{self.name}"
        export = Export.from_lease(lease["export"], usage)
        overlay = job.scratch / str(lease["overlay"])
        if not overlay.exists():
            # Without opening the base (-u), so the header gets no secret and nothing is read before QEMU does.
            argv = ["qemu-img", "create", "-q", "-u", "-f", "qcow2", "-b", export.url, "-F", "raw", str(overlay)]
            commands.must(
                [*argv, f"{int(lease['export']['size_mib'])}M"], self.name, "making its overlay", "see that the scratch has space"
            )
        session.define_secret(usage, str(lease["export"]["chap_secret"]))
        console = job.scratch / f"{self.name}.console.log"
        self._console = Console(console)
        self._console.begin()
        spec = DomainSpec(
            name=self.name,
            cluster=job.cluster,
            node=self.name,
            accelerator=job.accelerator,
            cpus=node.cpus,
            memory_mib=node.memory_mib,
            overlay=str(overlay),
            export=export,
            seed=str(job.scratch / str(lease["seed"])),
            interfaces=(Interface(mac=node.mac, tap=str(lease["tap"]), userspace=job.datapath == "netdev"),),
            console_log=str(console),
            console_appends=True,
            agent_socket=str(job.directory / f"{self.name}.agent"),
            metadata={"epoch": str(lease["epoch"])},
        )
        pid = session.create(self.name, domain_xml(spec))
        if self._process >= 0:
            os.close(self._process)
            self._process = -1
        with contextlib.suppress(OSError):
            self._process = os.pidfd_open(pid)
        self._domain = self.name
        self._boots(f"QEMU is process {pid}")

    def reset(self, session: Session) -> None:
        """Press the reset button; a guest that was suspended goes on."""
        self._console.mark()
        session.reset(self.name)
        self._boots("it was reset")

    def look(self, session: Session, stopping: bool) -> None:
        """Bring the state up to date with what libvirt and the guest say; `stopping` when it was told to go."""
        self._console.shorten()
        seen = session.state(self.name)
        if seen == "off":
            self.become(NodeState.OFF, "switched off on request" if self.held else "" if stopping else "the guest switched itself off")
        elif seen == "crashed":
            self.become(NodeState.CRASHED, "QEMU ended unexpectedly")
        elif seen == "suspended":
            self.become(NodeState.SUSPENDED, "stopped by QEMU, see its disk and memory")
        elif stopping or seen == "stopping":
            self.become(NodeState.STOPPING)
        elif self._up:
            self.become(NodeState.RUNNING)
        else:
            self.become(NodeState.BOOTING)
            self._look_inside(session)

    def press(self, session: Session) -> None:
        """The power button, now and then: a guest that is still booting does not notice the first time."""
        if time.monotonic() - self._pressed >= _PRESS_SECONDS:
            self._pressed = time.monotonic()
            session.shutdown(self.name)

    def pull_plug(self, session: Optional[Session]) -> None:
        """Destroy it, by libvirt if that still answers, else its process; never raises."""
        if not self.started or self.ended:
            return
        try:
            if session is None or session.hangs:
                raise VcError("backend", self.name, "destroying the guest", "there is no session that answers", "")
            session.destroy(self.name)
        except VcError:
            self.kill()

    def kill(self) -> bool:
        """End its process at once, without libvirt, from any thread; never raises.  False when its process is not known."""
        if self._process >= 0:
            with contextlib.suppress(OSError):
                signal.pidfd_send_signal(self._process, signal.SIGKILL)
        return self._process >= 0

    def _look_inside(self, session: Session) -> None:
        now = time.monotonic()
        if now - self._asked < _ASK_SECONDS:
            return
        if session.agent_answers(self.name):
            self._is_up("its guest agent answers")
        elif self._console.prompts():
            self._is_up("login prompt on its console")
        elif now - self._started > _SILENT_SECONDS and not self._silent:
            last = self._console.last_line()
            self.msg = f"no agent and no login prompt for {_SILENT_SECONDS:g} s" + (f"; its console ends with: {last}" if last else "")
            self._silent = self.changed = True
        self._asked = time.monotonic()

    def _boots(self, msg: str) -> None:
        self._started, self._up, self._silent, self._pressed = time.monotonic(), False, False, 0.0
        self.become(NodeState.BOOTING, msg)

    def _is_up(self, msg: str) -> None:
        self._up = True
        self.become(NodeState.RUNNING, msg)


@dataclass(frozen=True)
class Job:
    """What all guests of this job on this host share.

    Parameters
    ----------
    cluster : name
    directory, scratch : the job's directories
    accelerator, datapath : of this host
    """

    cluster: str
    directory: Path
    scratch: Path
    accelerator: str
    datapath: str
