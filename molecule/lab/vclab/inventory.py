# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab's static inventories, written from the layout; they hold no absolute path."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from .layout import DEBIAN13, DEBIAN13_GROUPS, GROUPS, HOSTS, SSH_SOCKETS, HostPlan

INVENTORY = Path(__file__).resolve().parents[1] / "inventory" / "hosts.yml"
DEBIAN13_INVENTORY = INVENTORY.parents[1] / "debian13" / "hosts.yml"

HEAD = f"""---
# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# Written by molecule/lab/vclab/inventory.py from layout.py.
all:
  children:
    # Not for all: localhost is no lab host.
    lab_hosts:
      vars:
        ansible_user: root
        ansible_python_interpreter: /usr/bin/python3
        ansible_pipelining: true
        ansible_ssh_private_key_file: "{{{{ inventory_dir }}}}/../../../.cache/lab/keys/id_ed25519"
        ansible_control_path_dir: {SSH_SOCKETS}
        ansible_ssh_common_args: >-
          -o UserKnownHostsFile="{{{{ inventory_dir }}}}/../../../.cache/lab/known_hosts" -o StrictHostKeyChecking=yes
          -o IdentitiesOnly=yes -o ControlMaster=auto -o ControlPersist=300s -o ServerAliveInterval=5 -o ServerAliveCountMax=3
          -o ConnectTimeout=10
      hosts:
"""


def text(hosts: Sequence[HostPlan], groups: Mapping[str, Sequence[str]]) -> str:
    lines = [HEAD]
    for plan in hosts:
        lines.append(f"        {plan.name}:\n          ansible_host: {plan.address}\n")
        if plan.underlay:
            lines.append(f"          overlay_host_address: {plan.underlay}/24\n")
        if plan.public:
            lines.append("          frontend_host_public_interface: eth2\n")
    for group, members in groups.items():
        lines.append(f"    {group}:\n      hosts:\n")
        lines.extend(f"        {member}:\n" for member in members)
    return "".join(lines)


def wanted() -> dict[Path, str]:
    return {INVENTORY: text(HOSTS, GROUPS), DEBIAN13_INVENTORY: text((DEBIAN13,), DEBIAN13_GROUPS)}


def write() -> None:
    """Write the inventories that differ; they are kept in the repository, so usually none does."""
    for path, content in wanted().items():
        if not path.exists() or path.read_text() != content:
            path.parent.mkdir(exist_ok=True)
            path.write_text(content)
