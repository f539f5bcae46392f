# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A daemon that hangs is an answer, not a play that never ends."""

from __future__ import annotations

import threading
import time

import pytest
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.libvirt.bounded import bounded

from tests.unit.refusal import refused


class Daemon:
    def __init__(self) -> None:
        self.hangs = threading.Event()

    @bounded(0.2)
    def start(self, name: str) -> str:
        self.hangs.wait(30)
        return name

    @bounded(30)
    def refuse(self, name: str, times: int = 1) -> int:
        raise KeyError(name * times)

    @bounded(30)
    def state(self, name: str, times: int = 1) -> str:
        """Says its name."""
        return name * times


def test_what_ends_is_passed_on() -> None:
    daemon = Daemon()
    assert daemon.state("a", times=2) == "aa"
    assert Daemon.state.__doc__ == "Says its name."
    with pytest.raises(KeyError, match="bb"):
        daemon.refuse("b", times=2)


def test_what_hangs_is_named_in_time() -> None:
    daemon, begun = Daemon(), time.monotonic()
    error = refused("timeout", daemon.start, "vc1.frontend")
    assert time.monotonic() - begun < 10
    assert (error.item, "0.2 s" in error.detail) == ("vc1.frontend", True)
    daemon.hangs.set()
