# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Virtual clusters that trials stand on."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from tests.lab.contract.station import at, told
from tests.lab.virtual_cluster import VAULT_HOST, awaited


def define(name: str, **parts: Any) -> dict[str, Any]:
    """Register a cluster of the demo's owner; what vc_cluster returned."""
    wish = {"name": name, "owner": "labuser", "account": "physics", "network": {"cidr": "10.15.0.0/24"}, **parts}
    resolved: dict[str, Any] = told(VAULT_HOST, "vc_cluster", wish)["cluster"]
    return resolved


def forget(name: str) -> None:
    """A node is free a moment after its last job: then the host's flush unit has told the vault."""
    awaited(lambda: at(VAULT_HOST).call("vc_cluster", {"name": name, "state": "absent"})[0] == 0, f"{name} forgotten", 30)


@contextlib.contextmanager
def computes(name: str, nodes: str) -> Iterator[dict[str, Any]]:
    """A cluster of computes as small as they get, forgotten afterwards."""
    yield define(name, computes=[{"nodes": nodes, "cpus": 1, "memory": "128MiB", "source": {"image": "tiny"}}])
    forget(name)
