# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Requests and answers, whoever wrote them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.model.errors import VcError
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.vault import protocol
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.vault.command import caller_from_sshd, serve
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.hostile import every_hostile
from tests.unit.refusal import refused
from tests.unit.vault.site import Site, caller, job

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


def test_there_and_back() -> None:
    assert protocol.decode_request(protocol.encode_request("lease", {"a": [1]})) == ("lease", {"a": [1]})
    assert protocol.decode_answer(protocol.answer({"a": 1}), "vault", "asking") == {"a": 1}
    error = VcError("leased", "vc1/compute0", "giving it", "held", "wait")
    with pytest.raises(VcError, match="vc1/compute0: giving it refused: held. Remedy: wait"):
        protocol.decode_answer(protocol.refusal(error), "vault", "asking")


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "invalid"),
        ("[]", "invalid"),
        ('{"verb": "lease"}', "invalid"),
        ('{"schema": 2, "verb": "lease", "args": {}}', "version"),
        ('{"schema": 1, "verb": "break", "args": {}}', "invalid"),
        ('{"schema": 1, "verb": "restore-exports", "args": {}}', "invalid"),
        ('{"schema": 1, "verb": "lease", "args": []}', "invalid"),
        ("[" * 100_000, "invalid"),
        ('{"schema": 1, "verb": "status", "args": {"a": "' + "a" * protocol.LARGEST_REQUEST + '"}}', "invalid"),
    ],
)
def test_requests_that_are_none(text: str, code: str) -> None:
    refused(code, protocol.decode_request, text)


@pytest.mark.parametrize(
    "text", ["", "Permission denied", "{}", '{"ok": 1, "result": {}}', '{"ok": true}', "\x1b[31mred\n", '{"ok": false}']
)
def test_answers_that_are_none(text: str) -> None:
    refused("backend", protocol.decode_answer, text, "vault", "asking")


@given(verb=st.sampled_from(protocol.VERBS), args=st.dictionaries(st.sampled_from(["cluster", "nodes", "holder", "x"]), JSON))
def test_any_arguments_are_answered_and_change_nothing(verb: str, args: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> None:
    site = _kept(tmp_path_factory)
    before = site.content()
    answer = json.loads(serve(site.leases, caller(), protocol.encode_request(verb, args)))
    assert answer["ok"] is (verb == "status" and answer["ok"])
    if not answer["ok"]:
        assert answer["error"]["remedy"]
        assert answer["error"]["code"] in ("invalid", "duplicate", "unknown")
    assert site.content() == before


_SITES: list[Site] = []


def _kept(factory: pytest.TempPathFactory) -> Site:
    if not _SITES:
        _SITES.append(Site(factory.mktemp("site")).fill())
    return _SITES[0]


def test_serving(site: Site) -> None:
    request = protocol.encode_request("lease", {"cluster": "vc1", "nodes": ["compute0"], "holder": job()})
    answer = json.loads(serve(site.leases, caller(), request))
    assert answer["result"]["nodes"]["compute0"]["epoch"] == 1
    seen = json.loads(serve(site.leases, caller(), protocol.encode_request("status", {})))
    assert list(seen["result"]["clusters"]["vc1"]["leases"]) == ["compute0"]
    (site.root / "registry" / "registry.json").write_text("{")
    assert json.loads(serve(site.leases, caller(), request))["error"]["code"] == "backend"


def test_who_calls() -> None:
    hv1 = caller_from_sshd("hv1", {"SSH_CONNECTION": "10.77.0.21 50000 10.77.0.12 22"})
    assert (hv1.host, hv1.address, hv1.portal) == ("hv1", "10.77.0.21", "10.77.0.12:3260")
    six = caller_from_sshd("hv1", {"SSH_CONNECTION": "fd77::21 50000 fd77::12 22"}, 3261)
    assert (six.address, six.portal) == ("fd77::21", "[fd77::12]:3261")
    assert caller_from_sshd("hv1", {"SSH_CONNECTION": "::ffff:10.0.0.1 1 ::ffff:10.0.0.2 22"}).address == "10.0.0.1"
    for connection in ("", "10.77.0.21", "a b c d", "10.77.0.21,ALL 1 10.77.0.12 22"):
        refused("forbidden", caller_from_sshd, "hv1", {"SSH_CONNECTION": connection})
    refused("forbidden", caller_from_sshd, "hv1", {})


@every_hostile
def test_hosts_with_hostile_names(hostile: str) -> None:
    refused("invalid", caller_from_sshd, hostile, {"SSH_CONNECTION": "10.77.0.21 50000 10.77.0.12 22"})
