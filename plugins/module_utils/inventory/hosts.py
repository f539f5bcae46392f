# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hosts, groups and variables of an inventory, made from what the sources said.  No I/O."""

from __future__ import annotations

import hashlib
import ipaddress
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..model import names
from ..model.errors import VcError
from ..model.states import NodeState
from ..planner.view import join

ROLES = ("frontend", "compute")
# Group names that are given away already; Ansible's own two among them.
_TAKEN = frozenset({"all", "ungrouped", "vc_nodes", *(f"vc_role_{role}" for role in ROLES), *(f"vc_state_{state}" for state in NodeState)})
_NO_HOST_KEYS = ("StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "LogLevel=ERROR")
_FRONTEND_HOST_KEYS: Mapping[str, tuple[str, ...]] = {
    "accept_new": ("StrictHostKeyChecking=accept-new",),
    "check": ("StrictHostKeyChecking=yes",),
    "ignore": _NO_HOST_KEYS,
}
# A node that was switched off answers nothing any more, and a kept connection would wait for it for ever.
_ALIVE = ("ServerAliveInterval=5", "ServerAliveCountMax=3")


@dataclass(frozen=True)
class Access:
    """How nodes are reached.

    Parameters
    ----------
    user : login on the nodes
    private_key_file : absolute path, or "" to leave the choice to ssh
    frontend_host_keys : ``accept_new``, ``check`` or ``ignore``
    """

    user: str = "root"
    private_key_file: str = ""
    frontend_host_keys: str = "accept_new"


@dataclass(frozen=True)
class Host:
    """One node as Ansible is to see it."""

    name: str
    groups: tuple[str, ...]
    variables: dict[str, Any]


def hosts(raw: Mapping[str, Any], access: Access, now: int, stale: bool = False) -> tuple[list[Host], dict[str, Any]]:
    """The nodes of all virtual clusters, and the view they come from (with ``rejected`` and ``drift``).

    `raw` is what ``source.read`` answered, at any time before `now` (epoch seconds).  VcError ``backend`` when it is damaged.
    """
    try:
        view = join([_aged(raw, now)])
        clusters = raw["vault"]["clusters"]
        defined = {(name, node["name"]): node for name, entry in clusters.items() for node in entry["cluster"]["nodes"]}
        ways = {name: _way(entry["cluster"], access) for name, entry in clusters.items()}
        found = []
        for row in view["rows"]:
            entry, node = clusters[row["cluster"]], defined[row["cluster"], row["name"]]
            lease = entry["leases"].get(row["name"]) or {}
            variables = {
                **_facts(row, entry["cluster"], node, raw["read_at"], stale),
                **_connection(row, lease, ways[row["cluster"]], access),
            }
            name = f"{names.node_name(row['name'])}.{names.cluster_name(row['cluster'])}"
            found.append(Host(name, _groups(row), variables))
        return found, view
    except (KeyError, TypeError, AttributeError, ValueError, VcError) as error:
        detail = str(error) if isinstance(error, VcError) else f"{type(error).__name__}: {error}"
        remedy = "see `vc-vault status` on the vault host; controller and hosts may have different releases of the collection"
        raise VcError("backend", "source vault", "making hosts of its answer", detail, remedy) from None


def cluster_group(cluster: str) -> str:
    """The group of a cluster's nodes: its name, dashes as underscores.

    No two clusters have the same one, and no computeset has one of a cluster: whoever may choose a name must not get his nodes into
    somebody else's group.  Names have no underscore, so two in a row are free to separate them once repeated dashes are written otherwise.
    """
    group = _identifier(cluster)
    return f"_{group}" if group in _TAKEN else group


def computeset_group(cluster: str, computeset: str) -> str:
    """The group of a computeset's nodes, ``<cluster>__<computeset>``."""
    return f"{_identifier(cluster)}__{_identifier(computeset)}"


def _identifier(name: str) -> str:
    # Names are lower case, so a capital stands for nothing else.
    written = "".join("D" if char == "-" and before == "-" else char for before, char in zip(f" {name}", name))
    return written.replace("-", "_")


def _aged(raw: Mapping[str, Any], now: int) -> dict[str, Any]:
    """The same with the walltime that is left now."""
    past = max(0, now - int(raw["read_at"]))
    found = {kind: raw[kind] for kind in ("vault", "libvirt") if kind in raw}
    if "slurm" in raw:
        found["slurm"] = {"jobs": [_aged_job(job, past) for job in raw["slurm"]["jobs"]]}
    return found


def _aged_job(job: Mapping[str, Any], past: int) -> dict[str, Any]:
    left = job["remaining_seconds"]
    return {**job, "remaining_seconds": left if left is None or job["state"] == "pending" else max(0, left - past)}


@dataclass(frozen=True)
class Way:
    """How a cluster is entered: its frontend's public address or "", and ssh's arguments for its frontend and its computes."""

    gate: str
    arguments: Mapping[str, str]


def _way(cluster: Mapping[str, Any], access: Access) -> Way:
    """Every value that came from a source is checked: these words reach a shell."""
    gate = ""
    for node in cluster["nodes"]:
        if node["role"] == "frontend" and node.get("public"):
            gate = str(ipaddress.ip_interface(node["public"]["address"]).ip)
    # An agent that offers its keys first may use up the tries that a node allows.
    both = [*_ALIVE, *(["IdentitiesOnly=yes"] if access.private_key_file else [])]
    # A compute makes new host keys at every start; that nobody else answers at its address is the work of its host's flows.
    compute = [*_NO_HOST_KEYS, *both, *([f"ProxyCommand={_jump(gate, access)}"] if gate else [])]
    frontend = [*_FRONTEND_HOST_KEYS[access.frontend_host_keys], *both]
    return Way(gate, {"frontend": _as_options(frontend), "compute": _as_options(compute)})


def _as_options(settings: Sequence[str]) -> str:
    return shlex.join(word for setting in settings for word in ("-o", setting))


def _facts(row: Mapping[str, Any], cluster: Mapping[str, Any], node: Mapping[str, Any], read_at: int, stale: bool) -> dict[str, Any]:
    public = node.get("public") or {}
    return {
        "vc_cluster": row["cluster"],
        "vc_node": row["name"],
        "vc_role": row["role"],
        "vc_state": row["state"],
        "vc_computeset": row["computeset"],
        "vc_host": row["host"],
        "vc_mac": row["mac"],
        "vc_address": row["address"],
        "vc_public_address": str(public.get("address") or "").partition("/")[0],
        "vc_owner": cluster["owner"],
        "vc_account": row["account"],
        "vc_job_id": row["job_id"],
        "vc_left_seconds": row["left_seconds"],
        "vc_read_at": read_at,
        "vc_stale": stale,
    }


def _groups(row: Mapping[str, Any]) -> tuple[str, ...]:
    if row["role"] not in ROLES:
        raise ValueError(f"there is no role {names.shown(row['role'])}")
    found = ["vc_nodes", cluster_group(row["cluster"]), f"vc_role_{row['role']}", f"vc_state_{NodeState(row['state'])}"]
    if row["computeset"]:
        found.append(computeset_group(row["cluster"], names.computeset_name(row["computeset"])))
    return tuple(found)


def _connection(row: Mapping[str, Any], lease: Mapping[str, Any], way: Way, access: Access) -> dict[str, Any]:
    address = str(ipaddress.ip_address(row["address"]))
    target = way.gate if way.gate and row["role"] == "frontend" else address
    # Clusters may use the same addresses, and Ansible tells kept connections apart by address alone.  Every start has a new epoch.
    epoch = int(lease.get("epoch") or 0)
    kept = hashlib.sha256(f"{row['cluster']}/{row['name']} {epoch} {way.gate} {target} {access.user}".encode()).hexdigest()[:12]
    found = {
        "ansible_host": target,
        "ansible_user": access.user,
        "ansible_ssh_common_args": way.arguments[row["role"]],
        "ansible_control_path": f"%(directory)s/vc-{kept}",
    }
    if access.private_key_file:
        found["ansible_ssh_private_key_file"] = access.private_key_file
    return found


def _jump(gate: str, access: Access) -> str:
    """The command that ssh talks through.  Not ProxyJump: that takes neither the key nor the options of the outer ssh along."""
    jump = ["ssh", "-W", "%h:%p", "-o", "BatchMode=yes", "-o", "ConnectTimeout=10"]
    jump += [word for option in (*_FRONTEND_HOST_KEYS[access.frontend_host_keys], *_ALIVE) for word in ("-o", option)]
    if access.private_key_file:
        jump += ["-i", access.private_key_file.replace("%", "%%"), "-o", "IdentitiesOnly=yes"]
    return shlex.join([*jump, "-l", access.user.replace("%", "%%"), "--", gate])
