# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every module has its row in the contract, and every option of it is changed there; seen without the lab."""

from __future__ import annotations

import pytest

from tests.lab.contract import documented, table


def test_every_module_has_a_row() -> None:
    assert table.ROWS == documented.MODULES


@pytest.mark.parametrize("module", table.ROWS)
def test_every_option_is_changed_by_a_row(module: str) -> None:
    assert table.missing(module) == []
