# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Looks at the lab's fabric with infiniband-diags, from any adapter's own port; knows nothing of the collection."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Iterator, Sequence

from tests.lab.host import ROOT, on, python

sys.path.insert(0, str(ROOT / "molecule" / "lab"))

from vclab import infiniband as simulated

MANAGER = simulated.SERVER.name
UNIT = f"opensm@{simulated.host_guid(simulated.SERVER)}.service"
FILE = "/etc/opensm/partitions.conf"
DROPIN = "/run/systemd/system/opensm@.service.d/zz-proof.conf"

# Everything that one look wants to know, in one process on the host.
LOOK = """
import json, subprocess, sys
tables, paths, groups, variables = json.loads(sys.argv[1])
def asked(adapter, *argv):
    seen = {**variables, "PATH": "/usr/sbin:/usr/bin"}
    return subprocess.run(argv, env={**seen, "SIM_HOST": adapter} if adapter else seen, capture_output=True, text=True).stdout
def keys(guid):
    argv = ["smpquery", "-G", "pkeys", guid, "1"] if guid else ["smpquery", "-D", "pkeys", "0", "1"]
    rows = [line.partition(":")[2].split() for line in asked("", *argv).splitlines() if line.strip()[:1].isdigit() and ":" in line]
    return sorted({key for row in rows for key in row} - {"0x0000"})
def lid(*argv):
    return asked(*argv).partition("\\nLid:")[2].partition("\\n")[0].strip(".")
found = []
for adapter, target, key in paths:
    here, there = lid(adapter, "smpquery", "-D", "portinfo", "0", "1"), lid("", "smpquery", "-G", "portinfo", target, "1")
    assert here.isdigit() and there.isdigit(), (here, there)
    found.append("PathRecord dump" in asked(adapter, "saquery", "PR", "--slid", here, "--dlid", there, "--pkey", key))
told = [group in asked(adapter, "saquery", "MCMR", "--mgid", group) for adapter, group in groups]
print(json.dumps([{guid: keys(guid) for guid in tables}, found, told]))
"""
# The port of the host that looks.
OWN = ""


def node(vni: int, index: int) -> str:
    return simulated.node_guid(vni, index)


def look(
    host: str, guids: Sequence[str], paths: Sequence[tuple[str, str, str]] = (), groups: Sequence[tuple[str, str]] = ()
) -> tuple[dict[str, set[str]], list[bool], list[bool]]:
    """The pkey tables of these ports, whether there are these paths (adapter that asks, port, key), and groups (adapter, MGID)."""
    tables, found, told = python(host, LOOK, json.dumps([guids, paths, groups, simulated.environment(host)]))
    return {guid: set(keys) for guid, keys in tables.items()}, found, told


def keys(host: str, *guids: str) -> dict[str, set[str]]:
    return look(host, guids)[0]


def read() -> str:
    return on(MANAGER, "cat", FILE)


def write(text: str) -> None:
    """As an admin's editor would, and nothing else."""
    on(MANAGER, "tee", FILE, stdin=text)


def reload() -> None:
    on(MANAGER, "systemctl", "reload", UNIT)


@contextlib.contextmanager
def reload_is(command: str) -> Iterator[None]:
    """OpenSM's unit does this instead of having it read its file."""
    script = f"mkdir -p {DROPIN.rpartition('/')[0]} && cat > {DROPIN} && systemctl daemon-reload"
    on(MANAGER, "sh", "-c", script, stdin=f"[Service]\nExecReload=\nExecReload={command}\n")
    try:
        yield
    finally:
        on(MANAGER, "sh", "-c", f"rm {DROPIN} && systemctl daemon-reload")
