# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""OpenSM's partitions, beside the demo's own and an admin's, on ports of a network that no vault has given out."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from tests.lab import infiniband
from tests.lab.contract.subject import Change, Contract, Fault, Names, Refused, Trial
from tests.lab.infiniband import MANAGER, node

A, B, C, D = (node(10006, index) for index in range(4))
FIRST = {"name": "contract", "pkey": "0x0501", "guids": [A, B], "limited_guids": [C]}
SECOND = {"name": "contract-b", "pkey": "0x0502", "guids": [D]}
ADMIN = f"storage=0x0700 :\t{D}=full ; # an admin's own\n"
OTHER = "/etc/opensm/contract.conf"


@contextlib.contextmanager
def foreign() -> Iterator[Names]:
    """A partition of an admin's before our own, and a comment behind it."""
    before = infiniband.read()
    infiniband.write(f"{ADMIN}{before}# the end\n")
    infiniband.reload()
    yield {}
    infiniband.write(before)
    infiniband.reload()


def full(_names: Names) -> None:
    """No place is left in one port's table."""
    infiniband.write(infiniband.read() + "".join(f"full{number}={number:#06x} : {D}=full ;\n" for number in range(0x600, 0x63E)))
    infiniband.reload()


def not_full(_names: Names) -> None:
    infiniband.write("".join(line for line in infiniband.read().splitlines(keepends=True) if not line.startswith("full")))
    infiniband.reload()


PARTITIONS = Trial(
    name="partitions",
    present={"partitions": [FIRST, SECOND], "wait_timeout": 2},
    absent={"partitions": [{"name": "contract", "state": "absent"}, {"name": "contract-b", "state": "absent"}]},
    changes=(
        Change("partitions[0].guids", [A]),
        Change("partitions[0].limited_guids", [B, C], shows=f"port {B} key 0x0501"),
        Change("partitions[0].ipoib", True, shows="group ff12:401b:8501::ffff:ffff"),
    ),
    refused=(
        Refused("partitions[0].pkey", "0x0509", "conflict", "a port that is in use would lose the key it has", "0x0501"),
        Refused("partitions[2]", {"name": "contract-c", "pkey": "0x0001", "guids": [A]}, "conflict", "has a cluster's pkey", "vc1"),
        Refused("partitions[2]", {"name": "contract-c", "pkey": "0x0700", "guids": [A]}, "conflict", "has an admin's pkey", "line 1"),
        Refused("partitions[2]", {"name": "storage", "pkey": "0x0503", "guids": [A]}, "conflict", "has an admin's name", "line 1"),
        Refused(
            "partitions[2]", {"name": "contract-c", "pkey": "0x0503", "guids": ["0x1"]}, "invalid", "has no port GUID", "partitions[2]"
        ),
        Refused("wait_timeout", 0, "invalid", "a change that is never looked at is not verified"),
        Refused("path", OTHER, "unknown", "without its file OpenSM has opened the fabric already", OTHER),
        Refused("unit", "nosuch.service", "unreachable", "nobody would carry the change out", "nosuch.service"),
    ),
    faults=(
        Fault(
            "a port of one of two partitions has no place left in its table",
            "backend",
            ("contract-b",),
            first=full,
            after=not_full,
        ),
    ),
    prepare=foreign,
)

CONTRACT = Contract(
    host=MANAGER,
    dumps={MANAGER: ("fabric",)},
    trials=(PARTITIONS,),
    apart={
        "partitions[].name": "says which partition is meant",
        "partitions[].state": "is what absent changes",
    },
    without={"kept": "nothing stands on a partition that it could tell: a port that is on the fabric need not be in use"},
)
