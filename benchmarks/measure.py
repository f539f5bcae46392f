# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Times of commands that take turns, so that a busy moment of the machine hits all of them alike."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

Step = Callable[[], object]


class BenchError(Exception):
    """A benchmark that could not be run; the text says why."""


@dataclass(frozen=True)
class Contender:
    """One way to do it.

    Parameters
    ----------
    name : its heading in the table
    timed : what is measured
    before : what is done before each round of it, unmeasured
    after : looks whether it was done, unmeasured; raises BenchError
    """

    name: str
    timed: Step
    before: Step = lambda: None
    after: Step = lambda: None


def race(contenders: Sequence[Contender], rounds: int) -> dict[str, float]:
    """Let all take turns; each one's fewest seconds by its name."""
    taken: dict[str, list[float]] = {contender.name: [] for contender in contenders}
    for _round in range(rounds):
        for contender in contenders:
            contender.before()
            begun = time.perf_counter()
            contender.timed()
            taken[contender.name].append(time.perf_counter() - begun)
            contender.after()
    return {name: min(times) for name, times in taken.items()}


def run(argv: Sequence[str], variables: Mapping[str, str] | None = None, timeout: float = 3600) -> str:
    """Run to the end; its stdout, or BenchError with all it said."""
    done = subprocess.run(
        list(argv),
        env={**os.environ, **(variables or {})},
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    if done.returncode != 0:
        raise BenchError(f"{' '.join(argv)}: exit {done.returncode}\n{done.stdout[-6000:]}{done.stderr[-6000:]}")
    return done.stdout
