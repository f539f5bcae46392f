# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A frontend beside the demo's own, on the same host: its domain, its network, its lease."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from tests.lab.contract import clusters, configs
from tests.lab.contract.station import on, told
from tests.lab.contract.subject import Change, Contract, Fault, Guard, Names, Refused, Trial
from tests.lab.virtual_cluster import VAULT_HOST

HOST, NAME = "fe1", "contractfe"
FRONTEND: dict[str, Any] = {"host": HOST, "cpus": 1, "memory": "128MiB", "source": {"image": "tiny"}}
OFF = {"cluster": "@cluster", "started": False, "autostart": False, "wait": False}
FIRST = "there the task that would register it has not written either"
TIME = "how long a guest takes shows when it starts"
UNBRIDGED = {"public": {"bridge": "br-nosuch", "address": "10.79.0.119/24"}}


def define(names: Names, **changes: Any) -> None:
    """Register the definition, so that it is the one to pass on."""
    names["cluster"] = clusters.define(NAME, frontend=FRONTEND | changes)


@contextlib.contextmanager
def registered() -> Iterator[Names]:
    names: Names = {}
    define(names)
    with configs.another(HOST) as names["config"]:
        yield names
    told(VAULT_HOST, "image_vault", {"disks": [{"cluster": NAME, "node": "frontend", "state": "absent"}]})
    clusters.forget(NAME)


def pull_the_plug(_names: Names) -> None:
    on(HOST, "virsh", "-q", "destroy", f"{NAME}.frontend")


FRONTEND_TRIAL = Trial(
    name="frontend",
    present=OFF,
    absent={"cluster": "@cluster", "state": "absent", "remove_disk": True},
    changes=(
        Change("autostart", True),
        Change("state", "absent"),
        Change("remove_disk", True),
        Change("state", "present", also={"remove_disk": False}),
        Change("cluster", "@cluster", first=lambda names: define(names, cpus=2), shows="<vcpu placement='static'>2"),
        Change("host_config", "@config", shows=configs.PEER),
        Change("started", True, shows="running"),
    ),
    refused=(
        Refused("host_config", "/etc/nosuch.json", "unknown", "it says where the vault is", names="/etc/nosuch.json"),
        Refused("cluster.nodes[0].address", "10.15.0.200", "conflict", "is not what the registry has", names="registry", unforeseen=FIRST),
        Refused(
            "cluster.network.vni",
            10001,
            "conflict",
            "is not what the registry has, also to remove it",
            names="registry",
            also={"state": "absent"},
        ),
    ),
    guards=(Guard("it runs", "in_use", after=pull_the_plug),),
    faults=(
        Fault(
            "its definition names a bridge that its host does not have",
            "backend",
            (f"{NAME}/frontend",),
            first=lambda names: define(names, **UNBRIDGED),
            after=define,
            end=pull_the_plug,
            present=OFF | {"started": True},
            unforeseen="libvirt says so when it starts the domain",
        ),
        Fault(
            "the guest has not started its services within `wait_timeout`",
            "timeout",
            (f"{NAME}/frontend",),
            end=pull_the_plug,
            present=OFF | {"started": True, "wait": True, "wait_timeout": 1},
            settle=False,
            unforeseen=TIME,
        ),
    ),
    # The lease's file counts epochs, and the disk is the vault's: it goes with image_vault.
    traces=f"/(leases|disks)/{NAME}(/|$)",
    prepare=registered,
)

CONTRACT = Contract(
    host=HOST,
    dumps={HOST: ("frontends", "overlay"), VAULT_HOST: ("vault",)},
    trials=(FRONTEND_TRIAL,),
    apart={
        "wait": "says what the module looks at afterwards; a fault below shows it",
        "wait_timeout": "says how long it looks; a fault below shows it",
    },
    without={"duplicates": "no option is a list"},
)
