# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The store, beside the demo's own images."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from tests.lab.contract import vaults
from tests.lab.contract.station import on, told
from tests.lab.contract.subject import Change, Contract, Fault, Guard, Names, Refused, Trial
from tests.lab.vault import ROOT
from tests.lab.virtual_cluster import VAULT_HOST

PLACE = "/var/tmp/vc-contract"
FILES = f"""
mkdir -p {PLACE} && cd {PLACE}
printf one > one.raw && truncate -s 2M one.raw
printf two > two.raw && truncate -s 3M two.raw
qemu-img convert -q -f raw -O qcow2 two.raw two.qcow2
# Header and size are whole; the table of its clusters points nowhere.
cp two.qcow2 broken.qcow2 && printf '\\200\\0\\0\\0\\0\\4\\2\\1' | dd of=broken.qcow2 bs=1 seek=196608 conv=notrunc status=none
"""
GROUP = {"nodes": "p[0-1]", "cpus": 1, "memory": "128MiB", "persistent": True, "source": {"image": "tiny"}}
CLUSTER: dict[str, Any] = {
    "name": "contractdisks",
    "owner": "labuser",
    "account": "physics",
    "network": {"cidr": "10.15.0.0/24"},
    "computes": [GROUP],
}
STORE = f"{ROOT}/store"
DISK_IN_THE_WAY = f"{STORE}/disks/contractdisks/p1"
SNAPSHOT_IN_THE_WAY = f"{STORE}/snapshots/contractdisks/p0/second"
ISO_IN_THE_WAY = f"{STORE}/isos/contract-b.iso"


@contextlib.contextmanager
def sources() -> Iterator[Names]:
    on(VAULT_HOST, "sh", "-c", FILES)
    yield {}
    on(VAULT_HOST, "rm", "-r", PLACE)


@contextlib.contextmanager
def registered() -> Iterator[Names]:
    define(CLUSTER)
    yield {}
    define({"name": CLUSTER["name"], "state": "absent"})


def define(cluster: dict[str, Any]) -> None:
    told(VAULT_HOST, "vc_cluster", cluster)


def used(_names: Names) -> None:
    define({**CLUSTER, "computes": [{**GROUP, "source": {"image": "contract@r1"}}]})


def unused(_names: Names) -> None:
    define({"name": CLUSTER["name"], "state": "absent"})


def put(place: str) -> Callable[[Names], None]:
    """Something foreign, where the store has to put something."""

    def step(_names: Names) -> None:
        on(VAULT_HOST, "mkdir", "-p", place)
        on(VAULT_HOST, "touch", f"{place}/foreign")

    return step


def take_away(place: str) -> Callable[[Names], None]:
    def step(_names: Names) -> None:
        on(VAULT_HOST, "rm", "-r", place)

    return step


@contextlib.contextmanager
def with_a_disk() -> Iterator[Names]:
    disk = {"cluster": "contractdisks", "node": "p0"}
    with registered():
        store({"disks": [disk]})
        yield {}
        store({"disks": [{**disk, "state": "absent"}]})


def store(wanted: dict[str, Any]) -> None:
    told(VAULT_HOST, "image_vault", wanted)


def snapshot(name: str, node: str = "p0", **changes: Any) -> dict[str, Any]:
    return {"cluster": "contractdisks", "node": node, "name": name, **changes}


def kept(_names: Names) -> None:
    store({"snapshots": [snapshot("kept")]})


def let_go(_names: Names) -> None:
    store({"snapshots": [snapshot("kept", state="absent")]})


def iso(name: str, file: str, **changes: Any) -> dict[str, Any]:
    return {"name": name, "source": f"{PLACE}/{file}", **changes}


def golden(name: str, file: str, source_format: str = "raw") -> dict[str, Any]:
    return {"name": name, "source": f"{PLACE}/{file}", "format": source_format}


FOREIGN = "it is no disk, snapshot or ISO, and is in the way only when something is put there"
THREE = ("contract-a", "contract-b", "contract-c")

GOLDENS = Trial(
    name="goldens",
    present={"goldens": [golden("contract", "one.raw")]},
    absent={"goldens": [{"name": "contract", "state": "absent"}]},
    changes=(
        Change("goldens[0].source", f"{PLACE}/two.raw"),
        Change("goldens[0].format", "qcow2", also={"goldens[0].source": f"{PLACE}/two.qcow2"}),
        Change("goldens[0].revision", 7),
        Change("goldens[0].access", ["account:physics", "user:otheruser"]),
    ),
    refused=(
        Refused("goldens[1]", golden("contract-b", "nosuch.raw"), "unknown", "names a file that is not there", "nosuch.raw"),
        Refused("goldens[1]", golden("contract-b", "two.qcow2"), "invalid", "is a qcow2 file declared as raw", "two.qcow2"),
    ),
    guards=(Guard("a node needs the image at its next start", "in_use", used, unused),),
    faults=(
        Fault(
            "one of three files is a qcow2 whose tables are broken",
            "backend",
            ("contract-b",),
            present={
                "goldens": [golden("contract-a", "one.raw"), golden("contract-b", "broken.qcow2", "qcow2"), golden("contract-c", "two.raw")]
            },
            after=lambda _names: (on(VAULT_HOST, "cp", f"{PLACE}/two.qcow2", f"{PLACE}/broken.qcow2"), None)[1],
            absent={"goldens": [{"name": name, "state": "absent"} for name in THREE]},
            unforeseen="the tables are read when the file is converted",
        ),
    ),
    prepare=sources,
)

DISKS = Trial(
    name="disks",
    present={"disks": [{"cluster": "contractdisks", "node": "p0"}]},
    absent={"disks": [{"cluster": "contractdisks", "node": "p0", "state": "absent"}]},
    changes=(Change("disks[0].size", "1GiB"),),
    refused=(
        Refused("disks[0].image", "debian12", "conflict", "a disk keeps the image that it was made from", "tiny@r", fixed=True),
        Refused("disks[1]", {"cluster": "contractdisks", "node": "nosuch"}, "unknown", "names a node that is not there", "nosuch"),
    ),
    guards=(Guard("the disk has a snapshot", "in_use", kept, let_go),),
    faults=(
        Fault(
            "something foreign is where one of two disks has to go",
            "conflict",
            ("contractdisks/p1",),
            first=put(DISK_IN_THE_WAY),
            after=take_away(DISK_IN_THE_WAY),
            present={"disks": [{"cluster": "contractdisks", "node": node} for node in ("p0", "p1")]},
            absent={"disks": [{"cluster": "contractdisks", "node": node, "state": "absent"} for node in ("p0", "p1")]},
            unforeseen=FOREIGN,
        ),
    ),
    prepare=registered,
)

SNAPSHOTS = Trial(
    name="snapshots",
    present={"snapshots": [snapshot("first")]},
    absent={"snapshots": [snapshot("first", state="absent")]},
    refused=(Refused("snapshots[1]", snapshot("first", node="p1"), "unknown", "is of a node that has no disk in the vault", "p1"),),
    faults=(
        Fault(
            "something foreign is where one of two snapshots has to go",
            "conflict",
            ("contractdisks/p0@second",),
            first=put(SNAPSHOT_IN_THE_WAY),
            after=take_away(SNAPSHOT_IN_THE_WAY),
            present={"snapshots": [snapshot("first"), snapshot("second")]},
            absent={"snapshots": [snapshot(name, state="absent") for name in ("first", "second")]},
            unforeseen=FOREIGN,
        ),
    ),
    prepare=with_a_disk,
)

ISOS = Trial(
    name="isos",
    present={"isos": [iso("contract.iso", "one.raw")]},
    absent={"isos": [{"name": "contract.iso", "state": "absent"}]},
    refused=(
        Refused("isos[0].source", f"{PLACE}/two.raw", "conflict", "an ISO keeps its content", "contract.iso", fixed=True),
        Refused("isos[0].checksum", f"sha256:{'0' * 64}", "invalid", "the file is not what was promised", "promised"),
        Refused("isos[1]", iso("contract-b.iso", "nosuch.iso"), "unknown", "names a file that is not there", "nosuch.iso"),
    ),
    faults=(
        Fault(
            "something foreign is where one of two ISOs has to go",
            "conflict",
            ("contract-b.iso",),
            first=put(ISO_IN_THE_WAY),
            after=take_away(ISO_IN_THE_WAY),
            present={"isos": [iso("contract-a.iso", "one.raw"), iso("contract-b.iso", "two.raw")]},
            absent={"isos": [{"name": name, "state": "absent"} for name in ("contract-a.iso", "contract-b.iso")]},
            unforeseen=FOREIGN,
        ),
    ),
    prepare=sources,
)

THERE = {"isos": [iso("contract.iso", "one.raw")], "vault_root": vaults.PLACE}
NOT_THERE = {"isos": [{"name": "contract.iso", "state": "absent"}], "vault_root": vaults.PLACE}


@contextlib.contextmanager
def another_vault() -> Iterator[Names]:
    with contextlib.ExitStack() as ends:
        names = ends.enter_context(sources())
        ends.enter_context(vaults.another("image_vault", THERE, NOT_THERE))
        yield names


IN_ANOTHER_VAULT = Trial(
    name="iso of another vault",
    present=THERE,
    absent=NOT_THERE,
    others={"vault_root": f"{vaults.PLACE}/store/isos/contract.iso"},
    refused=(Refused("vault_root", "/nosuch", "backend", "there is no vault"),),
    prepare=another_vault,
)

CONTRACT = Contract(
    host=VAULT_HOST,
    dumps={VAULT_HOST: ("vault",)},
    trials=(GOLDENS, DISKS, SNAPSHOTS, ISOS, IN_ANOTHER_VAULT),
    apart={
        "goldens[].name": "says which image is meant",
        "goldens[].state": "is what absent changes",
        "disks[].cluster": "says which disk is meant",
        "disks[].node": "says which disk is meant",
        "disks[].state": "is what absent changes",
        "snapshots[].cluster": "says which snapshot is meant",
        "snapshots[].node": "says which snapshot is meant",
        "snapshots[].name": "says which snapshot is meant",
        "snapshots[].state": "is what absent changes",
        "isos[].name": "says which ISO is meant",
        "isos[].state": "is what absent changes",
        "isos[].checksum": "says what the source must be; another one is refused below",
    },
)
