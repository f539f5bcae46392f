# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sets that stay in the queue of a partition that is down, so that every option can be seen in the controller; and one that runs."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from tests.lab.contract import clusters
from tests.lab.contract.station import on
from tests.lab.contract.subject import Change, Contract, Fault, Names, Refused, Trial
from tests.lab.virtual_cluster import SUBMIT_HOST

SET = {"cluster": "@cluster", "name": "contract"}
PRESENT = SET | {"nodes": "compute[0-1]", "walltime": "1h", "partition": "contract-a", "wait": False}
ABSENT = SET | {"state": "absent", "wait": False}
MACHINES = {"name": "contract", "vms": "tiny:2", "walltime": "1h", "partition": "contract-a", "wait": False}
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI" + "A" * 43
# Two sets in which all options are seen: by the names of the nodes and by their number.
BY_NAME, BY_NUMBER = "by name", "by number"
LATER = "when Slurm starts a job shows when it does"
LIVE = "a live set keeps what it was started with"
UNKNOWN = {
    "computeset.job_id": "Slurm gives it out when the job is submitted",
    "computeset.reason": "Slurm finds one when it looks at the job",
}


@contextlib.contextmanager
def site() -> Iterator[Names]:
    """A cluster; two partitions that start nothing, a QOS and a reservation that the owner may use."""
    with contextlib.ExitStack() as ends:

        def made(make: tuple[str, ...], end: tuple[str, ...]) -> None:
            on(SUBMIT_HOST, *make)
            ends.callback(on, SUBMIT_HOST, *end)

        for name in ("contract-a", "contract-b"):
            made(
                ("scontrol", "create", f"partitionname={name}", "nodes=hv1,hv2", "state=down"),
                ("scontrol", "delete", f"partitionname={name}"),
            )
        made(("sacctmgr", "-i", "add", "qos", "contract"), ("sacctmgr", "-i", "delete", "qos", "contract"))
        user = ("sacctmgr", "-i", "modify", "user", "labuser", "set")
        made((*user, "qos+=contract"), (*user, "qos-=contract"))
        far = ("starttime=now+365days", "duration=10", "users=labuser", "nodes=hv1")
        made(("scontrol", "create", "reservation=contract", *far), ("scontrol", "delete", "reservation=contract"))
        yield {"cluster": ends.enter_context(clusters.computes("contractset", "compute[0-2]"))}


QUEUED = Trial(
    name="queued",
    present=PRESENT,
    absent=ABSENT,
    unpredicted=UNKNOWN,
    changes=(
        Change("walltime", "2h", shows="TimeLimit=02:00:00"),
        Change("nodes", "compute[0-2]", anew=BY_NAME, shows="NumTasks=3"),
        Change("per_host", 3, anew=BY_NAME, shows="NtasksPerN:B:S:C=3:"),
        Change("hosts", ["hv1"], anew=BY_NAME, shows="ReqNodeList=hv1"),
        Change("memory_overhead", "512MiB", anew=BY_NAME, shows="MinMemoryCPU=640M"),
        Change("grace", "60s", anew=BY_NAME, shows='"grace_seconds":60'),
        Change("partition", "contract-b", anew=BY_NAME, shows="Partition=contract-b"),
        Change("reservation", "contract", anew=BY_NAME, shows="Reservation=contract"),
        Change("qos", "contract", anew=BY_NAME, shows="QOS=contract"),
        Change("count", 1, also={"nodes": None}, anew=BY_NUMBER, shows="NumTasks=1"),
        Change("exclude_hosts", ["hv2"], anew=BY_NUMBER, shows="ExcNodeList=hv2"),
    ),
    refused=(
        Refused("account", "chemistry", "forbidden", "no hypervisor would start its nodes", fixed=True),
        Refused("nodes", "compute[0-2]", "conflict", LIVE, names="compute[0-1]"),
        Refused("count", 3, "conflict", LIVE, names="compute[0-1]", also={"nodes": None}),
        Refused("cluster.nodes[0].image", "debian12@r1", "conflict", "has another image than the live set", names="debian12@r1"),
        Refused("cluster.nodes[0].memory_mib", 0, "invalid", "is no node of a resolved cluster", names="memory"),
    ),
    faults=(
        Fault(
            "the job does not start within `wait_timeout`",
            "timeout",
            ("contractset/contract",),
            present=PRESENT | {"wait": True, "wait_timeout": 1},
            settle=False,
            unforeseen=LATER,
        ),
        Fault(
            "the same with `on_timeout: cancel`, which takes the job out of the queue again",
            "timeout",
            ("contractset/contract",),
            present=PRESENT | {"wait": True, "wait_timeout": 1, "on_timeout": "cancel"},
            settle=False,
            unforeseen=LATER,
        ),
        Fault(
            "sbatch refuses the job",
            "backend",
            ("contractset/contract",),
            changed=False,
            present=PRESENT | {"partition": "nosuch"},
            settle=False,
            unforeseen="Slurm says so when the job is submitted",
        ),
    ),
    prepare=site,
)

RUNNING = Trial(
    name="running",
    present=SET | {"nodes": "compute0", "walltime": "1h", "grace": "2s"},
    absent=SET | {"state": "absent", "grace": "2s"},
    unpredicted=UNKNOWN
    | {
        "computeset.nodes.*.host": "Slurm chooses it",
        "computeset.nodes.*.msg": "its agent says how it knows that the guest runs",
        "computeset.remaining_seconds": "it counts down",
    },
    prepare=site,
)

THROW_AWAY = Trial(
    name="throw-away machines",
    present=MACHINES,
    absent={"name": "contract", "vms": "tiny:2", "state": "absent", "wait": False},
    unpredicted=UNKNOWN
    | {
        "computeset.cluster": "it is named after the job",
        "computeset.account": "Slurm knows the user's own",
    },
    changes=(
        Change("vms", "tiny:3", anew=BY_NAME, shows="NumTasks=3"),
        Change("cpus", 2, anew=BY_NAME, shows="CPUs/Task=2"),
        Change("memory", "256MiB", anew=BY_NAME, shows="MinMemoryCPU=256M"),
        Change("ssh_authorized_keys", [KEY], anew=BY_NAME, shows=KEY),
    ),
    refused=(
        Refused("vms", "tiny:3", "conflict", LIVE, names="tiny:2"),
        Refused("memory", "256MiB", "conflict", LIVE, names="256 MiB"),
    ),
    prepare=site,
)

CONTRACT = Contract(
    host=SUBMIT_HOST,
    user="labuser",
    dumps={SUBMIT_HOST: ("jobs",)},
    trials=(QUEUED, RUNNING, THROW_AWAY),
    apart={
        "cluster": "says which set is meant; what of it must not change is below",
        "name": "says which set is meant",
        "state": "is what absent changes",
        "wait": "says what the module looks at afterwards; a fault below shows it",
        "wait_timeout": "says how long it looks; a fault below shows it",
        "on_timeout": "says what becomes of the job then; a fault below shows it",
    },
    without={"kept": "nothing hangs on a set: what its guests wrote is in the host's spool or thrown away"},
)
