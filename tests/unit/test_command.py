# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Running commands: with real processes."""

from __future__ import annotations

import json
import sys
import time

import pytest
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.command import PATH, Commands, Result
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.model.errors import VcError

from tests.unit.hostile import HOSTILE
from tests.unit.refusal import refused


def test_answers_status_and_both_streams() -> None:
    result = Commands().run(["sh", "-c", "cat; echo problem >&2; exit 3"], stdin="in")
    assert result == Result(3, "in", "problem\n")
    assert result.last_line == "problem"


def test_the_environment_is_fixed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    monkeypatch.setenv("PATH", "/nonexistent")
    monkeypatch.setenv("LD_PRELOAD_NOT", "x")
    seen = dict(line.split("=", 1) for line in Commands({"MORE": "1"}).run(["env"]).out.splitlines())
    assert seen == {"PATH": PATH, "LC_ALL": "C", "LANGUAGE": "C", "MORE": "1"}


def test_no_shell_reads_the_arguments() -> None:
    arguments = [text for text in HOSTILE.values() if "\x00" not in text]
    program = "import sys, json; print(json.dumps(sys.argv[1:]))"
    assert json.loads(Commands().run([sys.executable, "-I", "-X", "utf8", "-c", program, *arguments]).out) == arguments


def test_every_start_is_counted() -> None:
    commands = Commands()
    for _round in range(3):
        commands.run(["true"])
    with pytest.raises(VcError):
        commands.run(["/nonexistent/program"])
    assert commands.count == 4


def test_a_missing_program_is_named() -> None:
    error = refused("backend", Commands().run, ["/nonexistent/program", "--flag"])
    assert error.item == "/nonexistent/program"


def test_a_hanging_program_is_ended() -> None:
    begun = time.monotonic()
    error = refused("timeout", Commands().run, ["sleep", "60"], timeout=0.2)
    assert time.monotonic() - begun < 5
    assert "0.2 s" in error.detail


def test_must_returns_stdout_or_says_what_the_backend_said_last() -> None:
    commands = Commands()
    assert commands.must(["echo", "yes"], "vc1", "asking") == "yes\n"
    error = refused("backend", commands.must, ["sh", "-c", "echo one >&2; echo two >&2; echo; exit 1"], "vc1", "asking")
    assert (error.item, error.tried, error.detail) == ("vc1", "asking", "two")
    assert "sh -c" in error.remedy
    assert refused("backend", commands.must, ["false"], "vc1", "asking", "look elsewhere").remedy == "look elsewhere"


@pytest.mark.parametrize(
    ("result", "line"),
    [
        (Result(1, "out\n", "err\n\n"), "err"),
        (Result(1, "out\nlast\n", " \n"), "last"),
        (Result(4, "", ""), "exit status 4"),
    ],
)
def test_last_line(result: Result, line: str) -> None:
    assert result.last_line == line


def test_output_that_is_not_utf8_does_not_break() -> None:
    assert Commands().run(["printf", r"\377ok"]).out.endswith("ok")


def test_stdin_is_never_the_callers() -> None:
    assert Commands().run(["cat"]).out == ""
