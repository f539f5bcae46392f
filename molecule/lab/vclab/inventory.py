# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab's static inventory, written from the layout; it holds no absolute path."""

from __future__ import annotations

from pathlib import Path

from .layout import GROUPS, HOSTS, SSH_SOCKETS

INVENTORY = Path(__file__).resolve().parents[1] / "inventory" / "hosts.yml"

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


def text() -> str:
    lines = [HEAD]
    for plan in HOSTS:
        lines.append(f"        {plan.name}:\n          ansible_host: {plan.address}\n")
        if plan.underlay:
            lines.append(f"          overlay_host_address: {plan.underlay}/24\n")
        if plan.public:
            lines.append("          frontend_host_public_interface: eth2\n")
    for group, members in GROUPS.items():
        lines.append(f"    {group}:\n      hosts:\n")
        lines.extend(f"        {member}:\n" for member in members)
    return "".join(lines)


def write() -> None:
    """Write the inventory when it differs; it is kept in the repository, so usually it does not."""
    if not INVENTORY.exists() or INVENTORY.read_text() != text():
        INVENTORY.parent.mkdir(exist_ok=True)
        INVENTORY.write_text(text())
