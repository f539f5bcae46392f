# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The running OpenSM: which unit it is, how it sees the fabric, and how it is told to read its file again."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ..command import Commands
from ..model.errors import VcError
from ..model.names import shown

UNITS = "opensm*.service"
_TRIED = "finding OpenSM"
_UNIT = re.compile(r"(?!-)[A-Za-z0-9@:_.*?-]{1,200}\.service")
_GUID = re.compile(r"0x[0-9a-fA-F]{1,16}")
# Commands sets these itself.
_OWN = frozenset({"PATH", "LC_ALL", "LANGUAGE", "LANG"})


@dataclass(frozen=True)
class Daemon:
    """``port_guid`` is the port it manages the fabric from, empty when it chose one itself."""

    unit: str
    environment: Mapping[str, str]
    port_guid: str


def check_unit(option: str, pattern: str) -> None:
    """Refuse what can name no service on any host: VcError ``invalid``."""
    if not _UNIT.fullmatch(pattern):
        remedy = f"write its whole name, such as opensm.service, or a pattern such as {UNITS}"
        raise VcError("invalid", f"{option} {shown(pattern)}", _TRIED, "it is no name of a service", remedy)


def find(commands: Commands, pattern: str) -> Daemon:
    """The one running unit of this name or pattern.

    Raises VcError ``unreachable`` when none runs, ``conflict`` when several do or it cannot be reloaded.
    """
    argv = ["systemctl", "show", "--property=Id,MainPID,ActiveState,CanReload", "--", pattern]
    units = [dict(line.partition("=")[::2] for line in block.splitlines()) for block in commands.must(argv, pattern, _TRIED).split("\n\n")]
    running = [unit for unit in units if unit.get("ActiveState") in ("active", "reloading") and unit.get("MainPID", "0") != "0"]
    if not running:
        remedy = f"start it (`systemctl start {pattern.replace('*', '')}`, `journalctl -u '{pattern}'`) and run this again"
        raise VcError("unreachable", pattern, _TRIED, "it does not run on this host, nothing was written", remedy)
    if len(running) > 1:
        listed = ", ".join(sorted(unit["Id"] for unit in running))
        remedy = "say which one reads this file: ib_partition's unit, vc_info's opensm_unit, vc_opensm_unit for the playbooks"
        raise VcError("conflict", pattern, _TRIED, f"several run: {listed}", remedy)
    unit = running[0]
    if unit.get("CanReload") != "yes":
        remedy = "give it a drop-in with `[Service]` and `ExecReload=/bin/kill -HUP $MAINPID`, as role opensm does"
        raise VcError("conflict", unit["Id"], _TRIED, "systemd cannot reload it", remedy)
    process = Path("/proc") / unit["MainPID"]
    environment = dict(entry.partition("=")[::2] for entry in _entries(process / "environ", unit["Id"]))
    return Daemon(
        unit["Id"],
        {name: value for name, value in environment.items() if name and name not in _OWN},
        port_of(_entries(process / "cmdline", unit["Id"])),
    )


def reload(commands: Commands, daemon: Daemon) -> None:
    """Have it read its file again; it answers before it has.  VcError ``unreachable``."""
    done = commands.run(["systemctl", "reload", "--", daemon.unit])
    if done.status != 0:
        remedy = f"see `journalctl -u {daemon.unit}`, start it and run this again"
        raise VcError("unreachable", daemon.unit, "reloading it", done.last_line, remedy)


def port_of(words: list[str]) -> str:
    """The port GUID in OpenSM's command line."""
    for word, following in zip(words, [*words[1:], ""]):
        value = following if word in ("-g", "--guid") else word.partition("=")[2] if word.startswith("--guid=") else ""
        if _GUID.fullmatch(value):
            return f"0x{int(value, 16):016x}"
    return ""


def _entries(path: Path, unit: str) -> list[str]:
    try:
        return [entry for entry in path.read_bytes().decode("utf-8", "surrogateescape").split("\0") if entry]
    except OSError as error:
        detail = error.strerror or str(error)
        raise VcError("unreachable", unit, _TRIED, f"it ended just now: {detail}", "run this again as root") from None
