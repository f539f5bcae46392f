# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbooks that people type, on a cluster of tiny guests: each does what it says, and nothing when it is run again."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.lab import in_process, snapshot, vault
from tests.lab.host import KEYS, ROOT, attempt, on, play
from tests.lab.recap import changes, totals
from tests.lab.virtual_cluster import VirtualCluster, awaited, cancel_all

NAME = "plays"
FRONTEND = {"host": "fe1", "cpus": 1, "memory": "128MiB", "source": {"image": "tiny"}}
GROUP = {"nodes": "compute[0-1]", "cpus": 1, "memory": "128MiB", "source": {"image": "tiny"}}
COMPUTES = [GROUP, {**GROUP, "nodes": "disk0", "persistent": True}]
WISH = {
    "name": NAME,
    "owner": "labuser",
    "account": "physics",
    "network": {"cidr": "10.15.0.0/24"},
    "frontend": FRONTEND,
    "computes": COMPUTES,
}
SET = {"vc": NAME, "set": "s"}
START = {**SET, "nodes": "compute[0-1]", "per_host": 1, "walltime": "1h"}
PARTITIONS = "/etc/opensm/partitions.conf"
# Where what a cluster leaves on purpose is: how far its epochs had come.
KEPT = ("registry",)


def run(name: str, **variables: Any) -> list[str]:
    """The tasks that changed something; nothing may have been wrong with the call."""
    done = play(f"{name}.yml", **variables)
    assert "WARNING" not in done.stdout + done.stderr
    return [line.split(":")[0] for line in changes(done.stdout)]


def refused(name: str, **variables: Any) -> str:
    """What was said by a call that has changed nothing."""
    done = play(f"{name}.yml", check=False, **variables)
    assert done.returncode != 0
    assert totals(done.stdout)["changed"] == 0
    return done.stdout


def registered() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(on("nas", vault.COMMAND, "status"))["clusters"].get(NAME, {})
    return found


def jobs() -> list[str]:
    return [line for line in on("head", "squeue", "-h", "-o", "%i %k").splitlines() if f'"vc":"{NAME}"' in line]


@pytest.fixture(scope="module")
def before(demo: None) -> snapshot.Snapshot:
    return snapshot.take_quiet()


@pytest.fixture(scope="module")
def cluster(before: snapshot.Snapshot) -> Iterator[VirtualCluster]:
    """Defined by playbook comet, its frontend up."""
    made = play("comet.yml", "--tags", "networks,partitions", vc_clusters=[WISH], vc_computesets=[])
    assert totals(made.stdout)["changed"] == 5
    found = VirtualCluster(registered()["cluster"])
    # Comet would wait for services, which this image has none of.
    up = in_process.answers("fe1", "vc_frontend", [{"cluster": found.resolved, "wait": False}])[0]
    assert not up.get("failed"), up
    yield found
    if registered():
        cancel_all(found)
        attempt("fe1", "virsh", "-q", "destroy", f"{NAME}.frontend")
        play("remove.yml", vc=NAME, delete_disks_of=NAME)


def test_start(cluster: VirtualCluster) -> None:
    assert run("start", **START) == ["Start the computeset"]
    assert len(jobs()) == 1
    assert run("start", **START) == []
    assert len(jobs()) == 1


def test_status_shows_all_that_could_be_read(cluster: VirtualCluster) -> None:
    done = play("status.yml", vc=NAME)
    assert totals(done.stdout)["changed"] == 0
    shown = [line.strip(' ",').split()[:4] for line in done.stdout.splitlines()]
    assert [line for line in shown if line[:1] == [NAME]] == [
        [NAME, "frontend", "frontend", "running"],
        [NAME, "compute0", "compute", "running"],
        [NAME, "compute1", "compute", "running"],
        [NAME, "disk0", "compute", "off"],
    ]
    # The subnet manager's host is the submit host as well: what it knows of the one is shown without the other.
    on("head", "mv", PARTITIONS, f"{PARTITIONS}.away")
    try:
        said = refused("status", vc=NAME)
    finally:
        on("head", "mv", f"{PARTITIONS}.away", PARTITIONS)
    assert re.search(rf'"{NAME} +compute0 +compute +running +s +hv', said), said
    assert "Could not be read, and is missing above:" in said
    assert re.search(r'"head: .*partitions\.conf', said), said
    assert "head: did not answer" not in said


def test_power(cluster: VirtualCluster) -> None:
    one = {"vc": NAME, "nodes": "compute0"}
    assert run("power", **one, state="powered_off") == ["Switch the nodes"]
    # The vault hears of it a moment after the user.
    awaited(lambda: registered()["leases"]["compute0"]["state"] == "off", "the vault told that the node is off")
    assert run("power", **one, state="powered_off") == []
    # One that is off is switched on.
    assert run("power", **one, do="reboot") == ["Switch the nodes"]
    awaited(lambda: registered()["leases"]["compute0"]["state"] == "running", "the vault told that the node runs")
    assert run("power", **one, state="powered_on") == []
    assert run("power", vc=NAME, nodes="frontend", state="powered_on") == []
    assert "either -e state=" in refused("power", **one, state="powered_on", do="reset")


def test_terminate(cluster: VirtualCluster) -> None:
    assert run("terminate", **SET) == ["Terminate the computeset"]
    assert jobs() == []
    assert run("terminate", **SET) == []


def test_remove_takes_nothing_away_that_was_not_named(cluster: VirtualCluster) -> None:
    # Remove may meet it at any moment of its life.
    assert cluster.computeset("s", nodes="compute[0-1]", per_host=1, walltime="1h", wait=False)["changed"]
    there = jobs()
    said = refused("remove", vc=NAME, delete_disks_of=NAME)
    assert f"{NAME} runs: s, frontend" in said, said
    assert f"{NAME} has disks: frontend" in refused("remove", vc=NAME, terminate=True)
    assert "the same" in refused("remove", vc=NAME, terminate=True, delete_disks_of="vc1")
    play("remove.yml", "--check", vc=NAME, terminate=True, delete_disks_of=NAME)
    assert jobs() == there
    assert registered()["cluster"] == cluster.resolved
    assert on("fe1", "virsh", "domstate", f"{NAME}.frontend").strip() == "running"


def test_remove_names_a_job_that_does_not_count(cluster: VirtualCluster) -> None:
    (job,) = (line.split()[0] for line in jobs())
    awaited(
        lambda: all(registered()["leases"][node]["state"] == "running" for node in ("compute0", "compute1")),
        "the vault told that the set runs",
    )
    # What a cluster is charged to may be changed while a set of it runs.
    assert in_process.answers("nas", "vc_cluster", [{**WISH, "account": "chemistry"}])[0]["changed"]
    try:
        said = refused("remove", vc=NAME, terminate=True, delete_disks_of=NAME)
        assert re.search(rf"job {job} \(it is rejected: account physics is not authorized for {NAME}\) has compute0, compute1", said), said
    finally:
        assert in_process.answers("nas", "vc_cluster", [WISH])[0]["cluster"] == cluster.resolved


def test_remove_keeps_changes_that_are_not_in_the_vault(cluster: VirtualCluster) -> None:
    all_of_it = {"vc": NAME, "terminate": True, "delete_disks_of": NAME}
    unsaved = f"{NAME} has nodes with changes that are only on a hypervisor: disk0"
    cluster.start("lasting", nodes="disk0")
    there, lease = jobs(), vault.lease(NAME, "disk0")
    assert unsaved in refused("remove", **all_of_it)
    assert jobs() == there
    cluster.terminate("lasting")
    awaited(lambda: vault.lease(NAME, "disk0")["state"] == "flushing", "the lease given back")
    assert unsaved in refused("remove", **all_of_it)
    # What an admin does who needs none of it.
    host, unit, entry = lease["holder"]["host"], f"vc-flush@{NAME}*", f"/var/lib/vc-scratch/spool/{NAME}.disk0.{lease['epoch']}"
    at_work = ["systemctl", "list-units", "--plain", "--no-legend", "--state=active,activating,deactivating", unit]
    awaited(lambda: not on(host, *at_work), "the flush unit at rest")
    on(host, "rm", "-r", entry)
    vault.break_lease(NAME, "disk0", "the proof is over")


def test_remove(before: snapshot.Snapshot, cluster: VirtualCluster) -> None:
    done = run("remove", vc=NAME, terminate=True, delete_disks_of=NAME, wait_timeout=60, force=True)
    assert done == [
        "Terminate the computesets",
        "Shut the frontend down",
        "Take its domain off the host",
        *["Take the network off this host"] * 3,
        "Take the partition out of the fabric",
        "Give up the frontend's lease, and what it has written",
        "Delete the disks in the vault",
        "Take it out of the registry",
    ]
    assert registered() == {}
    snapshot.unchanged(before, without=KEPT)
    assert run("remove", vc=NAME, delete_disks_of=NAME) == []


@pytest.mark.usefixtures("demo")
def test_pcocc() -> None:
    mine = {"set": "thrown", "user": "labuser"}
    wanted = {**mine, "vms": "tiny:1", "memory": "128MiB", "walltime": "1h", "on_hosts": ["hv2"], "key": str(KEYS / "labuser_ed25519.pub")}
    assert run("pcocc", **wanted) == ["Start or end them"]
    assert run("pcocc", **wanted) == []
    assert run("pcocc", **mine, state="absent") == ["Start or end them"]
    assert run("pcocc", **mine, state="absent") == []


def documented_tags() -> list[str]:
    text = (ROOT / "docs" / "production.md").read_text(encoding="utf-8")
    return re.findall(r"`(\w+)`", re.findall(r"(?s)`comet` takes (.*?)[.;]", text)[0])


@pytest.mark.usefixtures("demo")
def test_tags_of_comet_work_without_that_of_the_first_play() -> None:
    said = play("comet.yml", "--tags", ",".join(tag for tag in documented_tags() if tag != "define")).stdout
    assert totals(said) == {"changed": 0, "unreachable": 0, "failed": 0}
    assert "Import golden images" not in said
    for line in ("fe1", "hv1", "head"):
        assert re.search(rf"(?m)^ok: \[{line}\]", said.split("PLAY [Networks]")[1]), said
