# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""From a change of a partition to the ports that show it: module ib_partition against an edit by hand, SIGHUP and a look at the ports."""

from __future__ import annotations

import json
import time
from functools import partial
from pathlib import Path
from typing import Any

from ansible_collections.hpc.virtual_cluster.plugins.module_utils.fabric.document import Partition, render_block
from vclab.infiniband import LIBRARY

from benchmarks.measure import BenchError, Contender, race, run
from benchmarks.table import Table, seconds
from tests.lab.host import ANSIBLE, BIN, INVENTORY, LAB, attempt, on

ROOT = Path(__file__).resolve().parent.parent
SIZES = (4, 320, 640)
GOAL = 1.5
TEXT = (
    "A new partition with that many full members, from the start of `ansible-playbook` until every port shows the key in its own "
    "table; by `ib_partition`, and by one task whose program puts a finished file in place, sends SIGHUP to OpenSM and asks all ports"
    " every 20 ms (the floor). A real OpenSM on a fabric that ibsim simulates, of 641 ports on 4 switches, on "
    "lab host head, over ssh. The module besides reads the file and all ports before, writes durably, remembers what was good, and "
    "reads back."
)
HOST, PLACE, PORT, KEY = "head", "/run/vc-bench", 7090, "0x0123"
HCAS, SWITCHES, SWITCH_PORTS = 640, 4, 200
MANAGER = "0x0002c9ab00000001"
DEFAULT = "Default=0x7fff, ipoib :\n  SELF=full ;\n"
# What makes a program see the fabric, from the subnet manager's port.
SEES = ("SIM_HOST=manager", "IBSIM_SERVER_NAME=127.0.0.1", f"IBSIM_SERVER_PORT={PORT}", f"LD_PRELOAD={LIBRARY}")
READY_SECONDS = 60
UNITS = {
    "fabric": f"""[Service]
ExecStart=/usr/bin/ibsim -s -n -r -l {PORT} -N 1024 -S 16 -P 4096 {PLACE}/fabric
""",
    "opensm": f"""[Unit]
Requires=vc-bench-fabric.service
After=vc-bench-fabric.service
StartLimitIntervalSec=0
[Service]
Environment={" ".join(SEES)}
Environment=OSM_CACHE_DIR={PLACE} OSM_TMP_DIR={PLACE}
ExecStart=/usr/sbin/opensm --guid {MANAGER} --log_file {PLACE}/opensm.log -P {PLACE}/partitions.conf
ExecReload=/bin/kill -HUP $MAINPID
Restart=on-failure
RestartSec=1
""",
}


def guid(number: int) -> str:
    return f"0x0002c9aa{number:08x}"


def measure(directory: Path, rounds: int) -> Table:
    run([str(LAB), "up", "--hosts", HOST])
    table = Table(
        "Partitions",
        TEXT,
        ("ports", "`ib_partition`", "by hand", "start of Ansible", "ratio", "ratio without start"),
        f"at most {GOAL} times the floor",
    )
    try:
        pid = _start()
        for size in SIZES:
            times = race(_ways(directory, size, pid), rounds)
            alone = race([Contender("start", partial(_play, directory, "start", {}))], rounds)["start"]
            module, floor = times["module"], times["floor"]
            ratio, past = module / floor, (module - alone) / (floor - alone)
            table.add((str(size), seconds(module), seconds(floor), seconds(alone), f"{ratio:.2f}", f"{past:.2f}"), ratio <= GOAL)
    finally:
        _stop()
    return table


def topology() -> str:
    """A chain of switches in ibsim's words; it numbers an adapter's port from the adapter's own GUID."""
    lines: list[str] = []
    named = [("manager", MANAGER), *((f"h{number}", guid(2 * number + 1)) for number in range(HCAS))]
    share = -(-len(named) // SWITCHES)
    for place in range(SWITCHES):
        mine = named[place * share : (place + 1) * share]
        lines += [f"switchguid=0x0002c9ac{place:08x}", f'Switch {SWITCH_PORTS} "s{place}"']
        lines += [f'[{port}]\t"{name}"[1]' for port, (name, _guid) in enumerate(mine, 1)]
        if place:
            lines.append(f'[{SWITCH_PORTS - 1}]\t"s{place - 1}"[{SWITCH_PORTS}]')
        if place + 1 < SWITCHES:
            lines.append(f'[{SWITCH_PORTS}]\t"s{place + 1}"[{SWITCH_PORTS - 1}]')
        lines.append("")
        for port, (name, port_guid) in enumerate(mine, 1):
            lines += [
                "vendid=0x2c9",
                "devid=0x1003",
                f"caguid=0x{int(port_guid, 16) - 1:016x}",
                f'Hca 1 "{name}"',
                f'[1]\t"s{place}"[{port}]',
                "",
            ]
    return "\n".join(lines)


def _start() -> str:
    """The fabric and its OpenSM, once it manages all ports; the pid."""
    on(HOST, "mkdir", "-p", PLACE)
    files = {"fabric": topology(), "partitions.conf": DEFAULT, "query.py": _source("plugins/module_utils/fabric/query.py")}
    files["floor.py"] = _source("benchmarks/floor_partition.py")
    for name, text in files.items():
        on(HOST, "tee", f"{PLACE}/{name}", stdin=text)
    for name, text in UNITS.items():
        on(HOST, "tee", f"/run/systemd/system/vc-bench-{name}.service", stdin=text)
    on(HOST, "systemctl", "daemon-reload")
    on(HOST, "systemctl", "start", "vc-bench-opensm.service")
    last = guid(2 * HCAS - 1)
    until = time.monotonic() + READY_SECONDS
    # The default partition is at every port once OpenSM has configured it.
    asked = json.dumps({"ports": {last: [["0x7fff"], []]}, "seconds": READY_SECONDS, "places": {}})
    look = ["env", *SEES, "/usr/bin/python3", "-I", f"{PLACE}/query.py", MANAGER]
    while "0x7fff" not in attempt(HOST, *look, stdin=asked, timeout=2 * READY_SECONDS).stdout:
        if time.monotonic() > until:
            raise BenchError(f"OpenSM does not manage {HCAS} ports within {READY_SECONDS} s; see {PLACE}/opensm.log on {HOST}")
        time.sleep(0.5)
    return on(HOST, "systemctl", "show", "--value", "--property=MainPID", "vc-bench-opensm.service").strip()


def _stop() -> None:
    on(HOST, "systemctl", "stop", "vc-bench-opensm.service", "vc-bench-fabric.service")
    on(HOST, "rm", "-rf", PLACE, *(f"/run/systemd/system/vc-bench-{name}.service" for name in UNITS))
    on(HOST, "systemctl", "daemon-reload")


def _ways(directory: Path, size: int, pid: str) -> list[Contender]:
    guids = [guid(2 * number + 1) for number in range(size)]
    wish = {"name": "bench", "pkey": KEY, "guids": guids}
    made = Partition("bench", KEY, tuple(sorted(guids)), (), False)
    on(HOST, "tee", f"{PLACE}/text", stdin=DEFAULT + render_block({"bench": made}))
    on(HOST, "tee", f"{PLACE}/guids", stdin="\n".join(guids))
    words = [f"{PLACE}/{name}" for name in ("floor.py", "query.py", "partitions.conf", "text")]
    key = f"0x{int(KEY, 16) | 0x8000:04x}"
    floor = ["env", *SEES, "/usr/bin/python3", "-I", *words, pid, MANAGER, key, f"{PLACE}/guids"]
    away = partial(_play, directory, "partitions_module", {"partitions": [{"name": "bench", "state": "absent"}]})
    return [
        Contender("module", partial(_play, directory, "partitions_module", {"partitions": [wish]}), away),
        Contender("floor", partial(_play, directory, "partitions_floor", {"floor": floor}), away),
    ]


def _play(directory: Path, name: str, variables: dict[str, Any]) -> str:
    given = directory / "variables.json"
    given.write_text(json.dumps(variables), encoding="utf-8")
    playbook = ROOT / "benchmarks" / "plays" / f"{name}.yml"
    said = run([str(BIN / "ansible-playbook"), "-i", str(INVENTORY), "--limit", HOST, "-e", f"@{given}", str(playbook)], ANSIBLE)
    if "ok=1" not in said:
        raise BenchError(f"{name} did nothing\n{said}")
    return said


def _source(path: str) -> str:
    return (ROOT / path).read_text(encoding="utf-8")
