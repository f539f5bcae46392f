# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A host that was cut off and comes back does not get to write for a node that runs elsewhere by now; what it holds is kept."""

from __future__ import annotations

import contextlib
import json
import pathlib
from collections.abc import Iterator
from typing import Any

import pytest

from tests.lab import in_process, snapshot, vault
from tests.lab.host import attempt, finished, on, play
from tests.lab.virtual_cluster import VAULT_HOST, VirtualCluster, awaited, cancel_all, define, forget

NODE = "compute0"
HOSTS = ("hv1", "hv2")
SCRATCH = "/var/lib/vc-scratch"


@pytest.fixture
def lasting(demo: None) -> Iterator[VirtualCluster]:
    """A cluster of one compute that keeps its disk."""
    cluster = define("lasting", 1, "10.15.0.0/24", persistent=True)
    yield cluster
    for host in HOSTS:
        # One that was cut off when the job was cancelled hears of it much later.
        on(host, "systemctl", "restart", "slurmd")
    cancel_all(cluster)
    # A flush unit would look for its entry again.
    awaited(lambda: all(not running_flush(host) for host in HOSTS), "the flush units at rest")
    for host in HOSTS:
        on(host, "sh", "-c", f"rm -rf {SCRATCH}/spool/lasting.* {SCRATCH}/orphans/lasting.*")
    if vault.lease(cluster.name, NODE)["holder"]:
        vault.break_lease(cluster.name, NODE, "the proof is over")
    in_process.answers(VAULT_HOST, "image_vault", [{"disks": [{"cluster": "lasting", "node": NODE, "state": "absent"}]}])
    forget(cluster)


def running_flush(host: str) -> str:
    return on(host, "systemctl", "list-units", "--plain", "--no-legend", "--state=active,activating,deactivating", "vc-flush@lasting*")


@contextlib.contextmanager
def cut_off(host: str) -> Iterator[None]:
    """The cable of the host's management and storage network out of its switch; nothing on the host knows of it."""
    plug = ["ip", "-n", "vc-fabric", "link", "set", f"eth0-{host}"]
    assert finished([*plug, "down"]).returncode == 0
    try:
        yield
    finally:
        assert finished([*plug, "up"]).returncode == 0


def lease_of(cluster: VirtualCluster) -> dict[str, Any]:
    return vault.lease(cluster.name, NODE)


def listed(host: str, place: str) -> list[str]:
    return on(host, "sh", "-c", f"ls {SCRATCH}/{place} | grep ^lasting || true").split()


def qemu_of(host: str, cluster: VirtualCluster) -> str:
    """The process of the node's guest on this host; empty when there is none."""
    mac = next(node["mac"] for node in cluster.resolved["nodes"] if node["name"] == NODE)
    return attempt(host, "pgrep", "-f", f"^/[^ ]*qemu-system.*{mac}").stdout.strip()


def wish(host: str) -> dict[str, Any]:
    return {"nodes": NODE, "per_host": None, "hosts": [host], "wait_timeout": 50, "on_timeout": "cancel"}


def start(cluster: VirtualCluster, name: str, host: str) -> int:
    return cluster.start(name, **wish(host))


def let_loose(cluster: VirtualCluster, name: str, host: str) -> None:
    """Submit a set, and as the admin tell Slurm not to wait for the job that held its node and cannot end: its host is cut off.

    Declaring that host down would say the same, and take it from the demo's job too.
    """
    job = cluster.start(name, **{**wish(host), "wait": False})
    on("head", "scontrol", "update", f"jobid={job}", "dependency=")


def refused(cluster: VirtualCluster, name: str, host: str) -> str:
    """Everything said by a start that must not succeed."""
    answer = cluster.computeset(name, **{**wish(host), "walltime": "1h", "grace": "5s"})
    assert answer.get("failed"), answer
    assert not qemu_of(host, cluster)
    return json.dumps(answer)


def test_a_host_that_was_cut_off_is_fenced(lasting: VirtualCluster) -> None:
    # The vault keeps what it knows of the node; and what the hosts keep of it is looked at one by one.
    hosts = ("head", "fe1", "hv1", "hv2")
    before = snapshot.take_quiet(hosts)
    first = start(lasting, "first", "hv1")
    old = lease_of(lasting)
    with cut_off("hv1"):
        on("head", "scancel", str(first))
        # Not proven down: the vault gives the node to nobody else, and says who has it and what to do.
        let_loose(lasting, "second", "hv2")
        said = refused(lasting, "second", "hv2")
        assert f"held by job {first} of labuser on hv1" in said
        assert f"vc-vault break lasting {NODE} --reason" in said
        assert lease_of(lasting) == old
        vault.break_lease("lasting", NODE, "hv1 is gone")
        let_loose(lasting, "second", "hv2")
        second = start(lasting, "second", "hv2")
        new, guest = lease_of(lasting), qemu_of("hv2", lasting)
        assert new["epoch"] > old["epoch"]
        assert (new["holder"]["host"], new["holder"]["job_id"]) == ("hv2", second)
        # Cut off, not dead: without a fence there would be two of it.
        assert qemu_of("hv1", lasting)
    # The host is back, and says what it has to say under the lease that it had.
    late = {NODE: {"epoch": old["epoch"], "state": "running", "outcome": "kept"}}
    awaited(lambda: attempt("hv1", "ping", "-c", "1", "-W", "1", vault.ADDRESS).returncode == 0, "hv1 back on its network")
    for verb in ("state", "release"):
        assert vault.refusal(vault.asked_by("hv1", verb, cluster="lasting", nodes=late), NODE) == "stale_epoch"
    # Knowing the new epoch does not help it.
    late[NODE]["epoch"] = new["epoch"]
    for verb in ("state", "release"):
        assert vault.refusal(vault.asked_by("hv1", verb, cluster="lasting", nodes=late), NODE) == "forbidden"
    # Slurm would hear of it at the next look at its nodes, which may take minutes.
    on("hv1", "systemctl", "restart", "slurmd")
    awaited(lambda: listed("hv1", "orphans"), "the overlay of the fenced job kept as an orphan", timeout=150)
    assert listed("hv1", "spool") == []
    assert "overlay.qcow2" in on("hv1", "ls", f"{SCRATCH}/orphans/lasting.{NODE}.{old['epoch']}").split()
    over = f"epoch {old['epoch']} is over"
    awaited(
        lambda: over in on("hv1", "journalctl", "-t", "vc-flush", "-o", "cat", "--no-pager", "-n", "50"), "its refusal in the journal", 10
    )
    assert not qemu_of("hv1", lasting)
    assert lease_of(lasting) == new
    again = lasting.computeset("second", **wish("hv2"), walltime="1h", grace="5s")
    assert again["computeset"]["job_id"] == second
    assert again["computeset"]["nodes"][NODE]["state"] == "running"
    assert qemu_of("hv2", lasting) == guest
    lasting.terminate("second")
    awaited(lambda: listed("hv2", "spool"), "the second job's overlay in the spool")
    awaited(lambda: lease_of(lasting)["state"] == "flushing", "the second job's lease given back")
    # Of everything else nothing is left.
    snapshot.unchanged(before, without=("scratch", "registry"), hosts=hosts)


def test_what_a_terminated_node_has_changed_is_not_forgotten(lasting: VirtualCluster, tmp_path: pathlib.Path) -> None:
    job = start(lasting, "first", "hv1")
    epoch = lease_of(lasting)["epoch"]
    lasting.terminate("first")
    awaited(lambda: lease_of(lasting)["state"] == "flushing", "the lease given back")
    assert listed("hv1", "spool") == [f"lasting.{NODE}.{epoch}"]
    assert "overlay.qcow2" in on("hv1", "ls", f"{SCRATCH}/spool/lasting.{NODE}.{epoch}").split()
    told = in_process.answers(VAULT_HOST, "vc_info", [{"gather": ["vault"], "cluster": "lasting"}])[0]
    known = told["vault"]["clusters"]["lasting"]["leases"][NODE]
    assert (known["state"], known["holder"]["host"], known["epoch"]) == ("flushing", "hv1", epoch)
    table = tmp_path / "table"
    play("status.yml", vc="lasting", table=str(table))
    row = next(line for line in table.read_text(encoding="utf-8").splitlines() if f" {NODE} " in line)
    assert {"lasting", "flushing", "hv1"} <= set(row.split())
    # Starting it elsewhere, or on the same host, would take the guest back in time.
    said = refused(lasting, "second", "hv1")
    assert f"changes of job {job} of labuser on hv1" in said
    assert f"{SCRATCH}/spool/lasting.{NODE}.{epoch} on hv1" in said
    assert f"vc-vault break lasting {NODE} --reason" in said
    assert (lease_of(lasting)["state"], lease_of(lasting)["epoch"]) == ("flushing", epoch)
