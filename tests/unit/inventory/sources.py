# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A site that an inventory is made of: commands of this machine that print what a vault, Slurm and a frontend host would."""

from __future__ import annotations

import json
import pathlib
import time
from collections.abc import Sequence
from typing import Any

import yaml
from ansible.inventory.manager import InventoryManager
from ansible.parsing.dataloader import DataLoader

from tests.unit.planner.computesets import cluster_dict


def lease(node: str, job_id: int = 42, state: str = "running", host: str = "hv1", **changes: Any) -> dict[str, Any]:
    holder = {"kind": "job", "host": host, "job_id": job_id, "restart_count": 0, "user": "labuser", "account": "physics", "since": "then"}
    return {"cluster": "vc1", "node": node, "epoch": 3, "state": state, "holder": holder, **changes}


def cluster(computes: int = 3, **changes: Any) -> dict[str, Any]:
    """A resolved cluster whose frontend has a public address."""
    made = cluster_dict(computes, **changes)
    made["nodes"][0]["public"] = {"bridge": "br-public", "address": "192.0.2.101/24", "gateway": ""}
    for node in made["nodes"]:
        node["address"] = f"10.11.{(node['index'] + 1) // 256}.{(node['index'] + 1) % 256}"
    return made


def entry(made: dict[str, Any], *leases: dict[str, Any]) -> dict[str, Any]:
    free = {node["name"]: {"epoch": 0, "state": "off", "holder": None} for node in made["nodes"]}
    return {"cluster": made, "leases": {**free, **{held["node"]: held for held in leases}}, "disks": {}}


def job(job_id: int = 42, nodes: str = "compute[0-1]", name: str = "sim", vc: str = "vc1", **changes: Any) -> dict[str, Any]:
    """A job as squeue 22.05 prints it, as far as anybody reads it."""
    comment = json.dumps({"vc": vc, "set": name, "nodes": nodes, "v": 1, "images": "debian12@r1"})
    times = {"end_time": int(time.time()) + 3600, "time_limit": 360}
    given = {"job_id": job_id, "user_name": "labuser", "account": "physics", "job_state": "RUNNING", "comment": comment, "nodes": "hv[1-2]"}
    return {**given, **times, **changes}


class Site:
    """Sources as files in a directory; each `cat` of one leaves a line in `calls`."""

    def __init__(self, directory: pathlib.Path) -> None:
        self.directory = directory
        self.path = directory / "site.vc_nodes.yml"
        self.calls_file = directory / "calls"
        self.vault(entry(cluster(), lease("compute0"), lease("compute1", host="hv2")))
        self.slurm(job())
        self.libvirt({"cluster": "vc1", "node": "frontend", "state": "running"})

    def vault(self, *entries: dict[str, Any]) -> None:
        self.say("vault", {"clusters": {made["cluster"]["name"]: made for made in entries}, "claims": {}, "goldens": {}, "exports": {}})

    def slurm(self, *jobs: dict[str, Any]) -> None:
        self.say("slurm", {"jobs": list(jobs)})

    def libvirt(self, *frontends: dict[str, Any]) -> None:
        self.say("libvirt", {"frontends": list(frontends)})

    def say(self, kind: str, answer: Any) -> None:
        (self.directory / kind).write_text(answer if isinstance(answer, str) else json.dumps(answer), encoding="utf-8")

    def source(self, kind: str) -> dict[str, Any]:
        return {"local": True, "command": ["sh", "-c", 'echo "$1" >> "$0/calls" && exec cat "$0/$1"', str(self.directory), kind]}

    def calls(self) -> list[str]:
        return sorted(self.calls_file.read_text(encoding="utf-8").split()) if self.calls_file.exists() else []

    def write(self, **options: Any) -> None:
        sources = {"vault": self.source("vault"), "slurm": self.source("slurm"), "libvirt": [self.source("libvirt")]}
        content = {"plugin": "hpc.virtual_cluster.vc_nodes", "sources": sources, **options}
        self.path.write_text(yaml.safe_dump(content), encoding="utf-8")

    def cached(self, **options: Any) -> dict[str, Any]:
        keeps = {"cache": True, "cache_plugin": "jsonfile", "cache_connection": str(self.directory / "cache")}
        return {**keeps, "cache_timeout": 600, **options}

    def cache_file(self) -> pathlib.Path:
        (found,) = (self.directory / "cache").iterdir()
        return found

    def kept(self) -> dict[str, Any]:
        """What the plugin gave to the cache, out of Ansible's wrapping."""
        found: dict[str, Any] = json.loads(json.loads(self.cache_file().read_text())["__payload__"])
        return found

    def keep(self, entry: dict[str, Any]) -> None:
        wrapping = json.loads(self.cache_file().read_text())
        self.cache_file().write_text(json.dumps({**wrapping, "__payload__": json.dumps(entry)}))

    def inventory(self, **options: Any) -> InventoryManager:
        """What Ansible makes of the file with these options."""
        self.write(**options)
        return self.read()

    def read(self, cache: bool = True, sources: Sequence[str] = ()) -> InventoryManager:
        return InventoryManager(loader=DataLoader(), sources=[str(self.path), *sources], cache=cache)


def groups_of(inventory: InventoryManager, host: str) -> set[str]:
    return {group.name for group in inventory.get_host(host).get_groups()} - {"all"}


def members(inventory: InventoryManager, group: str) -> list[str]:
    return sorted(host.name for host in inventory.groups[group].get_hosts())
