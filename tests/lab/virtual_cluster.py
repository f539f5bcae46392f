# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A small virtual cluster of `tiny` guests, for proofs that break things; it is driven by the same modules as any other."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from tests.lab import in_process, vault
from tests.lab.host import LAB, Failed, attempt, finished, on

SUBMIT_HOST = "head"
VAULT_HOST = "nas"
FRONTEND_HOST = "fe1"
T = TypeVar("T")


def awaited(look: Callable[[], T], what: str, timeout: float = 60) -> T:
    """Look until the answer is true, or Failed; for things that no command waits for."""
    end = time.monotonic() + timeout
    while True:
        seen = look()
        if seen:
            return seen
        if time.monotonic() > end:
            raise Failed(f"not within {timeout:g} s: {what}")
        time.sleep(0.2)


@dataclass(frozen=True)
class VirtualCluster:
    """A defined cluster: what vc_cluster returned, and where its owner submits and its disks are."""

    resolved: dict[str, Any]
    submit_host: str = SUBMIT_HOST
    vault_host: str = VAULT_HOST

    @property
    def name(self) -> str:
        return str(self.resolved["name"])

    @property
    def owner(self) -> str:
        return str(self.resolved["owner"])

    def computeset(self, name: str = "set", check: bool = False, **options: Any) -> dict[str, Any]:
        """One call of vc_computeset as the owner; its answer, failed or not."""
        args = {"cluster": self.resolved, "name": name, **options, "_ansible_check_mode": check}
        return in_process.answers(self.submit_host, "vc_computeset", [args], self.owner)[0]

    def start(self, name: str = "set", **options: Any) -> int:
        """Start a set and return its job id; one that was waited for is running in the vault's eyes as well."""
        answer = self.computeset(name, **{"nodes": "compute[0-1]", "per_host": 1, "walltime": "1h", "grace": "5s", **options})
        if answer.get("failed"):
            raise Failed(f"{self.name}/{name} did not start: {answer.get('msg')}")
        if options.get("wait", True):
            # It hears of a node a moment after the user.
            nodes = [node for node, seen in answer["computeset"]["nodes"].items() if seen["state"] == "running"]
            awaited(lambda: all(self._lease_state(node) == "running" for node in nodes), "the vault told that the nodes run")
        return int(answer["computeset"]["job_id"])

    def _lease_state(self, node: str) -> str:
        return str(vault.lease(self.name, node, self.vault_host)["state"])

    def terminate(self, name: str = "set") -> None:
        answer = self.computeset(name, state="absent")
        if answer.get("failed"):
            raise Failed(f"{self.name}/{name} was not terminated: {answer.get('msg')}")


def define(
    name: str,
    computes: int,
    cidr: str,
    persistent: bool = False,
    owner: str = "labuser",
    account: str = "physics",
    vault_host: str = VAULT_HOST,
    submit_host: str = SUBMIT_HOST,
) -> VirtualCluster:
    """A cluster without frontend, of computes as small as they get."""
    nodes = f"compute[0-{computes - 1}]" if computes > 1 else "compute0"
    group = {"nodes": nodes, "cpus": 1, "memory": "128MiB", "source": {"image": "tiny"}, "persistent": persistent}
    wish = {"name": name, "owner": owner, "account": account, "network": {"cidr": cidr}, "computes": [group]}
    answer = in_process.answers(vault_host, "vc_cluster", [wish])[0]
    if answer.get("failed"):
        raise Failed(f"{name} was not defined: {answer.get('msg')}")
    return VirtualCluster(answer["cluster"], submit_host, vault_host)


@contextlib.contextmanager
def lone_frontend(name: str, cidr: str, keys: Sequence[str] = (), **more: Any) -> Iterator[VirtualCluster]:
    """A cluster that is a frontend and nothing else, on FRONTEND_HOST, and a tiny one if it is not said; defined and off."""
    frontend = {"host": FRONTEND_HOST, "cpus": 1, "memory": "128MiB", "source": {"image": "tiny"}, **more}
    wish = {"name": name, "owner": "labuser", "account": "physics", "network": {"cidr": cidr}, "frontend": frontend}
    wish["ssh_authorized_keys"] = list(keys)
    cluster = VirtualCluster(in_process.answers(VAULT_HOST, "vc_cluster", [wish])[0]["cluster"])

    def on_its_host(**options: Any) -> None:
        answer = in_process.answers(FRONTEND_HOST, "vc_frontend", [{"cluster": cluster.resolved, "wait": False, **options}])[0]
        if answer.get("failed"):
            raise Failed(f"{name}: {answer.get('msg')}")

    try:
        on_its_host(started=False)
        yield cluster
    finally:
        attempt(FRONTEND_HOST, "virsh", "-q", "destroy", f"{name}.frontend")
        on_its_host(state="absent", remove_disk=True)
        in_process.answers(VAULT_HOST, "image_vault", [{"disks": [{"cluster": name, "node": "frontend", "state": "absent"}]}])
        forget(cluster)


def boots(name: str) -> list[str]:
    """The boot ids on the console of a cluster's tiny frontend, of its present QEMU."""
    return re.findall(r"READY .* boot_id=(\S+)", on(FRONTEND_HOST, "cat", f"/var/lib/vc-frontends/{name}/console.log"))


def power_cycled(host: str) -> None:
    """Its power goes, and comes back."""
    for argv in (["crash", host], ["up"]):
        done = finished([str(LAB), *argv], timeout=300)
        if done.returncode != 0:
            raise Failed(f"lab {argv[0]}: {done.stdout}{done.stderr}")


def forget(cluster: VirtualCluster) -> None:
    """Remove a cluster without disks; the leases of its last jobs come back a moment after those have gone."""
    answer: dict[str, Any] = {}

    def decided() -> bool:
        answer.clear()
        answer.update(in_process.answers(cluster.vault_host, "vc_cluster", [{"name": cluster.name, "state": "absent"}])[0])
        return answer.get("error_code") != "in_use"

    awaited(decided, f"{cluster.name} without leases")
    if answer.get("failed"):
        raise Failed(f"{cluster.name} was not removed: {answer.get('msg')}")


def cancel(job_id: int, submit_host: str = SUBMIT_HOST) -> None:
    """Pull the power cord of a job, and see it leave the queue."""
    attempt(submit_host, "scancel", str(job_id))
    queue = ["squeue", "-h", "-a", "-t", "PD,R,S,CG,CF", "-o", "%i", "-u", "labuser,otheruser"]
    awaited(lambda: str(job_id) not in on(submit_host, *queue).split(), f"job {job_id} gone")


def cancel_all(cluster: VirtualCluster) -> None:
    """The same for every job that says it is the cluster's, known to the proof or not."""
    claims = on("head", "squeue", "-h", "-a", "-o", "%i %k").splitlines()
    for line in claims:
        if f'"vc":"{cluster.name}"' in line:
            cancel(int(line.split()[0]))


def job_hosts(job_id: int) -> list[str]:
    nodes = on("head", "squeue", "-h", "-j", str(job_id), "-o", "%N").strip()
    return on("head", "scontrol", "show", "hostnames", nodes).split() if nodes else []
