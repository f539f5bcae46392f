# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who somebody is to a cluster, as the vault tells a gate, and which hosts may ask."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.vault import operators, protocol
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.vault.command import serve

from tests.unit.refusal import refused
from tests.unit.vault.site import Site, caller


@pytest.fixture(autouse=True)
def olga(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "operators.json"
    path.write_text(json.dumps({"schema": 1, "operators": ["olga"]}))
    monkeypatch.setattr(operators, "OPERATORS", str(path))
    return path


def asked(site: Site, user: str, cluster: Any = "vc1", allowed: Any = protocol.GATE_VERBS) -> dict[str, Any]:
    request = protocol.encode_request("authorize", {"cluster": cluster, "user": user})
    answer: dict[str, Any] = json.loads(serve(site.leases, caller("fe1"), request, allowed))
    return answer


def test_roles_come_from_the_registry_and_from_the_sites_file(site: Site) -> None:
    answer = asked(site, "labuser")
    assert answer["result"]["roles"] == ["owner"]
    assert answer["result"]["cluster"]["name"] == "vc1"
    assert "PRIVATE" not in json.dumps(answer)
    assert asked(site, "olga")["result"]["roles"] == ["operator"]


def test_a_stranger_does_not_learn_what_there_is(site: Site) -> None:
    known, unknown = asked(site, "otheruser"), asked(site, "otheruser", "nowhere")
    assert known["error"]["code"] == unknown["error"]["code"] == "forbidden"
    assert {key: known["error"][key] for key in ("tried", "detail", "remedy")} == {
        key: unknown["error"][key] for key in ("tried", "detail", "remedy")
    }
    for name in ("", "../x", "VC1", None, 7):
        assert asked(site, "labuser", name)["error"]["code"] == "invalid"


def test_what_a_host_is_for_decides_what_it_may_ask(site: Site) -> None:
    assert asked(site, "labuser", allowed=protocol.VERBS)["error"]["code"] == "invalid"
    for verb in protocol.VERBS:
        request = protocol.encode_request(verb, {"cluster": "vc1"})
        assert json.loads(serve(site.leases, caller("fe1"), request, protocol.GATE_VERBS))["error"]["code"] == "invalid"


def test_a_file_of_operators_that_cannot_be_understood_lets_nobody_in(site: Site, olga: Path) -> None:
    for text in (
        "",
        "[]",
        '{"schema": 2, "operators": ["olga"]}',
        '{"schema": 1, "operators": "olga"}',
        '{"schema": 1, "operators": ["ol ga"]}',
    ):
        olga.write_text(text)
        refused("invalid", operators.read_operators, str(olga))
        assert asked(site, "olga")["error"]["code"] == "invalid"
    olga.unlink()
    assert asked(site, "olga")["error"]["code"] == "forbidden"
