# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A lock that is waited for, but not for ever."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.filelock import acquire


@pytest.fixture
def two(tmp_path: Path) -> Iterator[tuple[int, int]]:
    """The same directory opened twice."""
    first, second = (os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY) for _time in range(2))
    yield first, second
    for descriptor in (first, second):
        try:
            os.close(descriptor)
        except OSError:
            continue


def test_who_comes_second_gives_up_in_time(two: tuple[int, int]) -> None:
    first, second = two
    assert acquire(first, 0)
    begun = time.monotonic()
    assert not acquire(second, 0.1)
    assert 0.1 <= time.monotonic() - begun < 5


def test_who_waits_gets_it_when_it_is_free(two: tuple[int, int]) -> None:
    first, second = two
    assert acquire(first, 0)
    timer = threading.Timer(0.1, os.close, [first])
    timer.start()
    assert acquire(second, 30)
    timer.join()
