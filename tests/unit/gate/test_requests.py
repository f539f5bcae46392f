# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What can be asked of a gate: whatever a client writes is understood or refused in one line, and never more than was meant."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.gate.front import user_from_sshd
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.gate.requests import ARGUMENTS, PLACES, VERBS, read_request
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.model.cluster import Cluster
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.model.errors import VcError
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.planner.computesets import cluster_dict
from tests.unit.refusal import refused

CLUSTER = Cluster.from_dict(cluster_dict())


def text(verb: str, **args: Any) -> str:
    return json.dumps({"schema": 1, "verb": verb, "args": {"cluster": "vc1", **args}})


def test_what_is_left_out_has_its_default() -> None:
    request = read_request(text("start", name="sim", count=2))
    assert (request.verb, request.cluster, request.options["count"]) == ("start", "vc1", 2)
    assert (request.options["wait"], request.options["wait_timeout"], request.options["on_timeout"]) == (True, 300, "leave")
    assert read_request(text("status")).options == {}


@pytest.mark.parametrize(
    ("code", "asked"),
    [
        ("invalid", "not JSON"),
        ("invalid", "[]"),
        ("invalid", "{}"),
        ("invalid", '{"schema": true, "verb": "status"}'),
        ("version", json.dumps({"schema": 2, "verb": "status", "args": {"cluster": "vc1"}})),
        ("invalid", json.dumps({"schema": 1, "verb": "exec", "args": {"cluster": "vc1"}})),
        ("invalid", json.dumps({"schema": 1, "verb": ["status"], "args": {"cluster": "vc1"}})),
        ("invalid", json.dumps({"schema": 1, "verb": "status", "args": {}})),
        ("invalid", json.dumps({"schema": 1, "verb": "status", "args": []})),
        ("invalid", text("status", nodes="compute0")),
        ("invalid", text("start", name="sim", count=1, account="other")),
        ("invalid", text("start", name="sim", count=1, hosts=["hv1"])),
        ("invalid", text("start", name="sim")),
        ("invalid", text("start", name="sim", count=1, nodes="compute0")),
        ("invalid", text("start", count=1)),
        ("invalid", text("start", name="sim", count="1")),
        ("invalid", text("start", name="sim", count=True)),
        ("invalid", text("start", name="sim", count=1, wait_timeout=0)),
        ("invalid", text("start", name="sim", count=1, wait_timeout=901)),
        ("invalid", text("start", name="sim", count=1, wait=1)),
        ("invalid", text("terminate", name="sim", on_timeout="force")),
        ("invalid", text("power", nodes="compute0")),
        ("invalid", text("power", nodes="compute0", state="powered_on", action="reset")),
        ("invalid", text("power", state="powered_on")),
        ("invalid", text("power", nodes="compute0", state="$(reboot)")),
        ("invalid", text("console", lines=0)),
        ("invalid", text("status") + "x" * 2**20),
        ("invalid", "[" * 100000),
    ],
)
def test_what_is_no_request_is_refused(code: str, asked: str) -> None:
    refused(code, read_request, asked)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
)


@given(st.sampled_from(VERBS), st.dictionaries(st.sampled_from(sorted({key for known in ARGUMENTS.values() for key in known})), JSON))
def test_anything_is_understood_or_refused(verb: str, args: dict[str, Any]) -> None:
    said = ""
    try:
        request = read_request(json.dumps({"schema": 1, "verb": verb, "args": {"cluster": "vc1", **args}}))
        assert set(request.options) == set(ARGUMENTS[verb])
    except VcError as refusal:
        said = str(refusal)
    assert said.isascii()
    assert not said or said.isprintable()


def test_power_over_the_frontend_is_a_right_of_its_own() -> None:
    assert read_request(text("power", nodes="compute[0-1]", state="powered_on")).right(CLUSTER) == "power"
    assert read_request(text("power", nodes="compute0,frontend", state="powered_on")).right(CLUSTER) == "power_frontend"
    assert read_request(text("terminate", name="frontend")).right(CLUSTER) == "terminate"


def test_every_verb_has_a_place() -> None:
    assert {verb for verbs in PLACES.values() for verb in verbs} == set(VERBS)


def test_who_calls_is_told_by_the_key_alone() -> None:
    asked = {"SSH_ORIGINAL_COMMAND": "vc-gate"}
    assert user_from_sshd(["-c", "anna"], asked) == "anna"
    # A key without a forced command: sshd passes the client's own words, and sets nothing.
    refused("forbidden", user_from_sshd, ["-c", "labuser"], {})
    refused("forbidden", user_from_sshd, ["-c", "vc-gate"], {})
    for words in ("vc-gate --user labuser", "sh", "vc-gate;id", ""):
        refused("forbidden", user_from_sshd, ["-c", "anna"], {"SSH_ORIGINAL_COMMAND": words})
    for argv in ([], ["-l"], ["-c"], ["-c", "anna", "labuser"], ["anna"], ["-i", "anna"]):
        refused("forbidden", user_from_sshd, argv, asked)
    refused("invalid", user_from_sshd, ["-c", "anna; id"], asked)
