# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Slurm's prolog on a hypervisor (``vc-prolog``): is this host fit, and whose job is this?

Runs as root with nothing but Slurm's variables: no PATH, no Slurm commands, no network.  A failing prolog drains the node and
holds the job, so it fails for an unfit host only; whatever is wrong with the job itself is told by the agent, in the job's own output.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Optional

from ..model.errors import VcError
from .journal import Journal
from .mounts import detach_below
from .places import Places
from .record import JobRecord, Records
from .removal import discard
from .spool import Spool

_OVSDB = Path("/run/openvswitch/db.sock")
_VSWITCHD = Path("/run/openvswitch/ovs-vswitchd.pid")
_HOST_FILE = Path("/etc/hpc-virtual-cluster/host.json")


def claimed_cluster(comment: str, job_id: int, restart_count: int) -> str:
    """The virtual cluster that a job's comment claims; "" when it claims none."""
    from ..model import names

    try:
        claim = json.loads(comment)
        # A cluster of another job's machines is nothing that can be claimed.
        return "" if names.is_own_cluster(claim["vc"]) else names.claimed_cluster(claim["vc"], job_id, restart_count)
    except (ValueError, TypeError, KeyError, RecursionError, VcError):
        # Anybody can write anything there: an uncaught error would drain the host.
        return ""


def job_record(env: Mapping[str, str], boot_id: str) -> Optional[JobRecord]:
    """The record of the job that Slurm describes, or None when it claims no virtual cluster."""
    job_id, restart_count = int(env["SLURM_JOB_ID"]), int(env.get("SLURM_RESTART_COUNT") or 0)
    cluster = claimed_cluster(env.get("SLURM_JOB_COMMENT", ""), job_id, restart_count)
    if not cluster:
        return None
    return JobRecord(
        job_id=job_id,
        restart_count=restart_count,
        uid=int(env["SLURM_JOB_UID"]),
        user=env["SLURM_JOB_USER"],
        account=env.get("SLURM_JOB_ACCOUNT", ""),
        cluster=cluster,
        boot_id=boot_id,
        slurm_node=env.get("SLURMD_NODENAME", ""),
    )


def check_fitness(places: Places, host_file: Path = _HOST_FILE) -> None:
    """VcError when no node of any virtual cluster could run here."""
    remedy = "run the role hypervisor on this host, then resume it with scontrol"
    try:
        host = json.loads(host_file.read_text())
        overlay = host.get("overlay")
    except (OSError, ValueError, AttributeError) as error:
        raise VcError("backend", str(host_file), "reading this host's configuration", str(error), remedy) from None
    try:
        places.make()
        probe = places.overlays / f".probe.{os.getpid()}"
        probe.mkdir(mode=0o700)
        probe.rmdir()
    except OSError as error:
        tried = "making a directory in the scratch space"
        raise VcError("backend", str(places.overlays), tried, error.strerror or "", "free or remount it") from None
    if not places.host_socket.is_socket():
        tried = "looking for the root helper's socket"
        raise VcError("backend", str(places.host_socket), tried, "there is none", "systemctl start vc-host.socket")
    if overlay is not None:
        _check_openvswitch()


def check_leftovers(places: Places, job_id: int) -> None:
    """VcError when an earlier run of this job has left something here that was not put away: its overlays would be lost."""
    records = Records(places)
    if records.nodes(job_id) or records.doubtful(job_id) or Spool(places).holds_up(job_id):
        detail = "the epilog of its last run here could not put everything away"
        raise VcError("in_use", f"job {job_id}", "making its directories", detail, "see journalctl -t vc-epilog, then run vc-flush recover")


def make_directories(places: Places, record: JobRecord) -> None:
    """The job's own directories, empty, its user's alone."""
    for path, trash in places.trashes(record.job_id):
        # Of an earlier run of this job: nobody may even look at the directory while a user's file system is mounted on it.
        detach_below(path)
        if path.exists():
            discard(path, trash)
        path.mkdir(mode=0o700)
        os.chown(path, record.uid, -1, follow_symlinks=False)


def main(_argv: Sequence[str]) -> int:
    """Exit status 0 unless the host is unfit."""
    # Every job of the site comes by here.
    if '"vc"' not in os.environ.get("SLURM_JOB_COMMENT", ""):
        return 0
    places, journal = Places(), Journal("vc-prolog")
    record = job_record(os.environ, places.boot_id())
    if record is None or record.uid == 0:
        return 0
    try:
        check_fitness(places)
        check_leftovers(places, record.job_id)
        # The record first: from then on the epilog knows that it has something to undo.
        Records(places).add(record)
        make_directories(places, record)
    except (VcError, OSError) as error:
        journal.warn(f"job {record.job_id}: {error}")
        return 1
    journal.say(f"job {record.job_id} of {record.user} claims virtual cluster {record.cluster}")
    return 0


def _check_openvswitch() -> None:
    remedy = "systemctl start openvswitch-switch"
    try:
        with socket.socket(socket.AF_UNIX) as database:
            database.settimeout(2)
            database.connect(str(_OVSDB))
        os.kill(int(_VSWITCHD.read_text()), 0)
    except (OSError, ValueError) as error:
        raise VcError("backend", "Open vSwitch", "looking whether it runs", str(error), remedy) from None
