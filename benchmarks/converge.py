# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A run that finds everything as it should be: a virtual cluster and its computeset against loops of community.libvirt."""

from __future__ import annotations

from functools import partial

from benchmarks.measure import BenchError, Contender, race
from benchmarks.room import Room
from benchmarks.table import Table, seconds

SIZES = (16, 64, 256)
GOAL, NEAR = 100, 1.5
TEXT = (
    "A run of `ansible-playbook` that changes nothing. With this collection: `vc_cluster` (that many computes, in a registry on this "
    "disk) and `vc_computeset` (all of them as one job, waiting in the queue of a real slurmctld). With loops: "
    "`community.libvirt.virt`, for each node a task with `command: define` and one with `state: shutdown`, on a real libvirtd whose "
    "domains are defined and off. On both sides no guest runs. *Empty tasks* are two of `ansible.builtin.ping`, as the same two users: "
    "no playbook of two tasks takes less."
)
SLURM = """ClusterName=bench
SlurmctldHost=room
SlurmUser=root
StateSaveLocation=/var/lib/bench/slurm
SlurmctldPidFile=/run/slurmctld.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
NodeName=hv[1-4] NodeAddr=127.0.0.1 CPUs=256 RealMemory=500000 State=UNKNOWN
PartitionName=vc Nodes=ALL Default=YES MaxTime=INFINITE State=DOWN
"""


def measure(room: Room, rounds: int) -> Table:
    start_slurm(room)
    start_libvirt(room)
    room.run("mkdir", "--mode=700", "/var/lib/vc-vault")
    room.run("truncate", "--size=16M", "/srv/bench.raw")
    room.play("converge_image", {})
    table = Table(
        "Second run",
        TEXT,
        ("nodes", "this collection", "empty tasks", "loops", "loops / this", "loops / empty tasks", "this / empty tasks"),
        f"at least {GOAL} times as fast as the loops; where even two empty tasks are not, at most {NEAR} times as long as these",
    )
    for size in SIZES:
        # The first run makes everything.
        for way in ("ours", "loops"):
            room.play(f"converge_{way}", {"nodes": size})
        times = race([Contender(way, partial(_unchanged, room, way, size)) for way in ("ours", "floor")], rounds)
        times |= race([Contender("loops", partial(_unchanged, room, "loops", size))], 1)
        ours, floor, loops = (times[way] for way in ("ours", "floor", "loops"))
        goal = loops / ours >= GOAL or (loops / floor < GOAL and ours / floor <= NEAR)
        ratios = [f"{loops / ours:.0f}", f"{loops / floor:.0f}", f"{ours / floor:.2f}"]
        table.add((str(size), *map(seconds, (ours, floor, loops)), *ratios), goal)
        room.run("scancel", "--user=labuser")
    return table


def start_slurm(room: Room) -> None:
    room.run("mkdir", "-p", "/run/munge", "/var/lib/bench/slurm", "/home/labuser", "/var/log/munge", "/var/lib/munge")
    room.run("chown", "labuser", "/home/labuser")
    room.write("/etc/munge/munge.key", "k" * 128, 0o400)
    room.write("/etc/slurm/slurm.conf", SLURM)
    room.daemon("munged", "--force", "--foreground")
    room.until("sh", "-c", "munge -n | unmunge")
    room.daemon("slurmctld", "-D")
    room.until("scontrol", "ping")
    room.until("squeue")


def start_libvirt(room: Room) -> None:
    room.daemon("libvirtd")
    room.until("virsh", "-c", "qemu:///system", "list")


def _unchanged(room: Room, way: str, size: int) -> None:
    said = room.play(f"converge_{way}", {"nodes": size})
    if "changed=0" not in said:
        raise BenchError(f"{way}: the second run changed something\n{said[-3000:]}")
