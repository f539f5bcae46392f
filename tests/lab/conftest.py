# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One lab for all proofs: it comes up once, and the two playbooks of `make demo` run on it, whatever it looked like before."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.lab import in_process
from tests.lab.bringing_up import BringingUp, hosts_up
from tests.lab.virtual_cluster import VirtualCluster, define, forget

BEGUN = pytest.StashKey[BringingUp]()


def pytest_collection_finish(session: pytest.Session) -> None:
    """Begin with the lab before the first test, which need not be one of ours."""
    wanted = any("demo" in getattr(item, "fixturenames", ()) for item in session.items)
    if wanted and not session.config.option.collectonly and not session.config.getoption("--lab-as-is"):
        session.config.stash[BEGUN] = BringingUp()


def pytest_unconfigure(config: pytest.Config) -> None:
    if BEGUN in config.stash:
        config.stash[BEGUN].stop()


@pytest.fixture(scope="session")
def demo(request: pytest.FixtureRequest) -> Iterator[None]:
    """The demo's virtual cluster, as the playbooks leave it; and the modules at hand on the hosts where they run."""
    if BEGUN in request.config.stash:
        request.config.stash[BEGUN].finish()
    else:
        hosts_up()
    hosts = ("head", "nas", "fe1")
    for host in hosts:
        in_process.deploy(host)
    yield
    for host in hosts:
        in_process.remove(host)


@pytest.fixture(scope="session")
def small(demo: None) -> Iterator[VirtualCluster]:
    """A cluster of two tiny computes, for proofs that break things; the demo's own keeps running beside it."""
    cluster = define("small", 2, "10.12.0.0/24")
    yield cluster
    forget(cluster)
