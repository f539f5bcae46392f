# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The power switch of a frontend that was on once and is off; and those of two computes in a running set."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from tests.lab.contract import clusters, configs
from tests.lab.contract.station import on, told
from tests.lab.contract.subject import Change, Contract, Fault, Guard, Names, Refused, Trial
from tests.lab.vault import lease
from tests.lab.virtual_cluster import SUBMIT_HOST, VAULT_HOST, awaited

HOST, NAME = "fe1", "contractpw"
HYPERVISOR, OWNER, SWITCHED = "hv1", "labuser", "contractsw"
ITEM = f"{NAME}/frontend"
FRONTEND: dict[str, Any] = {"host": HOST, "cpus": 1, "memory": "128MiB", "source": {"image": "tiny"}}
ON = {"cluster": "@cluster", "nodes": "frontend", "state": "powered_on", "wait": False}
OFF = ON | {"state": "powered_off"}


@contextlib.contextmanager
def switched_off() -> Iterator[Names]:
    cluster = clusters.define(NAME, frontend=FRONTEND)
    # libvirt gives its files to QEMU's user at the first start, and does not take them back.
    told(HOST, "vc_frontend", {"cluster": cluster, "wait": False})
    on(HOST, "virsh", "-q", "destroy", f"{NAME}.frontend")
    with configs.another(HOST) as config:
        yield {"cluster": cluster, "config": config}
    told(HOST, "vc_frontend", {"cluster": cluster, "state": "absent", "remove_disk": True})
    told(VAULT_HOST, "image_vault", {"disks": [{"cluster": NAME, "node": "frontend", "state": "absent"}]})
    clusters.forget(NAME)


FRONTEND_TRIAL = Trial(
    name="frontend",
    present=ON,
    absent=OFF,
    changes=(
        Change("state", "powered_off", shows="shut off"),
        Change("host_config", "@config", also={"state": "powered_on"}, shows=configs.PEER),
    ),
    refused=(
        Refused("nodes", "compute9", "unknown", "the cluster has no such node", names="compute9"),
        Refused("nodes", "frontend,frontend", "duplicate", "a name comes twice", names="frontend"),
        Refused("host_config", "/etc/nosuch.json", "unknown", "it says which host this is", names="/etc/nosuch.json"),
        Refused("cluster.nodes[0].host", "fe9", "conflict", "it is another host's", names="fe9"),
    ),
    guards=(
        Guard(
            "it is suspended, and is asked to shut down",
            "conflict",
            first=lambda _names: on(HOST, "virsh", "-q", "suspend", f"{NAME}.frontend"),
            absent=ON | {"state": "shutdown"},
        ),
    ),
    faults=(
        Fault(
            "the guest has not started its services within `wait_timeout`",
            "timeout",
            (ITEM,),
            present=ON | {"wait": True, "wait_timeout": 1},
            settle=False,
            unforeseen="how long a guest takes shows when it starts",
        ),
    ),
    host=HOST,
    prepare=switched_off,
)


@contextlib.contextmanager
def running() -> Iterator[Names]:
    """Both nodes of a cluster on one hypervisor."""
    wish = {"name": "contract", "nodes": "compute[0-1]", "hosts": [HYPERVISOR], "walltime": "1h", "grace": "2s"}
    with contextlib.ExitStack() as ends:
        cluster = ends.enter_context(clusters.computes(SWITCHED, "compute[0-1]"))
        started = told(SUBMIT_HOST, "vc_computeset", wish | {"cluster": cluster}, OWNER)
        ends.callback(told, SUBMIT_HOST, "vc_computeset", {"cluster": cluster, "name": "contract", "state": "absent"}, OWNER)
        yield {"cluster": cluster, "job": started["computeset"]["job_id"]}


def signal_one(names: Names, signal: str) -> None:
    """Send it to the second node's QEMU."""
    pid = on(HYPERVISOR, "cat", f"/run/vc/job/{names['job']}/x/libvirt/qemu/run/compute1.pid").strip()
    on(HYPERVISOR, "kill", f"-{signal}", pid)


def put_away(names: Names) -> None:
    """Going on, it would find its button pressed."""
    signal_one(names, "KILL")
    awaited(lambda: lease(SWITCHED, "compute1")["state"] == "crashed", "the vault to know")


COMPUTES = Trial(
    name="computes",
    present={"cluster": "@cluster", "nodes": "compute0", "state": "shutdown", "wait_timeout": 60},
    absent={"cluster": "@cluster", "nodes": "compute[0-1]", "state": "powered_on", "wait_timeout": 60},
    unpredicted={"nodes.*.msg": "its agent says how it came to be so"},
    changes=(Change("nodes", "compute[0-1]", also={"state": "powered_off"}),),
    refused=(
        Refused("nodes", "compute[0-2]", "unknown", "the cluster has not all of them", names="compute2"),
        Refused("nodes", "compute0,compute[0-1]", "duplicate", "a name comes twice", names="compute0"),
        Refused("wait_timeout", 0, "invalid", "nobody would look"),
    ),
    faults=(
        Fault(
            "one of two guests does not react within `wait_timeout`",
            "timeout",
            (f"{SWITCHED}/compute1",),
            first=lambda names: signal_one(names, "STOP"),
            after=put_away,
            present={"cluster": "@cluster", "nodes": "compute[0-1]", "state": "shutdown", "wait_timeout": 15},
            settle=False,
            unforeseen="whether a guest reacts shows when it is asked",
        ),
    ),
    host=SUBMIT_HOST,
    user=OWNER,
    also_on=(HYPERVISOR,),
    prepare=running,
)

CONTRACT = Contract(
    host=HOST,
    dumps={HOST: ("frontends", "overlay"), HYPERVISOR: ("guests",), SUBMIT_HOST: ("jobs",)},
    trials=(FRONTEND_TRIAL, COMPUTES),
    apart={
        "cluster": "says whose nodes are meant",
        "action": "is done every time, so that no second run is without a change, and no clause holds it: that it is done is seen of a "
        "frontend in `tests/lab/slow/test_frontend_switches.py`, of computes in `tests/lab/slow/test_power.py`",
        "wait": "says what the module looks at afterwards; a fault below shows it",
        "wait_timeout": "says how long it looks, and how long a guest has to react; a fault below shows it",
        "on_timeout": "says what becomes of a guest that does not react, and no clause holds it: it is seen of computes in "
        "`tests/lab/slow/test_power.py`",
    },
    without={"duplicates": "no option is a list"},
)
