# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""An interpreter that stays on a lab host: a module call or a dump costs a line to it and a line back, not a process through the lab."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.lab import census, in_process
from tests.lab.contract import backends
from tests.lab.host import Failed

SERVER = """
import subprocess
def run(argv, stdin):
    done = subprocess.run(argv, input=stdin, capture_output=True, text=True, errors="replace")
    return [done.returncode, done.stdout, done.stderr]
def source(text):
    space = {"__name__": "source"}
    exec(compile(text, "source", "exec"), space)
    return space
sys.modules["census"] = type(sys)("census")
sys.modules["census"].__dict__.update(source(@CENSUS@))
dumps = source(@BACKENDS@)["DUMPS"]
for line in sys.stdin:
    request = json.loads(line)
    if "module" in request:
        answer = call(request["module"], request["args"])
    elif "run" in request:
        answer = run(request["run"], request["stdin"])
    else:
        answer = {name: dumps[name]() for name in request["dump"]}
    print(json.dumps(answer), flush=True)
"""

Dump = Mapping[str, str]


class Station:
    """One host, one user."""

    def __init__(self, host: str, user: str = "") -> None:
        server = in_process.CALL + SERVER.replace("@CENSUS@", repr(text(census))).replace("@BACKENDS@", repr(text(backends)))
        self._interpreter = in_process.Interpreter(host, user, server)
        # Trials of two lanes may meet here.
        self._turn = threading.Lock()

    def call(self, module: str, args: Mapping[str, Any]) -> tuple[int, str]:
        """Exit status, and everything the module printed."""
        status, said = self._ask({"module": module, "args": args})
        return int(status), str(said)

    def run(self, argv: Sequence[str], stdin: str) -> tuple[int, str, str]:
        """Exit status, stdout and stderr of a command."""
        status, out, err = self._ask({"run": list(argv), "stdin": stdin})
        return int(status), str(out), str(err)

    def dump(self, names: Sequence[str]) -> dict[str, dict[str, str]]:
        """What these backends hold, name -> content, by backend."""
        answer: dict[str, dict[str, str]] = self._ask({"dump": list(names)})
        return answer

    def _ask(self, request: Any) -> Any:
        with self._turn:
            return self._interpreter.ask(request)

    def close(self) -> None:
        self._interpreter.close()


def text(module: Any) -> str:
    return Path(module.__file__).read_text(encoding="utf-8")


# Of the present run, by host and user.
_OPENED: dict[tuple[str, str], Station] = {}
_OPENING = threading.Lock()


def at(host: str, user: str = "") -> Station:
    """The station there, opened when it is first asked for."""
    with _OPENING:
        if (host, user) not in _OPENED:
            _OPENED[host, user] = Station(host, user)
        return _OPENED[host, user]


def close_all() -> None:
    while _OPENED:
        _OPENED.popitem()[1].close()


def on(host: str, *argv: str, stdin: str = "") -> str:
    """Run a command as root, past the collection; its stdout, or Failed with all it said."""
    status, out, err = at(host).run(argv, stdin)
    if status != 0:
        raise Failed(f"{host}: {' '.join(argv)}: exit {status}\n{out}{err}")
    return out


def told(host: str, module: str, args: Mapping[str, Any], user: str = "") -> dict[str, Any]:
    """A module call on the way to a trial; its answer, or Failed."""
    status, said = at(host, user).call(module, args)
    if status != 0:
        raise Failed(f"{host}: {module} {args}: {said}")
    answer: dict[str, Any] = json.loads(said)
    return answer
