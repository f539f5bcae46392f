# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Trials of the contract at the same time: only such as look at different backends."""

from __future__ import annotations

import threading

import pytest

from tests.lab.contract import side_by_side, table
from tests.lab.contract.record import Record
from tests.lab.contract.subject import Contract, Trial

ONE = Contract(host="a", dumps={"a": ("overlay",), "b": ("vault", "jobs")}, trials=())
TRIAL = Trial(name="everywhere", present={}, absent=None)


@pytest.mark.parametrize(
    ("trial", "beside"),
    [
        (TRIAL, False),
        (Trial(name="b alone", present={}, absent=None, host="b"), False),
        (Trial(name="neither", present={}, absent=None, host="c"), True),
    ],
    ids=lambda value: value.name if isinstance(value, Trial) else "",
)
def test_who_looks_at_the_same_backend_waits(trial: Trial, beside: bool) -> None:
    backends, began = side_by_side.Backends(), threading.Event()

    def other() -> None:
        with backends.taken(ONE, trial):
            began.set()

    thread = threading.Thread(target=other)
    with backends.taken(ONE, TRIAL):
        thread.start()
        assert began.wait(5 if beside else 0.2) is beside
    thread.join(5)
    assert began.is_set()


def test_every_module_has_its_turn_once(monkeypatch: pytest.MonkeyPatch) -> None:
    turns: list[str] = []
    monkeypatch.setattr(side_by_side, "tried", lambda module, _backends: (turns.append(module), Record(module))[1])
    records = side_by_side.run(table.ROWS)
    assert sorted(turns) == sorted(records) == table.ROWS
    assert {module for stage in side_by_side.STAGES for module in stage} <= set(table.ROWS)


def test_who_looks_at_the_vault_is_not_beside_who_registers_there() -> None:
    """What no lock keeps apart: a trial registers its clusters on the vault's host whatever it looks at."""
    first, second = side_by_side.STAGES
    looking = {name for name in table.ROWS if any("vault" in backends for backends in table.contract(name).dumps.values())}
    assert not looking & set(second)
    assert looking - {"vc_info"} <= set(first)
    assert set(first) - looking == {"ib_partition"}, "it registers none"
