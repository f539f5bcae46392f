# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""``vc-probe``: what this host can do, found out once per kernel and QEMU release.  Prints one JSON object; run by the roles."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..command import Commands
from ..model.errors import VcError
from . import accelerator

_STATE = Path("/var/lib/hpc-virtual-cluster/probe.json")
_OVS_MODULE = Path("/sys/module/openvswitch")


def datapath(commands: Commands, loaded: Path = _OVS_MODULE) -> str:
    """``system`` when the kernel has Open vSwitch's datapath or can load it, else ``netdev``."""
    if loaded.is_dir():
        return "system"
    try:
        return "system" if commands.run(["modprobe", "--quiet", "openvswitch"]).status == 0 else "netdev"
    except VcError:
        return "netdev"


def releases(commands: Commands) -> dict[str, str]:
    """What the findings depend on: the kernel, QEMU, and whether there is a KVM device."""
    try:
        qemu = commands.run([accelerator.QEMU, "--version"]).out.partition("\n")[0]
    except VcError:
        qemu = ""
    return {"kernel": os.uname().release, "qemu": qemu, "kvm": "present" if Path("/dev/kvm").exists() else "absent"}


def recall(path: Path, current: Mapping[str, str]) -> dict[str, Any]:
    """What was found before on the same kernel and QEMU; empty when that has to be found out again."""
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return dict(known) if isinstance(known, dict) and known.get("releases") == dict(current) else {}


def main(argv: Sequence[str]) -> int:
    """Print ``{accelerator, reason, datapath, releases, changed}``; `changed` tells that it was found out just now."""
    parser = argparse.ArgumentParser(
        prog="vc-probe", description="Find out whether guests start under KVM here, and what Open vSwitch can use."
    )
    parser.add_argument("--again", action="store_true", help="do not believe what was found before")
    parser.add_argument("--forget", action="store_true", help="do not keep what is found")
    parser.add_argument("--kernel", type=Path, help="kernel to boot as the guest (default: the host's own)")
    parser.add_argument("--state", type=Path, default=_STATE, help="where findings are kept (default: %(default)s)")
    options = parser.parse_args(list(argv))
    commands = Commands()
    current = releases(commands)
    known = {} if options.again else recall(options.state, current)
    changed = not known
    if changed:
        finding = accelerator.find(commands, options.kernel)
        known = {"accelerator": finding.accelerator, "reason": finding.reason, "datapath": datapath(commands), "releases": current}
        if not options.forget:
            options.state.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
            options.state.write_text(json.dumps(known, sort_keys=True, indent=1) + "\n", encoding="utf-8")
    sys.stdout.write(json.dumps({**known, "changed": changed}, sort_keys=True) + "\n")
    return 0
