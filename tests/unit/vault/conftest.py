# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A filled vault, and a target daemon of our own."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.vault.tgtd import Tgtd

from tests.unit.vault.site import Site


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """A vault with image debian12@r1 and cluster vc1."""
    return Site(tmp_path).fill()


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
