# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Inventory plugin vc_nodes against a plugin that only adds the same hosts, groups and variables."""

from __future__ import annotations

import json
import sys
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from benchmarks.measure import BenchError, Contender, race, run
from benchmarks.table import Table, seconds
from tests.unit.inventory.sources import cluster, entry, job, lease

ROOT = Path(__file__).resolve().parent.parent
PROGRAMS = Path(sys.executable).parent
SIZES = (100, 1000, 10000)
GOAL = 1.3
# Each virtual cluster has a frontend besides; all its computes run in one job.
COMPUTES = 99
TEXT = (
    "`ansible vc_nodes --list-hosts` with plugin `vc_nodes`, whose three sources are files that `cat` prints (no network is in it), "
    "and with a plugin that reads the finished hosts out of one JSON file; both end with the same hosts, groups and variables. "
    "Virtual clusters of 100 nodes, all running. Ansible's own start is in both."
)


def measure(directory: Path, rounds: int) -> Table:
    table = Table("Inventory", TEXT, ("nodes", "`vc_nodes`", "bare plugin", "ratio"), f"at most {GOAL} times the bare plugin")
    for size in SIZES:
        ours, bare = _prepare(directory / f"inventory-{size}", size)
        times = race([Contender("ours", partial(_read, ours)), Contender("bare", partial(_read, bare))], rounds)
        ratio = times["ours"] / times["bare"]
        table.add((str(size), seconds(times["ours"]), seconds(times["bare"]), f"{ratio:.2f}"), ratio <= GOAL)
    return table


def _prepare(directory: Path, size: int) -> tuple[Path, Path]:
    """The two inventory files.  BenchError when they are not the same inventory."""
    directory.mkdir(parents=True)
    names = [f"vc{number}" for number in range(size // (COMPUTES + 1))]
    entries = {name: _entry(name, place) for place, name in enumerate(names, 1)}
    jobs = [job(place, f"compute[0-{COMPUTES - 1}]", vc=name) for place, name in enumerate(names, 1)]
    answers: dict[str, Any] = {
        "vault": {"clusters": entries},
        "slurm": {"jobs": jobs},
        "libvirt": {"frontends": [{"cluster": name, "node": "frontend", "state": "running"} for name in names]},
    }
    sources = {}
    for kind, answer in answers.items():
        (directory / kind).write_text(json.dumps(answer), encoding="utf-8")
        sources[kind] = {"local": True, "command": ["cat", str(directory / kind)]}
    ours, bare = directory / "ours.vc_nodes.yml", directory / "bare.yml"
    options = {"plugin": "hpc.virtual_cluster.vc_nodes", "sources": {**sources, "libvirt": [sources["libvirt"]]}}
    ours.write_text(yaml.safe_dump(options), encoding="utf-8")
    listed = json.loads(_list(ours))
    (directory / "hosts.json").write_text(json.dumps(_finished(listed)), encoding="utf-8")
    bare.write_text(yaml.safe_dump({"plugin": "bare", "hosts_file": str(directory / "hosts.json")}), encoding="utf-8")
    if len(listed["_meta"]["hostvars"]) != size or json.loads(_list(bare)) != listed:
        raise BenchError(f"the two inventories of {size} nodes differ")
    return ours, bare


def _entry(name: str, place: int) -> dict[str, Any]:
    made = cluster(COMPUTES, name=name)
    return entry(made, *(lease(f"compute{number}", place, cluster=name) for number in range(COMPUTES)))


def _finished(listed: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The hosts of a listing, in its order, with their variables and groups."""
    variables = listed["_meta"]["hostvars"]
    hosts: dict[str, dict[str, Any]] = {name: {"variables": _plain(variables[name]), "groups": []} for name in listed["vc_nodes"]["hosts"]}
    for group, content in listed.items():
        if group not in ("_meta", "all"):
            for name in content["hosts"]:
                hosts[name]["groups"].append(group)
    return hosts


def _plain(variables: dict[str, Any]) -> dict[str, Any]:
    """The same without the listing's mark on every text that is no template."""
    return {name: value["__ansible_unsafe"] if isinstance(value, dict) else value for name, value in variables.items()}


def _list(path: Path) -> str:
    return _run("ansible-inventory", path, "--list")


def _read(path: Path) -> str:
    """What every command of Ansible spends on an inventory; printing all of it would take more than reading it."""
    return _run("ansible", path, "vc_nodes", "--list-hosts")


def _run(program: str, path: Path, *words: str) -> str:
    settings = {
        "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".cache" / "collections"),
        "ANSIBLE_INVENTORY_PLUGINS": str(ROOT / "benchmarks" / "plugins"),
        "ANSIBLE_INVENTORY_ENABLED": "hpc.virtual_cluster.vc_nodes,bare",
        "ANSIBLE_INVENTORY_ANY_UNPARSED_IS_FAILED": "1",
        "ANSIBLE_LOCALHOST_WARNING": "0",
    }
    return run([str(PROGRAMS / program), "-i", str(path), *words], settings)
