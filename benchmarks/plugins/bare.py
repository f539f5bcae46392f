# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Inventory: adds hosts, groups and variables from a file and does nothing else; what any plugin of that size has to spend."""

from __future__ import annotations

import json
from typing import Any

from ansible.plugins.inventory import BaseInventoryPlugin

DOCUMENTATION = r"""
name: bare
short_description: Hosts from a JSON file
description: The floor for benchmarks of inventory plugins.
options:
  plugin:
    description: Tells that this file is for this plugin.
    required: true
  hosts_file:
    description: JSON of C({host\:) C({"groups":) C([...],) C("variables":) C({...}}}).
    required: true
"""


class InventoryModule(BaseInventoryPlugin):
    """What Ansible loads."""

    NAME = "bare"

    def parse(self, inventory: Any, loader: Any, path: str, cache: bool = True) -> None:
        super().parse(inventory, loader, path, cache)
        self._read_config_data(path)
        with open(self.get_option("hosts_file"), encoding="utf-8") as stream:
            hosts = json.load(stream)
        for group in sorted({group for host in hosts.values() for group in host["groups"]}):
            self.inventory.add_group(group)
        for name, host in hosts.items():
            self.inventory.add_host(name)
            for group in host["groups"]:
                self.inventory.add_child(group, name)
            for key, value in host["variables"].items():
                self.inventory.set_variable(name, key, value)
