# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The error type: reads as one sentence, survives a process border."""

from __future__ import annotations

import copy
import json
import pickle

import pytest
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.model.errors import CODES, VcError
from hypothesis import given
from hypothesis import strategies as st

TEXTS = st.text(max_size=30)


def test_a_refusal_and_a_failure_read_differently() -> None:
    refusal = VcError("leased", "vc1/compute0", "taking a lease", "job 7 on hv1 holds it", "terminate that computeset")
    assert str(refusal) == "vc1/compute0: taking a lease refused: job 7 on hv1 holds it. Remedy: terminate that computeset"
    failure = VcError("backend", "vc1", "listing jobs", "connection refused")
    assert str(failure) == "vc1: listing jobs failed: connection refused"
    assert str(VcError("invalid", "vc1")) == "vc1"


@pytest.mark.parametrize("code", sorted(CODES))
@given(item=TEXTS, tried=TEXTS, detail=TEXTS, remedy=TEXTS)
def test_crosses_a_process_border_unchanged(code: str, item: str, tried: str, detail: str, remedy: str) -> None:
    error = VcError(code, item, tried, detail, remedy)
    again = VcError.from_dict(json.loads(json.dumps(error.to_dict())))
    assert again.to_dict() == error.to_dict()
    assert str(again) == str(error)


@pytest.mark.parametrize("data", [{}, {"code": "nonsense"}, {"code": None, "item": 5}])
def test_malformed_data_becomes_a_backend_error(data: dict[str, object]) -> None:
    error = VcError.from_dict(data)
    assert error.code == "backend"
    assert isinstance(error.item, str)


def test_unknown_codes_are_a_programming_error() -> None:
    with pytest.raises(ValueError, match="unknown error code"):
        raise VcError("oops", "vc1")


def test_copies_and_pickles_like_any_exception() -> None:
    error = VcError("unknown", "vc9", "looking it up", "not registered", "define it")
    for again in (copy.copy(error), pickle.loads(pickle.dumps(error))):
        assert again.to_dict() == error.to_dict()
