# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The controller's side: a virtual environment with Ansible, the collection under its own name, and playbooks run on the lab."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from .cache import locked, recipe_key, remove
from .inventory import INVENTORY
from .layout import CACHE, REPOSITORY, STATE
from .process import SLOWNESS, LabError, environment, run, run_logged

VENV = CACHE / "venv"
COLLECTIONS = CACHE / "collections"
# The nodes of virtual clusters, as inventory plugin vc_nodes lists them.
NODES = REPOSITORY / "molecule" / "lab" / "lab.vc_nodes.yml"
REQUIREMENTS = REPOSITORY / "requirements-dev.txt"
# What a play imports.
OF_PLAYS = ("ansible", "cryptography", "jinja2", "markupsafe", "packaging", "yaml")
# Not whichever python3 is first in PATH: Debian's own is what a fresh machine has.
PYTHON = os.environ.get("PYTHON", "/usr/bin/python3")


def venv(everything: bool) -> Path:
    """The virtual environment: Ansible alone, or everything that tests and linters need; pinned, made once."""
    pinned = REQUIREMENTS.read_text()
    wanted = VENV / f".{'tests' if everything else 'ansible'}-{recipe_key(pinned)}"
    covering = VENV / f".tests-{recipe_key(pinned)}"
    with locked(CACHE / ".venv.lock"):
        if wanted.exists() or covering.exists():
            return VENV
        if not (VENV / "bin/pip").exists():
            make_venv()
        log = CACHE / "venv.log"
        what = ["-r", str(REQUIREMENTS)] if everything else ["-c", str(REQUIREMENTS), "ansible-core"]
        pip = [str(VENV / "bin/python"), "-m", "pip", "install", "--disable-pip-version-check", "--prefer-binary"]
        # Of the linters little is ever imported, and they keep what they compile; plays do not, see PYTHONDONTWRITEBYTECODE below.
        run_logged([*pip, "--no-compile", *what], log, pip_environment())
        run_logged([str(VENV / "bin/python"), "-m", "compileall", "-q", *map(str, installed(*OF_PLAYS))], log)
        wanted.touch()
    return VENV


def installed(*packages: str) -> list[Path]:
    """Where these are in the virtual environment."""
    return [path for package in packages for path in VENV.glob(f"lib/python3*/site-packages/{package}")]


def pip_environment() -> dict[str, str]:
    """pip may be told where its index is by variables of its own."""
    return {**environment(), **{name: value for name, value in os.environ.items() if name.startswith("PIP_")}}


def make_venv() -> None:
    version = run([PYTHON, "-c", "import sys; print(sys.version_info >= (3, 11))"]).stdout.strip()
    if version != "True":
        raise LabError(f"{PYTHON} is older than 3.11; say another one: PYTHON=/path/to/python3")
    remove(VENV)
    run([PYTHON, "-m", "venv", str(VENV)])


def link_collection() -> None:
    """Make the checkout loadable as hpc.virtual_cluster."""
    link = COLLECTIONS / "ansible_collections/hpc/virtual_cluster"
    link.parent.mkdir(parents=True, exist_ok=True)
    if not link.is_symlink():
        link.symlink_to(os.path.relpath(REPOSITORY, link.parent), target_is_directory=True)


def command(program: str, arguments: Sequence[str], inventory: Path = INVENTORY) -> tuple[list[str], dict[str, str]]:
    """argv and environment that run a program of Ansible's on the lab."""
    place = VENV / "bin" / program
    if not place.exists():
        raise LabError("Ansible is not installed for the lab: run 'make venv' first")
    link_collection()
    settings = {
        "ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS),
        "ANSIBLE_INVENTORY": str(inventory),
        "ANSIBLE_HOME": str(STATE / "ansible"),
        "ANSIBLE_DISPLAY_SKIPPED_HOSTS": "false",
        "ANSIBLE_RETRY_FILES_ENABLED": "false",
        "ANSIBLE_LOCALHOST_WARNING": "false",
        "ANSIBLE_FORKS": "10",
        "LC_ALL": "C.UTF-8",
        "PYTHONUNBUFFERED": "1",
        # The checkout is the collection; it stays as it was cloned.
        "PYTHONDONTWRITEBYTECODE": "1",
        # ssh takes the first of two, and the inventory's come later.
        "ANSIBLE_TIMEOUT": str(10 * SLOWNESS),
        "ANSIBLE_SSH_ARGS": f"-o ServerAliveInterval={5 * SLOWNESS}",
    }
    given = {name: value for name, value in os.environ.items() if name.startswith("ANSIBLE_") or name == "TERM"}
    path = f"{VENV / 'bin'}:{environment()['PATH']}"
    return [str(place), *arguments], {**environment(), **settings, **given, "PATH": path}


def play_command(name: str, arguments: Sequence[str] = ()) -> tuple[list[str], dict[str, str]]:
    """argv and environment that run a playbook of the collection on the lab."""
    playbook = REPOSITORY / "playbooks" / f"{name.removesuffix('.yml')}.yml"
    if not playbook.exists():
        there = ", ".join(sorted(path.stem for path in playbook.parent.glob("*.yml")))
        raise LabError(f"no such playbook: {name!r}; there are {there}")
    return command("ansible-playbook", [str(playbook), *arguments])


def play(name: str, arguments: Sequence[str]) -> int:
    """Run a playbook with this terminal; returns its exit status."""
    return _shown(*play_command(name, arguments))


def ansible(arguments: Sequence[str]) -> int:
    """Run a module on nodes of the lab's virtual clusters with this terminal; returns its exit status."""
    return _shown(*command("ansible", arguments, NODES))


def _shown(argv: Sequence[str], variables: Mapping[str, str]) -> int:
    sys.stdout.flush()
    return subprocess.run(argv, env=variables, cwd=REPOSITORY, check=False).returncode
