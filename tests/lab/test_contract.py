# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What every module promises, held by every module on its own host: one test for each module and clause, and the page that says so."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.lab.contract import side_by_side, station, table
from tests.lab.contract.page import page
from tests.lab.contract.record import CLAUSES, Record
from tests.lab.host import ROOT

PAGE = ROOT / "docs" / "contract.md"
WRITTEN = ROOT / ".cache" / "contract.md"


@pytest.fixture(scope="module")
def record(demo: None, request: pytest.FixtureRequest) -> Iterator[Callable[[str], Record]]:
    """A module's record; the trials of all modules that are asked for run when the first test asks."""
    of_tests = {item.callspec.params["module"] for item in request.session.items if isinstance(item, pytest.Function) and _of_one(item)}
    records: dict[str, Record] = {}

    def of(module: str) -> Record:
        if module not in records:
            records.update(side_by_side.run((of_tests | {module}) - records.keys()))
        return records[module]

    yield of
    station.close_all()


def _of_one(item: pytest.Function) -> bool:
    return item.function is test_contract


@pytest.mark.parametrize("clause", CLAUSES)
@pytest.mark.parametrize("module", table.ROWS)
def test_contract(record: Callable[[str], Record], module: str, clause: str) -> None:
    seen = record(module)
    held = seen.clauses[clause]
    assert not seen.broken, seen.broken
    assert not held.complaints, "\n".join(held.complaints)
    if clause in table.contract(module).without:
        assert not held.looks, "it is held, and declared to have nothing to hold"
    else:
        assert held.looks, "nothing was looked at, so it has not been held"


def test_the_page_says_what_was_seen(record: Callable[[str], Record]) -> None:
    written = page({module: record(module) for module in table.ROWS}, {module: table.contract(module) for module in table.ROWS})
    WRITTEN.write_text(written, encoding="utf-8")
    assert PAGE.is_file(), f"cp {WRITTEN} {PAGE}"
    assert PAGE.read_text(encoding="utf-8") == written, f"see diff {PAGE} {WRITTEN}; when that is right: cp {WRITTEN} {PAGE}"
