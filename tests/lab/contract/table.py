# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rows, found by their files; and what is missing in them, which needs no lab to see."""

from __future__ import annotations

import importlib
from pathlib import Path

from tests.lab.contract import documented
from tests.lab.contract.subject import Change, Contract, Refused

ROWS = sorted(path.stem for path in (Path(__file__).parent / "rows").glob("*.py") if path.stem != "__init__")


def contract(module: str) -> Contract:
    found: Contract = importlib.import_module(f"tests.lab.contract.rows.{module}").CONTRACT
    return found


def missing(module: str) -> list[str]:
    """Options that no row changes or refuses and that are not declared apart; and declarations of what is not there."""
    row = contract(module)
    entries: list[Change | Refused] = [entry for trial in row.trials for entry in (*trial.changes, *trial.refused)]
    moved = {documented.canonical(entry.option) for entry in entries}
    wanted = documented.valued(module)
    return [
        *(f"no row changes {option}" for option in sorted(wanted - moved - set(row.apart))),
        *(f"{option} is declared apart and changed as well" for option in sorted(set(row.apart) & moved)),
        *(f"{option} is no option" for option in sorted(set(row.apart) - wanted)),
    ]
