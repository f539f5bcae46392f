# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The machine that is a whole site: Slurm as the role sets it up by default, vault and hypervisor; and commands in it."""

from __future__ import annotations

import json
import shlex
from typing import Any

from vclab import machine, machine_image, tiny_image

from tests.lab.host import ROOT, Failed, play

INVENTORY = ROOT / "tests" / "guest" / "inventory"
SITE = machine.Machine("site", machine_image.HOST, 3072, 2277)
# How much longer than in the lab a play may take here.
PATIENCE = 3600


def up() -> None:
    """A new machine, with the playbooks of every site run on it."""
    machine.start(SITE)
    machine.put(SITE, tiny_image.tiny(), "/srv/images/tiny.raw")
    for playbook in ("site.yml", "comet.yml"):
        play(playbook, inventory=INVENTORY, timeout=PATIENCE)


def down() -> None:
    machine.stop(SITE)


def on(*argv: str, user: str = "", timeout: float = 300) -> str:
    """Run a command in it as root or as a user; its stdout, or Failed with all it said."""
    identity = ["runuser", "-u", user, "--"] if user else []
    words = [shlex.quote(word) for word in (*identity, *argv)]
    done = machine.execute(SITE, words, timeout)
    if done.returncode != 0:
        raise Failed(f"{shlex.join(argv)}: exit {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def python(source: str, *argv: str) -> Any:
    """Run a program with its own Python; what it prints is JSON."""
    return json.loads(on("/usr/bin/python3", "-I", "-c", source, *argv))
