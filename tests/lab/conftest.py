# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One lab for all proofs: it comes up once, and the two playbooks of `make demo` run on it, whatever it looked like before."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.conftest import lab_has_come_up
from tests.lab import in_process
from tests.lab.host import LAB, Failed, finished, play
from tests.lab.virtual_cluster import VirtualCluster, define, forget


def brought_up(as_is: bool) -> None:
    done = finished([str(LAB), "up"], timeout=1500)
    if done.returncode != 0:
        raise Failed(f"lab up: {done.stdout}{done.stderr}")
    if not as_is:
        play("site.yml", timeout=1500)
        play("comet.yml", timeout=1500)


@pytest.fixture(scope="session")
def demo(request: pytest.FixtureRequest) -> Iterator[None]:
    """The demo's virtual cluster, as the playbooks leave it; and the modules at hand on the hosts where they run."""
    come = lab_has_come_up()
    try:
        brought_up(request.config.getoption("--lab-as-is"))
    finally:
        come.touch()
    hosts = ("head", "nas", "fe1")
    for host in hosts:
        in_process.deploy(host)
    yield
    for host in hosts:
        in_process.remove(host)
    come.unlink()


@pytest.fixture(scope="session")
def small(demo: None) -> Iterator[VirtualCluster]:
    """A cluster of two tiny computes, for proofs that break things; the demo's own keeps running beside it."""
    cluster = define("small", 2, "10.12.0.0/24")
    yield cluster
    forget(cluster)
