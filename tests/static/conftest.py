# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The collection as it would be released; sanity takes as long as all linters together, so it begins with the first of them."""

from __future__ import annotations

import pathlib
import shutil
from collections.abc import Iterator
from typing import Optional

import pytest

from tests.static.release import build_artifact
from tests.static.sanity import Sanity, place


@pytest.fixture(scope="session")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """What would be released of this work tree."""
    return build_artifact(tmp_path_factory.mktemp("artifact"))


@pytest.fixture(scope="session", autouse=True)
def sanity(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Optional[Sanity]]:
    if not any("sanity" in getattr(item, "fixturenames", ()) and item.path.name == "test_sanity.py" for item in request.session.items):
        yield None
        return
    try:
        released = request.getfixturevalue("artifact")
    except pytest.fail.Exception:
        # Told by those who ask for it; the linters have more to say.
        yield None
        return
    directory = tmp_path_factory.mktemp("sanity")
    shutil.unpack_archive(released, place(directory))
    begun = Sanity(directory)
    yield begun
    begun.stop()
