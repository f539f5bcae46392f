# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rows, found by their files; and what is missing in them, which needs no lab to see."""

from __future__ import annotations

import importlib
from pathlib import Path

from tests.lab.contract import documented
from tests.lab.contract.arguments import value_at
from tests.lab.contract.subject import Change, Contract, Refused

ROWS = sorted(path.stem for path in (Path(__file__).parent / "rows").glob("*.py") if path.stem != "__init__")


def contract(module: str) -> Contract:
    found: Contract = importlib.import_module(f"tests.lab.contract.rows.{module}").CONTRACT
    return found


def missing(module: str) -> list[str]:
    """Options that no row changes, or refuses to change, and that are not declared apart; and declarations of what is not there."""
    row = contract(module)
    entries: list[Change | Refused] = [entry for trial in row.trials for entry in trial.changes]
    entries += [refused for trial in row.trials for refused in trial.refused if refused.fixed]
    others = [(option, trial) for trial in row.trials for option in trial.others]
    moved = {documented.canonical(option) for option in (*(entry.option for entry in entries), *(option for option, _trial in others))}
    wanted = documented.valued(module)
    given = {(option, id(trial)): value_at(trial.present, option) for option, _own in others for trial in row.trials}
    return [
        *(f"no row changes {option}" for option in sorted(wanted - moved - set(row.apart))),
        *(f"{option} is declared apart and changed as well" for option in sorted(set(row.apart) & moved)),
        *(f"{option} is no option" for option in sorted(set(row.apart) - wanted)),
        *(
            f"{option} has the same value in {trial.name} and {other.name}"
            for option, trial in others
            for other in row.trials
            if other is not trial and given[option, id(trial)] == given[option, id(other)]
        ),
    ]
