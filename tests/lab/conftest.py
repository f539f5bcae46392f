# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One lab for all proofs: `make demo` brings it up once, whatever it looked like before."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.conftest import lab_has_come_up
from tests.lab import in_process
from tests.lab.host import LAB, ROOT, Failed, finished
from tests.lab.virtual_cluster import VirtualCluster, define, forget

DEMO_SAID = ROOT / ".cache" / "lab" / "demo.txt"


def brought_up(as_is: bool) -> None:
    argv = [str(LAB), "up"] if as_is else ["make", "-C", str(ROOT), "demo"]
    done = finished(argv, timeout=3600, env={"YES": "1"})
    if done.returncode != 0:
        raise Failed(f"{argv[-1]}: {done.stdout[-12000:]}{done.stderr[-4000:]}")
    if not as_is:
        DEMO_SAID.write_text(done.stdout, encoding="utf-8")


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
    in_process.close_all()
    for host in hosts:
        in_process.remove(host)
    come.unlink()


@pytest.fixture(scope="session")
def small(demo: None) -> Iterator[VirtualCluster]:
    """A cluster of two tiny computes, for proofs that break things; the demo's own keeps running beside it."""
    cluster = define("small", 2, "10.12.0.0/24")
    yield cluster
    forget(cluster)
