# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A filled vault, and a target daemon of our own."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.vault.tgtd import Tgtd

from tests.unit.vault.pool import Pool
from tests.unit.vault.site import Site


@pytest.fixture(scope="session")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pool]:
    """One for all tests; each has a dataset of its own in it."""
    if shutil.which("zfs-fuse") is None or os.getuid() != 0 or not os.path.exists("/dev/fuse"):
        pytest.skip("no zfs-fuse on this machine, or not root")
    made = Pool(tmp_path_factory.mktemp("pool"))
    try:
        yield made
    finally:
        made.close()


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """A vault of plain files with image debian12@r1 and cluster vc1."""
    return Site(tmp_path).fill()


@pytest.fixture(params=["directory", "zfs"])
def empty_site(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Site]:
    """A vault with nothing in it, once with each kind of store."""
    if request.param == "directory":
        yield Site(tmp_path)
        return
    with request.getfixturevalue("pool").inside(tmp_path / "vault" / "zfs") as dataset:
        yield Site(tmp_path, dataset)


@pytest.fixture
def any_site(empty_site: Site) -> Site:
    """As `site`, once with each kind of store."""
    return empty_site.fill()


class Daemon:
    """A real tgtd on a port of the loopback and a control socket of its own."""

    def __init__(self) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self.control = 20000 + self.port % 10000
        self.socket = f"/var/run/tgtd/socket.{self.control}"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def portal(self) -> str:
        return f"127.0.0.1:{self.port}"

    def start(self) -> None:
        argv = ["tgtd", "-f", "-C", str(self.control), "--iscsi", f"portal={self.portal}"]
        self._process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for _attempt in range(100):
            try:
                Tgtd(self.socket).targets()
                return
            except Exception:
                time.sleep(0.05)
        raise RuntimeError("tgtd did not start")

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
        for name in (self.socket, f"{self.socket}.lock"):
            Path(name).unlink(missing_ok=True)


@pytest.fixture
def daemon() -> Iterator[Daemon]:
    """Running; killed afterwards."""
    if shutil.which("tgtd") is None:
        pytest.skip("no tgtd on this machine")
    running = Daemon()
    try:
        running.start()
        yield running
    finally:
        running.stop()
