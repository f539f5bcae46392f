# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the gate of a frontend host does, as root: the frontend's switch, and the end of its console."""

from __future__ import annotations

import os
from collections import deque
from typing import Any, Optional

from ..applier.power import PowerActions
from ..command import Commands
from ..frontend.host import FrontendHost
from ..frontend.power import FrontendSwitch
from ..host_config import HostConfig
from ..libvirt.system import System
from ..model.cluster import Cluster
from ..model.errors import VcError
from ..planner import frontend, power
from ..vault.client import VaultClient
from .outcome import carried_out
from .requests import Request

_CONSOLE_BYTES = 256 * 1024


def carry_out(
    request: Request, cluster: Cluster, commands: Commands, config: HostConfig, vault: VaultClient
) -> tuple[dict[str, Any], Optional[VcError]]:
    """The result, and what failed of it, if anything."""
    node = cluster.frontend
    if node is None or node.host != config.name:
        where = "the cluster has none" if node is None else f"the definition places it on {node.host}"
        detail, remedy = f"this is {config.name}, and {where}", "ask the gate of the frontend's host"
        raise VcError("conflict", cluster.name, f"asking the gate for {request.verb}", detail, remedy)
    system = System()
    host = FrontendHost(commands, config, vault, system, frontend.Wish(cluster, node))
    if request.verb == "console":
        return {"cluster": cluster.name, "console": _tail(host, int(request.options["lines"]))}, None
    if request.verb == "status":
        # Only looked at: this wish would touch nothing that is off already, and asks the vault nothing.
        wish = power.Wish(cluster, (node,), "powered_off")
        machines = FrontendSwitch(wish, config.name, system, host).read()
        return {"cluster": cluster.name, "owner": cluster.owner, "nodes": {node.name: machines[node.name].to_dict()}}, None
    options = request.options
    wish = power.read_options({**options, "cluster": cluster.to_dict()})
    switch = FrontendSwitch(wish, config.name, system, host)
    actions = PowerActions(wish, switch, options["wait_timeout"], options["on_timeout"] == "force")
    return carried_out("nodes", actions.plan, actions.apply, actions.answer)


def _tail(host: FrontendHost, lines: int) -> list[str]:
    """The last lines of the frontend's console, with nothing in them that could move a terminal's cursor."""
    try:
        handle = os.open(host.console, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return []
    with open(handle, "rb") as file:
        file.seek(max(0, file.seek(0, 2) - _CONSOLE_BYTES))
        last = deque(file.read().decode("utf-8", "replace").splitlines(), lines)
    return ["".join(char if char.isprintable() else " " for char in line).rstrip() for line in last]
