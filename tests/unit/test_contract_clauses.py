# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The contract's clauses have no hole: a module that breaks one is complained about.  On a made-up host, with a made-up module."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from tests.lab.contract import documented, trial
from tests.lab.contract.record import Record
from tests.lab.contract.subject import Contract, Trial

# One without lists, so that the course has nothing more to ask; what its answers look like is no matter here.
MODULE = "vc_power"
CONTRACT = Contract("host", {"host": ("things",)}, (Trial("thing", {"state": "present"}, {"state": "absent"}),))


class Host:
    """Has a thing, or has it not.  One of its answers is not what it should be."""

    def __init__(self, wrong: int, how: Mapping[str, Any]) -> None:
        self._there, self._calls = False, 0
        self._wrong, self._how = wrong, how

    def call(self, _module: str, args: Mapping[str, Any]) -> tuple[int, str]:
        wanted = args["state"] == "present"
        changed = wanted is not self._there
        answer = {
            "changed": changed,
            "diff": {"before": {"thing": self._there} if changed else {}, "after": {"thing": wanted} if changed else {}},
            "actions": [{"item": "thing", "verb": "turn"}] if changed else [],
            "results": [],
            "thing": {"state": args["state"]},
        }
        if self._calls == self._wrong:
            answer.update(self._how)
        elif not args.get("_ansible_check_mode"):
            self._there = wanted
        self._calls += 1
        return 0, json.dumps(answer)

    def dump(self, names: Sequence[str]) -> dict[str, dict[str, str]]:
        return {name: {"thing": ""} if self._there else {} for name in names}


def complaints(monkeypatch: pytest.MonkeyPatch, wrong: int, how: Mapping[str, Any]) -> dict[str, list[str]]:
    """By clause, of those that are about calls in a row."""
    host, record = Host(wrong, how), Record(MODULE)
    monkeypatch.setattr(trial, "at", lambda _host, _user: host)
    trial.Course(MODULE, CONTRACT, CONTRACT.trials[0], record, documented.Returned(MODULE)).run()
    return {clause: record.clauses[clause].complaints for clause in ("predicted", "again", "truth", "absent", "foreign")}


def test_a_module_that_keeps_them_is_not_complained_about(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not any(complaints(monkeypatch, -1, {}).values())


@pytest.mark.parametrize("how", [{"failed": True, "msg": "no"}, {"thing": {"state": "odd"}}, {"actions": [{"verb": "turn"}]}])
@pytest.mark.parametrize(("call", "clause"), [*((call, "again") for call in (2, 3)), *((call, "absent") for call in (4, 5, 6, 7))])
def test_a_call_that_has_nothing_to_do_says_so(monkeypatch: pytest.MonkeyPatch, call: int, clause: str, how: Mapping[str, Any]) -> None:
    assert complaints(monkeypatch, call, how)[clause]
