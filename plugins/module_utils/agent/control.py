# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The agent's control socket: how the job's owner asks it for its guests' states, to switch guests on or off, and to stop.

It is in a directory that only the job's user can enter, so whoever reaches it may use it.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

NAME = "agent.sock"
# What an agent said last.  Once it is final it is for those who ask when the guests have ended and the agent has gone.
LAST = "agent.last.json"
_SECONDS = 5.0
# Room for the names of all nodes of a cluster.
_LONGEST = 1 << 20

# Answers a verb with the rest of its request, or raises KeyError when there is no such verb.
Answer = Callable[[str, Mapping[str, Any]], dict[str, Any]]


class Control:
    """Listens and answers in a thread of its own.

    Parameters
    ----------
    directory : the job's directory
    answer : what to do for a verb
    """

    def __init__(self, directory: Path, answer: Answer) -> None:
        self._path = directory / NAME
        self._last = directory / LAST
        self._answer = answer
        self._listener = socket.socket(socket.AF_UNIX)

    def start(self) -> None:
        for path in (self._path, self._last):
            with contextlib.suppress(FileNotFoundError):
                path.unlink()
        self._listener.bind(str(self._path))
        self._listener.listen(16)
        threading.Thread(target=self._serve, daemon=True).start()

    def note(self) -> None:
        """Write the present status down, for the supervisor if the agent is killed."""
        self._write({**self._respond({"verb": "status"}), "final": False})

    def stop(self) -> None:
        """Stop answering and leave the last status behind."""
        self._write({**self._respond({"verb": "status"}), "final": True})
        self._listener.close()
        with contextlib.suppress(FileNotFoundError):
            self._path.unlink()

    def abandon(self, why: str) -> list[str]:
        """In the supervisor of a killed agent: call what had not ended crashed, and leave that as the last status; those nodes."""
        try:
            status = json.loads(self._last.read_text())
        except (OSError, ValueError):
            return []
        lost = [name for name, node in status["nodes"].items() if node["state"] not in {"off", "crashed"}]
        for name in lost:
            status["nodes"][name].update(state="crashed", msg=why)
        self._write({**status, "final": True})
        with contextlib.suppress(FileNotFoundError):
            self._path.unlink()
        return lost

    def _write(self, status: dict[str, Any]) -> None:
        temporary = self._last.with_suffix(".new")
        with contextlib.suppress(OSError):
            temporary.write_text(json.dumps(status))
            temporary.rename(self._last)

    def _serve(self) -> None:
        while True:
            try:
                connection, _address = self._listener.accept()
            except OSError:
                return
            with connection, contextlib.suppress(OSError, ValueError, RecursionError):
                connection.settimeout(_SECONDS)
                with connection.makefile("rb") as stream:
                    request = json.loads(stream.readline(_LONGEST))
                connection.sendall(json.dumps(self._respond(request)).encode() + b"\n")

    def _respond(self, request: Any) -> dict[str, Any]:
        verb = request.get("verb") if isinstance(request, dict) else None
        try:
            return {"ok": True, **self._answer(str(verb), request)}
        except KeyError:
            return {"ok": False, "nodes": {}, "msg": "there is no such verb"}
        except Exception as error:  # whatever it is: without this thread nobody could stop the guests any more
            return {"ok": False, "nodes": {}, "msg": f"invalid: {type(error).__name__}: {error}"}


def call(directory: Path, verb: str, nodes: Sequence[str] = (), seconds: int = 0) -> dict[str, Any]:
    """Ask the agent of this host.

    One that has ended in order answers with what it said last, marked ``ended``; where there is none, or it was killed, the answer
    has no nodes.
    """
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(_SECONDS)
            connection.connect(str(directory / NAME))
            connection.sendall(json.dumps({"verb": verb, "nodes": list(nodes), "seconds": seconds}).encode() + b"\n")
            with connection.makefile("rb") as stream:
                return dict(json.loads(stream.readline()))
    except (OSError, ValueError):
        pass
    try:
        last = json.loads((directory / LAST).read_text())
        if last.pop("final"):
            return {**last, "ended": True}
    except (OSError, ValueError, KeyError):
        pass
    return {"ok": True, "nodes": {}, "msg": f"no agent on {os.uname().nodename}"}
