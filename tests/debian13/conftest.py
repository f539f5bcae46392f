# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The site of one Debian 13 host, converged by the playbooks that the other site has, with its own Slurm."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.lab import in_process
from tests.lab.host import DEBIAN13, LAB, Failed, finished, play
from tests.lab.virtual_cluster import VirtualCluster, define, forget

HOST = "trixie"


@pytest.fixture(scope="session")
def site(request: pytest.FixtureRequest) -> Iterator[None]:
    done = finished([str(LAB), "up", "--hosts", HOST], timeout=1500)
    if done.returncode != 0:
        raise Failed(f"lab up: {done.stdout}{done.stderr}")
    if not request.config.getoption("--lab-as-is"):
        play("site.yml", inventory=DEBIAN13)
        play("comet.yml", inventory=DEBIAN13)
    in_process.deploy(HOST)
    yield
    in_process.remove(HOST)


@pytest.fixture(scope="session")
def small(site: None) -> Iterator[VirtualCluster]:
    """A cluster for proofs that end it; the site's own keeps running beside it."""
    cluster = define("small", 2, "10.12.0.0/24", vault_host=HOST, submit_host=HOST)
    yield cluster
    forget(cluster)
