# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""`ansible-test sanity` of this interpreter's ansible-core on what would be released, without a single ignore file."""

from __future__ import annotations

import pytest

from tests.static.checker import ROOT
from tests.static.sanity import Sanity


def test_no_ignore_files() -> None:
    assert not list(ROOT.glob("tests/sanity/ignore-*"))


@pytest.mark.usefixtures("artifact")
def test_ansible_test_sanity(sanity: Sanity) -> None:
    sanity.finish()
