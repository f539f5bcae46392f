# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whatever text stands in whatever option: refused before the first write, with the item and the remedy, without a traceback.

The options come from the modules' own documentation, so a new option is attacked from the day it is documented.
"""

from __future__ import annotations

import copy
import functools
import json
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from tests.lab import in_process, snapshot, vault
from tests.lab.host import ANSIBLE, BIN, ROOT, finished, on
from tests.lab.virtual_cluster import VirtualCluster

OWNED = "/tmp/vc-proof-owned"
HOSTILE = (
    f"vc1;touch {OWNED}",
    f"$(touch {OWNED})",
    "../../../etc/passwd",
    "vc1\nvc2",
    "a" * 200,
    "v\u010d\u2603",
    "--help",
)
GROUP = {"nodes": "compute[0-1]", "cpus": 1, "memory": "128MiB", "disk": "1GiB", "source": {"image": "tiny"}, "address": "10.14.0.9"}
FRONTEND = {
    "host": "fe1",
    "cpus": 1,
    "memory": "128MiB",
    "source": {"image": "tiny"},
    "public": {"bridge": "br-public", "address": "10.79.0.9/24"},
}
CLUSTER = {
    "name": "hostile",
    "owner": "labuser",
    "account": "physics",
    "network": {"cidr": "10.14.0.0/24"},
    "frontend": FRONTEND,
    "computes": [GROUP],
}
# Where each module runs, as whom, and calls that are accepted; "@cluster" stands for a resolved cluster.
CALLS: dict[str, tuple[str, str, tuple[dict[str, Any], ...]]] = {
    "image_vault": (
        "nas",
        "",
        (
            {"goldens": [{"name": "hostile", "source": "/srv/images/tiny.raw"}]},
            {"disks": [{"cluster": "vc1", "node": "frontend"}]},
            {"snapshots": [{"cluster": "vc1", "node": "frontend", "name": "hostile", "state": "absent"}]},
            {"isos": [{"name": "hostile.iso", "source": "/etc/debian_version"}]},
        ),
    ),
    "ib_partition": ("head", "", ({"partitions": [{"name": "hostile", "pkey": "0x0fff", "guids": ["0x0200271100000f00"]}]},)),
    "vc_cluster": ("nas", "", (CLUSTER,)),
    "vc_computeset": (
        "head",
        "labuser",
        (
            {"cluster": "@cluster", "name": "hostile", "nodes": "compute0", "wait": False},
            {"vms": "tiny:1", "ssh_authorized_keys": [], "cpus": 1, "memory": "128MiB", "name": "hostile", "wait": False},
        ),
    ),
    "vc_frontend": ("fe1", "", ({"cluster": "@cluster", "wait": False},)),
    "ovs_vxlan": ("fe1", "", ({"networks": [{"name": "hostile", "vni": 19999}]},)),
    "vc_info": ("head", "labuser", ({"gather": ["slurm"]},)),
    "vc_power": ("fe1", "", ({"cluster": "@cluster", "nodes": "frontend", "state": "powered_on"},)),
}
MODULES = sorted(path.stem for path in (ROOT / "plugins" / "modules").glob("*.py"))
Path = tuple[Any, ...]


@functools.cache
def documented() -> dict[str, dict[str, Any]]:
    """The options of every module, as Ansible reads them."""
    names = [f"hpc.virtual_cluster.{module}" for module in MODULES]
    done = finished([str(BIN / "ansible-doc"), "-t", "module", "-j", *names], env=ANSIBLE)
    return {name.rpartition(".")[2]: described["doc"]["options"] for name, described in json.loads(done.stdout).items()}


def text_options(options: Mapping[str, Any], base: Path = ()) -> Iterator[Path]:
    """Where text may stand: the path to each string option, through lists by their first element."""
    for name, option in options.items():
        place = (*base, name)
        if "choices" in option:
            continue
        if option["type"] in ("str", "path", "raw"):
            yield place
        elif option["type"] == "list":
            if "suboptions" in option:
                yield from text_options(option["suboptions"], (*place, 0))
            else:
                yield (*place, 0)
        elif option["type"] == "dict" and "suboptions" in option:
            yield from text_options(option["suboptions"], place)


def leaves(value: Any, base: Path = ()) -> Iterator[Path]:
    """The path to each text inside an object that is passed on whole."""
    if isinstance(value, str):
        yield base
    elif isinstance(value, dict):
        for name, part in value.items():
            yield from leaves(part, (*base, name))
    elif isinstance(value, list):
        for number, part in enumerate(value):
            yield from leaves(part, (*base, number))


def placed(base: Mapping[str, Any], path: Path, value: str) -> dict[str, Any]:
    """A copy of `base` with the value at the path; what is missing on the way is made."""
    result: dict[str, Any] = copy.deepcopy(dict(base))
    spot: Any = result
    for step, following in zip(path, path[1:]):
        empty: Any = [] if isinstance(following, int) else {}
        if isinstance(step, int):
            while len(spot) <= step:
                spot.append(copy.deepcopy(empty))
        elif spot.get(step) is None:
            spot[step] = empty
        spot = spot[step]
    if isinstance(path[-1], int):
        spot[path[-1] : path[-1] + 1] = [value]
    else:
        spot[path[-1]] = value
    return result


def complaint(case: str, status: int, said: str, value: str, path: Path) -> str:
    """What is wrong with an answer to hostile input; empty when it is as it has to be."""
    try:
        answer = json.loads(said.strip().splitlines()[-1])
    except (ValueError, IndexError):
        return f"{case}: no answer but {said[-600:]}"
    message = str(answer.get("msg", ""))
    if "Traceback" in said:
        return f"{case}: a traceback: {said[-1500:]}"
    if status == 0 or not answer.get("failed"):
        return f"{case}: accepted"
    if answer.get("changed"):
        return f"{case}: refused after a change"
    named = [str(step) for step in path if isinstance(step, str)][-1]
    if named not in message and ascii(value)[1:7].partition("\\")[0] not in message:
        return f"{case}: the message does not name the item: {message}"
    if "Remedy:" not in message and answer.get("error_code"):
        return f"{case}: no remedy: {message}"
    if not answer.get("error_code"):
        return f"{case}: no error code: {message}"
    return ""


def calls_of(module: str, cluster: Mapping[str, Any]) -> tuple[str, str, list[dict[str, Any]]]:
    host, user, bases = CALLS[module]
    return host, user, [{name: cluster if value == "@cluster" else value for name, value in base.items()} for base in bases]


def attacks_on(options: Mapping[str, Any], bases: list[dict[str, Any]]) -> Iterator[tuple[Path, str, dict[str, Any]]]:
    """Every place with every text, put into the call that has this option; without one, into the first."""
    paths = list(text_options(options))
    if options.get("cluster", {}).get("type") == "dict":
        paths += [("cluster", *leaf) for leaf in leaves(bases[0]["cluster"])]
    for path in paths:
        base = next((base for base in bases if path[0] in base), bases[0])
        for value in HOSTILE:
            yield path, value, placed(base, path, value)


@pytest.mark.usefixtures("demo")
@pytest.mark.parametrize("module", MODULES)
def test_hostile_text_is_refused_everywhere(small: VirtualCluster, module: str) -> None:
    # The demo's cluster has a frontend, the small one has none.
    resolved = vault.resolved("vc1") if module in ("vc_frontend", "vc_power") else small.resolved
    host, user, bases = calls_of(module, resolved)
    attacks = list(attacks_on(documented()[module], bases))
    before = snapshot.take_quiet()
    fine = in_process.calls(host, module, [{**base, "_ansible_check_mode": True} for base in bases], user)
    answers = in_process.calls(host, module, [args for _path, _value, args in attacks], user)
    assert [said for status, said in fine if status != 0] == [], "the unharmed call is refused too, so a refusal would prove nothing"
    found = [complaint(f"{module} {path} = {value[:30]!r}", *answer, value, path) for (path, value, _args), answer in zip(attacks, answers)]
    assert len(answers) == len(attacks) > 0
    assert [text for text in found if text] == []
    snapshot.unchanged(before, timeout=5)
    assert on(host, "sh", "-c", f"ls {OWNED} 2>/dev/null || true") == ""
