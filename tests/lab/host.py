# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reaches the lab's hosts the way an observer would: past Ansible, past the collection."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from vclab.host import enter
from vclab.process import ENVIRONMENT, LabError

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
LAB = ROOT / "molecule" / "lab" / "lab"
INVENTORY = ROOT / "molecule" / "lab" / "inventory"
DEBIAN13 = ROOT / "molecule" / "lab" / "debian13"
KEYS = ROOT / ".cache" / "lab" / "keys"
BIN = pathlib.Path(sys.executable).parent
HOSTS = ("head", "nas", "fe1", "hv1", "hv2")
UIDS = {"labuser": 2001, "otheruser": 2002}


class Failed(AssertionError):
    """A command of a proof that did not do what the proof needs."""


def finished(
    argv: Sequence[str], stdin: str = "", timeout: float = 120, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        list(argv),
        input=stdin,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=timeout,
        check=False,
        env={**os.environ, **(env or {})},
    )


def on(host: str, *argv: str, stdin: str = "", timeout: float = 120, user: str = "") -> str:
    """Run a command as root (or as a lab user, without PAM) in a host; its stdout, or Failed with all it said."""
    done = attempt(host, *argv, stdin=stdin, timeout=timeout, user=user)
    if done.returncode != 0:
        raise Failed(f"{host}: {' '.join(argv)}: exit {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def attempt(host: str, *argv: str, stdin: str = "", timeout: float = 120, user: str = "") -> subprocess.CompletedProcess[str]:
    """The same, whatever its exit status."""
    return finished(command(host, *argv, user=user), stdin=stdin, timeout=timeout)


def command(host: str, *argv: str, user: str = "") -> list[str]:
    """The argv that runs a command in a host, as root or as a lab user."""
    identity: list[str] = []
    if user:
        uid = str(UIDS[user])
        identity = ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups", "env", f"HOME=/home/{user}", f"USER={user}"]
    try:
        # The lab's own way in, without a start of Python for each of some thousand commands.
        return [*enter(host), "env", "-i", *(f"{name}={value}" for name, value in ENVIRONMENT.items()), *identity, *argv]
    except LabError:
        return [str(LAB), "exec", host, *identity, *argv]


def python(host: str, source: str, *argv: str, timeout: float = 120, user: str = "") -> Any:
    """Feed a program to the host's own Python; what it prints is JSON."""
    return json.loads(on(host, "/usr/bin/python3", "-I", "-", *argv, stdin=source, timeout=timeout, user=user))


def play(
    name: str, *argv: str, timeout: float = 900, check: bool = True, inventory: pathlib.Path = INVENTORY, **variables: Any
) -> subprocess.CompletedProcess[str]:
    """Run a playbook of the collection on the lab; Failed with the whole output unless it ends well."""
    command = [str(BIN / "ansible-playbook"), "-i", str(inventory), str(ROOT / "playbooks" / name), *argv]
    if variables:
        command += ["-e", json.dumps(variables)]
    done = finished(command, timeout=timeout, env=ANSIBLE)
    if check and done.returncode != 0:
        raise Failed(f"{name}: exit {done.returncode}\n{done.stdout[-12000:]}{done.stderr[-4000:]}")
    return done


ANSIBLE = {
    "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".cache" / "collections"),
    "ANSIBLE_NOCOLOR": "1",
    "ANSIBLE_FORCE_COLOR": "0",
    "ANSIBLE_LOCALHOST_WARNING": "0",
    "ANSIBLE_LOAD_CALLBACK_PLUGINS": "0",
    "ANSIBLE_STDOUT_CALLBACK": "default",
    "PATH": f"{BIN}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
}
