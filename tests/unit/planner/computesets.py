# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A cluster of one frontend and computes, jobs that claim it and jobs that only say so, and options as a play gives them."""

from __future__ import annotations

import json
from typing import Any

from ansible_collections.hpc.virtual_cluster.plugins.module_utils.slurm.jobs import Claim, Job


def cluster_dict(computes: int = 8, **changes: Any) -> dict[str, Any]:
    nodes = [node_dict("frontend", "frontend", 0, host="fe1", persistent=True)]
    nodes += [node_dict(f"compute{number}", "compute", number + 1) for number in range(computes)]
    cluster: dict[str, Any] = {
        "schema": 1,
        "name": "vc1",
        "owner": "labuser",
        "members": ["helper"],
        "account": "physics",
        "network": {"vni": 10001, "cidr": "10.11.0.0/24", "mtu": 1500},
        "pkey": "0x0001",
        "nodes": nodes,
    }
    return {**cluster, **changes}


def node_dict(name: str, role: str, index: int, **changes: Any) -> dict[str, Any]:
    node: dict[str, Any] = {
        "name": name,
        "role": role,
        "index": index,
        "mac": f"02:00:27:11:00:{index:02x}",
        "guid": f"0x02002711000000{index:02x}",
        "address": f"10.11.0.{index + 1}",
        "cpus": 2,
        "memory_mib": 512,
        "disk_mib": 0,
        "image": "debian12@r1",
        "persistent": False,
        "host": "",
        "public": None,
    }
    return {**node, **changes}


def options(**changes: Any) -> dict[str, Any]:
    given: dict[str, Any] = {
        "cluster": cluster_dict(),
        "name": "sim",
        "nodes": None,
        "count": None,
        "vms": None,
        "cpus": None,
        "memory": None,
        "ssh_authorized_keys": None,
        "walltime": None,
        "account": None,
        "per_host": None,
        "hosts": [],
        "exclude_hosts": [],
        "memory_overhead": "256MiB",
        "grace": "20s",
        "partition": None,
        "reservation": None,
        "qos": None,
        "state": "started",
        "wait": True,
        "wait_timeout": 600,
        "on_timeout": "leave",
    }
    return {**given, **changes}


def job(job_id: int, name: str = "sim", nodes: tuple[str, ...] = ("compute0", "compute1"), **changes: Any) -> Job:
    given: dict[str, Any] = {
        "job_id": job_id,
        "user_name": "labuser",
        "account": "physics",
        "name": f"vc-vc1-{name}",
        "states": frozenset({"RUNNING"}),
        "claim": Claim(changes.pop("cluster", "vc1"), name, ",".join(nodes), changes.pop("images", ("debian12@r1",))),
        "start_time": 1000,
        "time_limit_seconds": 3600,
    }
    return Job(**{**given, **changes})


def flood(count: int, **changes: str) -> str:
    """A queue that somebody has filled with claims of cluster vc1, each of which costs him 60 bytes."""
    comments = [json.dumps({"vc": "vc1", "set": "sim", "nodes": f"n[{number}-4000]", "v": 1}) for number in range(count)]
    given = {"user_name": "otheruser", "account": "chemistry", "job_state": "PENDING", **changes}
    return json.dumps({"jobs": [{**given, "job_id": number, "comment": text} for number, text in enumerate(comments, 1)]})
