# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What people may do to a virtual cluster.  No I/O."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from types import MappingProxyType

from .cluster import Cluster
from .errors import VcError

ROLES = ("owner", "member", "operator")
# An operator keeps a site running: they may end what runs, and neither spend a cluster's allocation nor look into its guests.
RIGHTS = MappingProxyType(
    {
        "status": frozenset(ROLES),
        "start": frozenset({"owner", "member"}),
        "terminate": frozenset(ROLES),
        "power": frozenset(ROLES),
        # Everybody's way into the cluster.
        "power_frontend": frozenset({"owner", "operator"}),
        # It may show what was typed there.
        "console": frozenset({"owner"}),
    }
)


def roles_of(cluster: Cluster, user: str, operators: Collection[str]) -> tuple[str, ...]:
    """What this user is to the cluster; nothing for a stranger."""
    found = {"owner": user == cluster.owner, "member": user in cluster.members, "operator": user in operators}
    return tuple(role for role in ROLES if found[role])


def insist(right: str, roles: Iterable[str], user: str, item: str) -> None:
    """VcError ``forbidden`` unless one of the roles has the right."""
    found = tuple(role for role in ROLES if role in roles)
    if not RIGHTS[right].intersection(found):
        allowed = " or ".join(role for role in ROLES if role in RIGHTS[right])
        detail = f"{user} is its {' and '.join(found)}" if found else f"{user} is nothing to it"
        raise VcError("forbidden", item, f"asking the gate for {right.replace('_', ' of the ')}", detail, f"ask its {allowed}")
