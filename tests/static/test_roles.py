# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an operating system calls its packages, units and paths stands in vars/<os family>.yml only: another family is one file more."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

ROLES = Path(__file__).resolve().parents[2] / "roles"
PARTS = ("tasks", "handlers", "templates")
# /run and ours below /var/lib are the same everywhere, and so is the kernel's /sys.
PLACE = re.compile(r"(?<![\w}.])/(?:etc|usr|bin|sbin|opt|srv|lib|var)/(?!lib/vc-)\S*")
UNIT = re.compile(r"(?<![\w{@.-])(?!vc-)[a-z][\w@-]*\.(?:service|socket|timer|mount|slice)\b")
# systemd's own, on every system that has it.
COMMON = {"network-online.target", "multi-user.target", "timers.target", "sockets.target", "tmp.mount"}
MANAGERS = {"ansible.builtin.apt", "ansible.builtin.dnf", "ansible.builtin.package"}


def files() -> list[Path]:
    return sorted(path for part in PARTS for path in ROLES.glob(f"*/{part}/**/*") if path.is_file())


def named(text: str) -> list[str]:
    """The paths and units that a file calls by an operating system's name, but in comments."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    return [found for line in lines for pattern in (PLACE, UNIT) for found in pattern.findall(line) if found not in COMMON]


@pytest.mark.parametrize("path", files(), ids=lambda path: str(path.relative_to(ROLES)))
def test_names_of_an_operating_system_are_variables(path: Path) -> None:
    assert named(path.read_text(encoding="utf-8")) == []


def packages(tasks: Any) -> list[Any]:
    """What package tasks install, blocks included."""
    found: list[Any] = []
    for task in tasks or []:
        found += [task[manager]["name"] for manager in MANAGERS & task.keys()]
        for block in ("block", "rescue", "always"):
            found += packages(task.get(block))
    return found


def test_names_of_packages_are_variables() -> None:
    written = [yaml.safe_load(path.read_text(encoding="utf-8")) for path in sorted(ROLES.glob("*/tasks/*.yml"))]
    installed = [name for tasks in written for name in packages(tasks)]
    assert installed
    assert all(isinstance(name, str) and name.startswith("{{") for name in installed), installed


def test_hosts_come_to_the_account_that_lets_them_in() -> None:
    told = yaml.safe_load((ROLES / "agent" / "vars" / "main.yml").read_text(encoding="utf-8"))["agent_host_config"]["vault"]["user"]
    families = [yaml.safe_load(path.read_text(encoding="utf-8")) for path in sorted((ROLES / "vault" / "vars").glob("*.yml"))]
    places = [Path(names["vault_paths"]["authorized_keys"]) for names in families if "vault_paths" in names]
    assert places
    assert {place.parent.parent.name for place in places} == {told}


def test_a_name_that_slips_in_is_seen() -> None:
    assert named("dest: /etc/slurm/slurm.conf\nname: slurmd.service\n# /usr/bin/x\ndest: '{{ paths.x }}/vc-host.socket'\n") == [
        "/etc/slurm/slurm.conf",
        "slurmd.service",
    ]


@pytest.mark.parametrize("role", ["slurm_controller", "hypervisor"])
def test_nothing_but_what_is_noted_says_what_is_restarted(role: str) -> None:
    """So that no daemon of these roles is left with what it was started by: tests/lab/slow/test_in_force.py."""
    written = [yaml.safe_load(path.read_text(encoding="utf-8")) for path in sorted((ROLES / role / "tasks").glob("*.yml"))]
    units = [task["ansible.builtin.systemd_service"] for tasks in written for task in tasks if "ansible.builtin.systemd_service" in task]
    states = [unit.get("state") for unit in units]
    assert states
    assert all(state is None or re.fullmatch(r"\{\{ 'started' if \w+_is_in_force else 'restarted' \}\}", state) for state in states), states
