# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Passes the guests' states on to their leases, beside the agent's own work: a vault that is away must not hold up a guest."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping

from ..model.errors import VcError

_RETRY_SECONDS = 10.0
# Said again from time to time: an answer is how an agent learns that its lease was taken away.
_REPEAT_SECONDS = 60.0


class Reporter:
    """Sends the newest state of every node, one call at a time.

    Parameters
    ----------
    send : delivers ``{node: state}``; VcError when it has to be tried again
    complain : is told once when sending begins to fail
    """

    def __init__(self, send: Callable[[Mapping[str, str]], None], complain: Callable[[str], None]) -> None:
        self._send = send
        self._complain = complain
        self._pending: dict[str, str] = {}
        self._known: dict[str, str] = {}
        self._changed = threading.Condition()
        self._busy = False
        self._closing = False
        threading.Thread(target=self._run, daemon=True).start()

    def report(self, node: str, state: str) -> None:
        with self._changed:
            self._pending[node] = state
            self._known[node] = state
            self._changed.notify_all()

    def close(self, seconds: float) -> None:
        """Give what is pending a last chance."""
        until = time.monotonic() + seconds
        with self._changed:
            self._closing = True
            self._changed.notify_all()
            while (self._pending or self._busy) and time.monotonic() < until:
                self._changed.wait(0.1)

    def _run(self) -> None:
        failing = False
        while True:
            with self._changed:
                while not self._pending:
                    if not self._changed.wait(_REPEAT_SECONDS):
                        self._pending = dict(self._known)
                states, self._pending, self._busy = self._pending, {}, True
            try:
                self._send(states)
                failing = False
            except VcError as error:
                if not failing:
                    self._complain(str(error))
                failing = True
            with self._changed:
                self._busy = False
                if failing:
                    self._pending = {**states, **self._pending}
                    self._changed.wait(0.5 if self._closing else _RETRY_SECONDS)
                self._changed.notify_all()
