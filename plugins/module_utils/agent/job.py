# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The batch part of a computeset's job (``vc-job``): one agent per host, and SIGTERM turned into a request to stop.

A signal to the agents themselves would, where Slurm tracks by cgroup, hit QEMU as well; so the agents are asked over their sockets.
"""

# A program of its own, not a module: what it prints is its output, and srun has to run beside it while it waits for signals.
# pylint: disable=ansible-bad-function

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Optional

from ..command import Commands
from ..model.errors import VcError
from .spec import KILL_WAIT, LAYOUT, read_spec, tasks_per_host

AGENT = "/usr/lib/hpc-virtual-cluster/bin/vc-agent"
# Asked again for agents that were not yet up the first time.
_ASK_AGAIN_SECONDS = 4.0
# What agents need beyond the guests' grace: destroying what is left, ending libvirtd.
_EXTRA_SECONDS = 15.0
# srun refuses two ways of saying memory, and takes the job's task counts for its own.
_NOT_FOR_STEPS = ("SLURM_MEM_PER_CPU", "SLURM_MEM_PER_NODE", "SLURM_NTASKS", "SLURM_NPROCS", "SLURM_NTASKS_PER_NODE", "SLURM_CPUS_PER_TASK")


@dataclass(frozen=True)
class Site:
    """What of a site's Slurm configuration matters here.

    Parameters
    ----------
    binds : whether tasks are bound to CPUs unless told otherwise; srun complains about being told where nothing can be bound
    kill_wait : seconds between a job's SIGTERM and its SIGKILL
    """

    binds: bool = True
    kill_wait: int = 10

    @classmethod
    def from_config(cls, text: str) -> Site:
        """From ``scontrol show config``; what is missing there is taken for the worst."""
        found = {name: value.strip() for name, value in re.findall(r"^(TaskPlugin|KillWait)\s*=(.*)$", text, re.MULTILINE)}
        seconds = re.match(r"([0-9]+) sec", found.get("KillWait", ""))
        plugins = found.get("TaskPlugin", "task/affinity")
        return cls("affinity" in plugins or "cgroup" in plugins, int(seconds.group(1)) if seconds else cls.kill_wait)


def step_argv(hosts: int, binds: bool, *command: str) -> list[str]:
    """A step with one task on each of the job's hosts, bound to nothing, which outlives the loss of a host."""
    return [
        "srun",
        # Errors are still shown.
        "--quiet",
        "--overlap",
        "--no-kill",
        "--kill-on-bad-exit=0",
        "--wait=0",
        f"--nodes={hosts}-{hosts}",
        f"--ntasks={hosts}",
        "--ntasks-per-node=1",
        "--mem=0",
        "--mpi=none",
        "--export=ALL",
        "--propagate=NONE",
        "--input=none",
        "--unbuffered",
        # The submitting user's directory need not exist on a hypervisor.
        "--chdir=/",
        *(["--cpu-bind=none", "--mem-bind=none"] if binds else []),
        *command,
    ]


class Job:
    """One job: its agents' step, and the calls that ask them to stop.

    Parameters
    ----------
    env : Slurm's variables and ``VC_SPEC``
    commands : to ask Slurm how it is configured
    """

    def __init__(self, env: Mapping[str, str], commands: Commands) -> None:
        self._spec = read_spec(env)
        layout = env.get("SLURM_TASKS_PER_NODE", "")
        self._hosts = len(tasks_per_host(layout))
        self._env = {key: value for key, value in env.items() if key not in _NOT_FOR_STEPS}
        self._site = _site(commands)
        self._env[LAYOUT] = layout
        self._env[KILL_WAIT] = str(self._site.kill_wait)
        self._asked = 0.0
        self._first_asked = 0.0
        self._signals: list[int] = []

    def run(self) -> int:
        """Run to the end; 0 when every node was started and ended in order, else 1."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda received, _frame: self._signals.append(received))
        say(f"computeset {self._spec.computeset} of {self._spec.cluster}: {len(self._spec.nodes)} nodes on {self._hosts} hosts")
        agents = subprocess.Popen(step_argv(self._hosts, self._site.binds, AGENT, "run"), env=self._env)
        asking: Optional[subprocess.Popen[bytes]] = None
        while True:
            try:
                status = agents.wait(timeout=0.2)
                break
            except subprocess.TimeoutExpired:
                pass
            if asking is not None and asking.poll() is not None:
                asking = None
            if self._signals and asking is None:
                asking = self._ask()
            if self._first_asked and time.monotonic() - self._first_asked > self._spec.grace_seconds + _EXTRA_SECONDS:
                say("agents did not end in time; ending their step")
                agents.terminate()
                self._first_asked = time.monotonic()
        if asking is not None:
            asking.terminate()
            asking.wait()
        say("all nodes have ended" if status == 0 else f"some nodes failed, see above (status {status})")
        # Not the status itself: Slurm would read one above 128 as a signal to this process.
        return 1 if status else 0

    def _ask(self) -> Optional[subprocess.Popen[bytes]]:
        now = time.monotonic()
        if not self._first_asked:
            self._first_asked = now
            say(f"asked to stop; guests get {self._spec.grace_seconds} s to shut down")
        elif now - self._asked < _ASK_AGAIN_SECONDS:
            return None
        self._asked = now
        argv = step_argv(self._hosts, self._site.binds, AGENT, "call", "stop")
        return subprocess.Popen(argv, env=self._env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def _site(commands: Commands) -> Site:
    try:
        return Site.from_config(commands.run(["scontrol", "show", "config"], timeout=20).out)
    except VcError:
        return Site()


def say(message: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} vc-job: {message}", flush=True)


def main(_argv: Sequence[str]) -> int:
    """Run the job that the environment describes."""
    try:
        found = {name: os.environ[name] for name in ("PATH", "SLURM_CONF") if name in os.environ}
        return Job(os.environ, Commands(found)).run()
    except VcError as error:
        print(f"vc-job: {error}", file=sys.stderr, flush=True)
        return 1
    except FileNotFoundError as error:
        print(f"vc-job: {error.filename}: no such program. Remedy: add the directory of srun to PATH", file=sys.stderr, flush=True)
        return 1
