# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How an agent is asked, what stays of it, and how it reports."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.agent import reporter
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.agent.control import Control, call
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.model.errors import VcError


def answer(state: str) -> Callable[[str, Mapping[str, Any]], dict[str, Any]]:
    def respond(verb: str, _request: Mapping[str, Any]) -> dict[str, Any]:
        if verb not in {"status", "stop"}:
            raise KeyError(verb)
        return {"host": "hv1", "nodes": {"compute0": {"state": state, "host": "hv1", "msg": ""}}}

    return respond


def state(directory: Path) -> str:
    return str(call(directory, "status").get("nodes", {}).get("compute0", {}).get("state", "no answer"))


def test_an_agent_answers_and_leaves_its_last_word(tmp_path: Path) -> None:
    assert state(tmp_path) == "no answer"
    control = Control(tmp_path, answer("running"))
    control.start()
    assert state(tmp_path) == "running"
    assert "ended" not in call(tmp_path, "status")
    assert call(tmp_path, "exec")["ok"] is False
    control.stop()
    assert not (tmp_path / "agent.sock").exists()
    assert state(tmp_path) == "running"
    assert call(tmp_path, "status")["ended"] is True


def test_a_request_for_thousands_of_nodes_arrives_whole(tmp_path: Path) -> None:
    asked: list[tuple[str, Mapping[str, Any]]] = []

    def respond(verb: str, request: Mapping[str, Any]) -> dict[str, Any]:
        asked.append((verb, request))
        return {"host": "hv1", "nodes": {}}

    control = Control(tmp_path, respond)
    control.start()
    names = [f"a-compute-with-a-long-name{number:06d}" for number in range(4096)]
    assert call(tmp_path, "off", names, 30)["ok"] is True
    control.stop()
    verb, request = next(found for found in asked if found[0] == "off")
    assert (verb, request["nodes"], request["seconds"]) == ("off", names, 30)


def test_a_killed_agents_note_is_no_answer_until_the_supervisor_closes_it(tmp_path: Path) -> None:
    Control(tmp_path, answer("running")).note()
    assert state(tmp_path) == "no answer"
    assert Control(tmp_path, answer("preparing")).abandon("it was killed") == ["compute0"]
    assert call(tmp_path, "status")["nodes"]["compute0"] == {"state": "crashed", "host": "hv1", "msg": "it was killed"}


def test_what_had_ended_has_not_crashed(tmp_path: Path) -> None:
    Control(tmp_path, answer("off")).note()
    assert Control(tmp_path, answer("preparing")).abandon("it was killed") == []
    assert state(tmp_path) == "off"


def until(condition: Callable[[], bool]) -> bool:
    end = time.monotonic() + 5
    while not condition() and time.monotonic() < end:
        time.sleep(0.01)
    return condition()


def test_states_are_sent_again_when_the_vault_was_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reporter, "_RETRY_SECONDS", 0.02)
    sent: list[dict[str, str]] = []
    complaints: list[str] = []

    def send(states: Mapping[str, str]) -> None:
        sent.append(dict(states))
        if len(sent) < 4:
            raise VcError("unreachable", "vault", "asking", "away", "wait")

    told = reporter.Reporter(send, complaints.append)
    told.report("compute0", "running")
    assert until(lambda: len(sent) == 4)
    assert sent[-1] == {"compute0": "running"}
    assert len(complaints) == 1
    told.close(1)


def test_states_are_repeated_so_that_a_lost_lease_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reporter, "_REPEAT_SECONDS", 0.02)
    sent: list[dict[str, str]] = []
    told = reporter.Reporter(lambda states: sent.append(dict(states)), lambda _text: None)
    told.report("compute0", "running")
    assert until(lambda: len(sent) >= 3)
    assert sent[-1] == {"compute0": "running"}


def test_closing_does_not_wait_for_a_vault_that_is_away() -> None:
    def send(_states: Mapping[str, str]) -> None:
        raise VcError("unreachable", "vault", "asking", "away", "wait")

    told = reporter.Reporter(send, lambda _text: None)
    told.report("compute0", "off")
    begun = time.monotonic()
    told.close(0.3)
    assert time.monotonic() - begun < 2


@pytest.mark.parametrize(
    "line", [b"{", b"[" * 100000, b"\xff", b"5", b'{"verb": "off", "nodes": [[]], "seconds": null}', b'{"verb": "off"}']
)
def test_no_request_ends_the_thread_that_answers(tmp_path: Path, line: bytes) -> None:
    def answers(verb: str, request: Mapping[str, Any]) -> dict[str, Any]:
        if verb == "off":
            return {"nodes": set(request["nodes"]), "seconds": int(request["seconds"])}
        return answer("running")(verb, request)

    control = Control(tmp_path, answers)
    control.start()
    with socket.socket(socket.AF_UNIX) as caller:
        caller.connect(str(tmp_path / "agent.sock"))
        caller.sendall(line + b"\n")
        with caller.makefile("rb") as stream:
            said = stream.readline()
    assert not said or json.loads(said)["ok"] is False
    assert state(tmp_path) == "running"
