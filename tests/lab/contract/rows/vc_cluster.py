# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The registry, beside the demo's own cluster."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from tests.lab.contract import vaults
from tests.lab.contract.station import on, told
from tests.lab.contract.subject import Change, Contract, Fault, Guard, Names, Refused, Trial
from tests.lab.vault import ROOT
from tests.lab.virtual_cluster import VAULT_HOST

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI" + "A" * 43
SECRETS = f"{ROOT}/registry/secrets/contract"
DISK = {"cluster": "contract", "node": "c0"}
GROUP = {
    "nodes": "c[0-1]",
    "cpus": 1,
    "memory": "128MiB",
    "source": {"image": "tiny"},
    "macs": ["02:00:00:00:0c:00", "02:00:00:00:0c:01"],
    "address": "10.15.0.50",
}
PRESENT = {
    "name": "contract",
    "owner": "labuser",
    "account": "physics",
    "network": {"cidr": "10.15.0.0/24"},
    "frontend": {
        "host": "fe1",
        "cpus": 1,
        "memory": "128MiB",
        "source": {"image": "tiny"},
        "macs": ["02:00:00:00:0c:0f"],
        "address": "10.15.0.9",
    },
    "computes": [GROUP],
}
PUBLIC = {"bridge": "br-public", "address": "10.79.0.109/24"}
GIVEN = "it was given out, and guests, hosts and disks rely on it"


def disk(state: str) -> None:
    told(VAULT_HOST, "image_vault", {"disks": [{**DISK, "state": state}]})


def make_disk(_names: Names) -> None:
    disk("present")


def remove_disk(_names: Names) -> None:
    disk("absent")


def read_only(_names: Names) -> None:
    on(VAULT_HOST, "mkdir", "-p", SECRETS)
    on(VAULT_HOST, "mount", "--bind", SECRETS, SECRETS)
    on(VAULT_HOST, "mount", "-o", "remount,bind,ro", SECRETS)


def writable(_names: Names) -> None:
    on(VAULT_HOST, "umount", SECRETS)


CLUSTER = Trial(
    name="cluster",
    present=PRESENT,
    absent={"name": "contract", "state": "absent"},
    unpredicted={"cluster.ssh_public_key": "the key is made when a new cluster is written"},
    changes=(
        Change("owner", "otheruser"),
        Change("account", "chemistry"),
        Change("members", ["labuser"]),
        Change("ssh_authorized_keys", [KEY]),
        Change("network.mtu", 1400),
        Change("frontend.name", "login", also={"frontend.macs": None, "frontend.address": None}),
        Change("frontend.host", "hv1"),
        Change("frontend.cpus", 2),
        Change("frontend.memory", "256MiB"),
        Change("frontend.disk", "1GiB"),
        Change("frontend.source.image", "tiny@r1"),
        Change("frontend.public.bridge", "br-public", also={"frontend.public": PUBLIC}),
        Change("frontend.public.address", "10.79.0.110/24"),
        Change("frontend.public.gateway", "10.79.0.1"),
        Change("computes[0].cpus", 2),
        Change("computes[0].memory", "256MiB"),
        Change("computes[0].disk", "1GiB"),
        Change("computes[0].source.image", "tiny@r1"),
        Change("computes[0].persistent", True),
        Change("computes[0].nodes", "c[0-2]", also={"computes[0].macs": None}),
    ),
    refused=(
        Refused("network.cidr", "10.16.0.0/24", "conflict", GIVEN, also={"computes[0].address": None}, fixed=True),
        Refused("network.vni", 16000, "conflict", GIVEN, fixed=True),
        Refused("network.pkey", "0x7abc", "conflict", GIVEN, fixed=True),
        Refused("frontend.macs", ["02:00:00:00:0c:77"], "conflict", GIVEN, names="mac", fixed=True),
        Refused("frontend.address", "10.15.0.77", "conflict", GIVEN, fixed=True),
        Refused("frontend.persistent", False, "invalid", "a frontend always keeps its disk", fixed=True),
        Refused(
            "computes[0].macs", ["02:00:00:00:0c:70", "02:00:00:00:0c:71", "02:00:00:00:0c:72"], "conflict", GIVEN, names="mac", fixed=True
        ),
        Refused("computes[0].address", "10.15.0.70", "conflict", GIVEN, fixed=True),
        Refused("computes[1]", {**GROUP, "nodes": "d0", "macs": None, "memory": "1MiB"}, "invalid", "has too little memory", "computes[1]"),
    ),
    repeatable={"frontend.macs": "it has one entry"},
    guards=(Guard("one of its nodes has a disk", "in_use", make_disk, remove_disk),),
    faults=(
        Fault(
            "the directory of its secrets cannot be written when it is removed",
            "backend",
            ("contract",),
            first=lambda names: (defined(names), read_only(names))[1],
            after=writable,
            present={"name": "contract", "state": "absent"},
            unforeseen="that it is read-only shows when it is written",
        ),
    ),
)


def defined(_names: Names) -> None:
    told(VAULT_HOST, "vc_cluster", PRESENT)


THERE = PRESENT | {"vault_root": vaults.PLACE}
NOT_THERE = {"name": "contract", "state": "absent", "vault_root": vaults.PLACE}


@contextlib.contextmanager
def another_vault() -> Iterator[Names]:
    with vaults.another("vc_cluster", THERE, NOT_THERE):
        yield {}


IN_ANOTHER_VAULT = Trial(
    name="cluster of another vault",
    present=THERE,
    absent=NOT_THERE,
    others={"vault_root": f"{vaults.PLACE}/registry/claims/vni/"},
    refused=(Refused("vault_root", "/nosuch", "backend", "there is no vault"),),
    unpredicted=CLUSTER.unpredicted,
    repeatable=CLUSTER.repeatable,
    prepare=another_vault,
)

CONTRACT = Contract(
    host=VAULT_HOST,
    dumps={VAULT_HOST: ("vault",)},
    trials=(CLUSTER, IN_ANOTHER_VAULT),
    apart={
        "name": "says which cluster is meant",
        "state": "is what absent changes",
    },
)
