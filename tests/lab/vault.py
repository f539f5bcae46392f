# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The vault as an admin sees it on its host, and as root of some hypervisor could talk to it by hand."""

from __future__ import annotations

import json
from typing import Any

from tests.lab.host import on

HOST, ADDRESS = "nas", "10.77.0.12"
COMMAND = "/usr/lib/hpc-virtual-cluster/bin/vc-vault"
ROOT = "/srv/vc-vault"


def _status(cluster: str, host: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(on(host, COMMAND, "status", "--cluster", cluster))["clusters"][cluster]
    return found


def resolved(cluster: str, host: str = HOST) -> dict[str, Any]:
    """The cluster as the registry has it, which is what modules take."""
    found: dict[str, Any] = _status(cluster, host)["cluster"]
    return found


def lease(cluster: str, node: str, host: str = HOST) -> dict[str, Any]:
    """A node's lease, without secrets."""
    found: dict[str, Any] = _status(cluster, host)["leases"][node]
    return found


def break_lease(cluster: str, node: str, reason: str) -> None:
    on(HOST, COMMAND, "break", cluster, node, "--reason", reason)


def asked_by(host: str, verb: str, **args: Any) -> dict[str, Any]:
    """The whole answer to one request that a host's root writes by hand, past the collection's client."""
    ssh = ["ssh", "-F", "none", "-o", "BatchMode=yes", "-o", "UserKnownHostsFile=/etc/hpc-virtual-cluster/known_hosts"]
    login = [*ssh, "-i", "/etc/hpc-virtual-cluster/vault_key", f"root@{ADDRESS}", "anything"]
    answer: dict[str, Any] = json.loads(on(host, *login, stdin=json.dumps({"schema": 1, "verb": verb, "args": args})))
    return answer


def refusal(answer: dict[str, Any], node: str) -> str:
    """The code with which a node was refused; empty when it was not."""
    entry = answer["result"]["nodes"][node] if answer["ok"] else answer
    return "" if entry["ok"] else str(entry["error"]["code"])


def chap(cluster: str, node: str) -> tuple[str, str, str]:
    """(iqn, account, secret) of the export that a node's lease has now."""
    epoch, secret = on(HOST, "cat", f"{ROOT}/registry/secrets/{cluster}/{node}.chap").split()
    return f"iqn.2026-11.vc:{cluster}:{node}:e{epoch}", f"vc.{cluster}.{node}.e{epoch}", secret
