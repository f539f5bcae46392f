# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""docs/contract.md, from what the trials have shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tests.lab.contract import documented
from tests.lab.contract.record import CLAUSES, Record
from tests.lab.contract.subject import Contract

HEAD = """\
<!-- SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors -->
<!-- SPDX-License-Identifier: GPL-3.0-or-later -->
# What every module promises

Written by `tests/lab/test_contract.py` from its own results, on the lab's hosts with their real daemons; the test fails when this page
is not what it would write. What it calls, changes and breaks is in `tests/lab/contract/rows/`, one file for each module.
"""


def page(records: Mapping[str, Record], contracts: Mapping[str, Contract]) -> str:
    parts = [HEAD, "## Clauses\n", table(("clause", "says"), list(CLAUSES.items()))]
    parts += ["## Modules\n", "How many times each clause was looked at and held; why it has nothing to hold where there is no number.\n"]
    parts.append(table(("clause", *(f"`{name}`" for name in records)), [_clause(name, records, contracts) for name in CLAUSES]))
    for name, record in records.items():
        parts += [f"## {name}\n", table(("option", "what the row shows"), _options(name, record, contracts[name]))]
        if record.stories:
            parts.append(table(("what goes wrong", "the answer"), record.stories))
        known = {path: why for trial in contracts[name].trials for path, why in trial.unpredicted.items()}
        if known:
            parts.append(table(("not predicted", "because"), [(f"`{path}`", why) for path, why in known.items()]))
    return "\n".join(parts)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |\n" for line in lines)


def _clause(clause: str, records: Mapping[str, Record], contracts: Mapping[str, Contract]) -> tuple[str, ...]:
    cells = []
    for name, record in records.items():
        held = record.clauses[clause]
        cells.append("**broken**" if held.complaints else str(held.looks) if held.looks else contracts[name].without.get(clause, "**?**"))
    return (clause, *cells)


def _options(module: str, record: Record, contract: Contract) -> list[tuple[str, str]]:
    rows = []
    for option in sorted(documented.valued(module)):
        shown = [shown.how for shown in record.options if shown.option == option]
        rows.append((f"`{option}`", "; ".join(shown) or contract.apart.get(option, "**nothing**")))
    return rows
