# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The versions on the first page are those that these proofs run on."""

from __future__ import annotations

import pytest

from tests.lab import versions


@pytest.mark.usefixtures("demo")
def test_the_first_page_names_what_this_runs_on() -> None:
    assert versions.differing("12", "hv1") == {}
