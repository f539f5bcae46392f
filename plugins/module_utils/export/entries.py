# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What cluster managers are told: which nodes, under which names, on which hosts.  No I/O.

Two profiles.  ``tenant`` is for a manager on a cluster's own frontend: its computes, by their own names and internal addresses.  ``owner``
is for the site: all nodes of all clusters and their hosts.  Internal addresses are not in it as addresses: clusters may use the same ones.
Throw-away machines are in either only where their cluster is named.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ..model import names
from ..model.cluster import Cluster, Node
from ..model.errors import VcError
from ..model.noderange import natural_key

PROFILES = ("tenant", "owner")
_TRIED = "exporting it"
# What is made from numbers below must stay free of names that users choose.
_FROM_NUMBERS = re.compile(r"vni[0-9]+(?:n[0-9]+)?")
_SHARED_GROUPS = ("all", "vc")


@dataclass(frozen=True)
class Entry:
    """A node, its cluster, and the host it runs on (empty text: on none)."""

    cluster: Cluster
    node: Node
    host: str

    @property
    def number_name(self) -> str:
        """A name of letters and digits only that no other node of the site has."""
        return f"vni{self.cluster.network.vni}n{self.node.index}"

    @property
    def site_name(self) -> str:
        """One name for the whole site, readable by every manager: ``<cluster>-<node>``, or the name from numbers where that is not safe."""
        cluster, node = self.cluster.name, self.node.name
        # With exactly one dash, no two nodes of different clusters share a name, and xCAT finds the middle of a range.
        readable = f"{cluster}-{node}"
        safe = readable.count("-") == 1 and not has_default(readable) and not reads_as_range(cluster, node)
        return readable if safe else self.number_name

    @property
    def own_name(self) -> str:
        """The node's own name, or the name from numbers where xCAT would read that as something else."""
        own = self.node.name
        taken = own in (*_SHARED_GROUPS, self.group) or _FROM_NUMBERS.fullmatch(own) is not None
        return self.number_name if "-" in own or has_default(own) or taken else own

    @property
    def group(self) -> str:
        """The cluster's group on its own frontend: its name, or one from numbers where xCAT would read that as something else."""
        name = self.cluster.name
        taken = name in _SHARED_GROUPS or _FROM_NUMBERS.fullmatch(name) is not None
        return self.site_group if "-" in name or has_default(name) or taken else name

    @property
    def site_group(self) -> str:
        """The cluster's group on the site, where a name that users choose could be one of the site's own groups or nodes."""
        return f"vni{self.cluster.network.vni}"


def has_default(name: str) -> bool:
    """xCAT takes any stanza with this word in its name for a collection of default values."""
    return "default" in name


def reads_as_range(left: str, right: str) -> bool:
    """Whether xCAT may read ``left-right`` as a range of nodes, such as ``c1-c3``: the two differ in numbers at most."""
    if left == right:
        return True
    halves = [re.split(r"([0-9]+)", half) for half in (left, right)]
    return len(halves[0]) == len(halves[1]) > 1 and halves[0][::2] == halves[1][::2]


def entries(infos: Iterable[Mapping[str, Any]], profile: str, only: str = "") -> list[Entry]:
    """What to export of results of ``vc_info``, by cluster, frontends first.

    VcError ``invalid`` (no such profile, a tenant's export of several clusters, nothing of the vault in the results) or ``unknown`` (no
    such cluster), and whatever a resolved cluster is refused for.
    """
    if profile not in PROFILES:
        raise VcError("invalid", f"profile {names.shown(profile)}", _TRIED, "there is no such profile", f"use {' or '.join(PROFILES)}")
    wanted = names.cluster_name(only) if only else ""
    vaults = [info["vault"] for info in infos if isinstance(info.get("vault"), Mapping)]
    if not vaults:
        raise VcError("invalid", "vault", _TRIED, "no result has it", "give a result of vc_info with gather: [vault]")
    clusters: dict[str, Mapping[str, Any]] = {}
    for vault in vaults:
        clusters.update(vault.get("clusters") or {})
    if wanted and wanted not in clusters:
        raise VcError("unknown", wanted, _TRIED, "the registry has no such cluster", "see playbook status for the clusters there are")
    # Throw-away machines are gone with their job, and nobody would take them out of a manager again.
    chosen = [wanted] if wanted else sorted(name for name in clusters if not names.is_own_cluster(name))
    if profile == "tenant" and len(chosen) != 1:
        detail = f"a tenant's export is of one cluster, there are {len(chosen)}"
        raise VcError("invalid", "cluster", _TRIED, detail, "name the cluster")
    found = []
    for name in chosen:
        cluster = Cluster.from_dict(clusters[name]["cluster"])
        leases = clusters[name].get("leases") or {}
        for node in sorted(cluster.nodes, key=lambda node: (node.role != "frontend", natural_key(node.name))):
            if node.role == "compute" or profile == "owner":
                found.append(Entry(cluster, node, _host(node, leases.get(node.name) or {})))
    return found


def _host(node: Node, lease: Mapping[str, Any]) -> str:
    host = str((lease.get("holder") or {}).get("host") or "")
    return names.host_name(host) if host else node.host
