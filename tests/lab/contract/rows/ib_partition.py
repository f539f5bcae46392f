# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""OpenSM's partitions, beside the demo's own and an admin's, on ports of a network that no vault has given out."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from tests.lab import infiniband
from tests.lab.contract.station import on
from tests.lab.contract.subject import Change, Contract, Fault, Names, Refused, Trial
from tests.lab.infiniband import DROPIN, MANAGER, UNIT, node
from tests.lab.virtual_cluster import awaited

A, B, C, D = (node(10006, index) for index in range(4))
FIRST = {"name": "contract", "pkey": "0x0501", "guids": [A, B], "limited_guids": [C]}
SECOND = {"name": "contract-b", "pkey": "0x0502", "guids": [D]}
ADMIN = f"storage=0x0700 :\t{D}=full ; # an admin's own\n"
OTHER, NOSUCH = "/etc/opensm/contract.conf", "/etc/opensm/nosuch.conf"


@contextlib.contextmanager
def foreign() -> Iterator[Names]:
    """A partition of an admin's before our own, and a comment behind it."""
    before = infiniband.read()
    infiniband.write(f"{ADMIN}{before}# the end\n")
    infiniband.reload()
    awaited(lambda: "0x8700" in infiniband.keys(MANAGER, D)[D], "the admin's partition", 10)
    yield {}
    infiniband.write(before)
    infiniband.reload()
    awaited(lambda: "0x8700" not in infiniband.keys(MANAGER, D)[D], "the fabric without the admin's partition", 10)


@contextlib.contextmanager
def another_manager() -> Iterator[Names]:
    """OpenSM reads another file, and a second unit with a name of its kind runs."""
    dropin = f"[Service]\nExecStart=\nExecStart=/usr/sbin/opensm --guid %I --Pconfig {OTHER}\n"
    for suffix in ("", ".last-good"):
        on(MANAGER, "cp", f"{infiniband.FILE}{suffix}", f"{OTHER}{suffix}")
    on(MANAGER, "systemd-run", "-q", "--unit=opensm-contract", "--property=ExecReload=/bin/true", "sleep", "600")
    on(MANAGER, "mkdir", "-p", DROPIN.rpartition("/")[0])
    on(MANAGER, "tee", DROPIN, stdin=dropin)
    restart()
    yield {}
    on(MANAGER, "rm", DROPIN, OTHER, f"{OTHER}.last-good")
    on(MANAGER, "systemctl", "stop", "opensm-contract")
    restart()


def restart() -> None:
    on(MANAGER, "systemctl", "daemon-reload")
    on(MANAGER, "systemctl", "restart", UNIT)
    awaited(lambda: infiniband.keys(MANAGER, A) == {A: {"0x7fff"}}, "OpenSM answers", 20)


def fill(_names: Names) -> None:
    """An admin takes all places of one port's table, in the file only.  OpenSM writes keys with the lowest last byte first."""
    infiniband.write(infiniband.read() + "".join(f"full{key}={key << 8:#06x} : {D}=full ;\n" for key in range(0x01, 0x40) if key != 0x07))


def fill_and_reload(names: Names) -> None:
    fill(names)
    infiniband.reload()
    awaited(lambda: len(infiniband.keys(MANAGER, D)[D]) == 64, "the table is full", 20)


def empty(_names: Names) -> None:
    infiniband.write("".join(line for line in infiniband.read().splitlines(keepends=True) if not line.startswith("full")))
    infiniband.reload()
    awaited(lambda: len(infiniband.keys(MANAGER, D)[D]) < 4, "the table has places again", 20)


PARTITIONS = Trial(
    name="partitions",
    present={"partitions": [FIRST, SECOND], "wait_timeout": 4},
    absent={"partitions": [{"name": "contract", "state": "absent"}, {"name": "contract-b", "state": "absent"}]},
    changes=(
        Change("partitions[0].guids", [A]),
        Change("partitions[0].limited_guids", [B, C], shows=f"port {B} key 0x0501"),
        Change("partitions[0].ipoib", True, shows="group ff12:401b:8501::ffff:ffff"),
    ),
    refused=(
        Refused("partitions[0].pkey", "0x0509", "conflict", "a port that is in use would lose the key it has", "0x0501", fixed=True),
        Refused("partitions[2]", {"name": "contract-c", "pkey": "0x0001", "guids": [A]}, "conflict", "has a cluster's pkey", "vc1"),
        Refused("partitions[2]", {"name": "contract-c", "pkey": "0x0700", "guids": [A]}, "conflict", "has an admin's pkey", "line 1"),
        Refused("partitions[2]", {"name": "storage", "pkey": "0x0503", "guids": [A]}, "conflict", "has an admin's name", "line 1"),
        Refused(
            "partitions[2]", {"name": "contract-c", "pkey": "0x0503", "guids": ["0x1"]}, "invalid", "has no port GUID", "partitions[2]"
        ),
        Refused("wait_timeout", 0, "invalid", "a change that is never looked at is not verified"),
        Refused("path", NOSUCH, "unknown", "without its file OpenSM has opened the fabric already", NOSUCH),
        Refused("unit", "nosuch.service", "unreachable", "nobody would carry the change out", "nosuch.service"),
    ),
    faults=(
        Fault(
            "a port of one of two partitions has no place left in its table",
            "conflict",
            ("contract-b",),
            changed=False,
            first=fill_and_reload,
            after=empty,
        ),
        Fault(
            "the same, and OpenSM has not read yet what takes the places",
            "backend",
            ("contract-b",),
            first=fill,
            after=empty,
            unforeseen="the ports' own tables have places until then",
        ),
    ),
    prepare=foreign,
)

ANOTHER = Trial(
    name="another OpenSM",
    present={"partitions": [FIRST], "path": OTHER, "unit": UNIT, "wait_timeout": 5},
    absent={"partitions": [{"name": "contract", "state": "absent"}], "path": OTHER, "unit": UNIT},
    others={"path": f"port {A} key 0x8501", "unit": f"port {A} key 0x8501"},
    prepare=another_manager,
)

CONTRACT = Contract(
    host=MANAGER,
    dumps={MANAGER: ("fabric",)},
    trials=(PARTITIONS, ANOTHER),
    apart={
        "partitions[].name": "says which partition is meant",
        "partitions[].state": "is what absent changes",
        "wait_timeout": "says how long it looks; the second fault below shows it",
    },
    without={"kept": "nothing stands on a partition that it could tell: a port that is on the fabric need not be in use"},
)
