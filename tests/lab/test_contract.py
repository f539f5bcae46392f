# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What every module promises, held by every module on its own host: one test for each module and clause, and the page that says so."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator

import pytest

from tests.lab.contract import documented, station, table
from tests.lab.contract.page import page
from tests.lab.contract.record import CLAUSES, Record
from tests.lab.contract.trial import Course
from tests.lab.host import ROOT

PAGE = ROOT / "docs" / "contract.md"
WRITTEN = ROOT / ".cache" / "contract.md"


@pytest.fixture(scope="module")
def record(demo: None) -> Iterator[Callable[[str], Record]]:
    """A module's record; its trials run when the first test asks for it."""
    records: dict[str, Record] = {}

    def of(module: str) -> Record:
        if module not in records:
            records[module] = tried(module)
        return records[module]

    yield of
    station.close_all()


def tried(module: str) -> Record:
    """All trials of a module, and what only their sum shows."""
    record, row, returned = Record(module), table.contract(module), documented.Returned(module)
    for trial in row.trials:
        try:
            Course(module, row, trial, record, returned).run()
        except Exception:
            record.broken = f"{trial.name}: {traceback.format_exc()}"
            return record
    lists = documented.lists(module)
    unheard = lists - record.repeated - {path for trial in row.trials for path in trial.repeatable}
    if lists:
        record.hold("duplicates", "all lists", *(f"no row repeats an entry of {path}" for path in sorted(unheard)))
    record.hold("returned", "all answers", *(f"{key} is documented, and no answer had it" for key in returned.never_seen()))
    return record


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
