# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sanity takes as long as all linters together, so it begins with the first of them and runs beside them."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Optional

import pytest

from tests.static.release import unpack_artifact
from tests.static.sanity import Sanity


@pytest.fixture(scope="session", autouse=True)
def sanity(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Optional[Sanity]]:
    if not any("sanity" in getattr(item, "fixturenames", ()) and item.path.name == "test_sanity.py" for item in request.session.items):
        yield None
        return
    released = functools.partial(unpack_artifact, tmp_path_factory.mktemp("released"))
    begun = Sanity(tmp_path_factory.mktemp("sanity"), released)
    yield begun
    begun.stop()
