# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The state of all hosts at one moment, and what differs between two moments."""

from __future__ import annotations

import itertools
import pathlib
import re
import time
from collections import Counter
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest

from tests.lab.host import HOSTS, python
from tests.lab.virtual_cluster import awaited

CENSUS = (pathlib.Path(__file__).resolve().parent / "census.py").read_text(encoding="utf-8")
_LOOKS = 3
_TALK_SECONDS = 60
# An agent's talk to its host's root helper, and that one's to the vault; what a job that has ended is about to lose.
_TALK = re.compile(r"vc-host@|bin/vc-host$|/vault_key ")
_PASSING = re.compile(rf"{_TALK.pattern}|vc-flush|/trash/| COMPLETING$")


@dataclass(frozen=True)
class Snapshot:
    """Lines by (host, category)."""

    lines: dict[tuple[str, str], Counter[str]]

    def changes_since(self, before: Snapshot, without: Collection[str] = ()) -> list[str]:
        """One readable line per thing that came (+) or went (-), categories in `without` left out."""
        found = []
        for key in sorted(before.lines.keys() | self.lines.keys()):
            if key[1] in without:
                continue
            old, new = before.lines.get(key, Counter()), self.lines.get(key, Counter())
            place = f"{key[0]} {key[1]}"
            found += [f"+ {place}: {line}" for line in (new - old).elements()] + [f"- {place}: {line}" for line in (old - new).elements()]
        return found


def take(hosts: Sequence[str] = HOSTS) -> Snapshot:
    with ThreadPoolExecutor(len(hosts)) as pool:
        answers = list(pool.map(lambda host: python(host, CENSUS), hosts))
    return Snapshot({(host, name): Counter(lines) for host, answer in zip(hosts, answers) for name, lines in answer.items()})


def take_quiet(hosts: Sequence[str] = HOSTS) -> Snapshot:
    """The same, at a moment in which nothing is there that will go by itself."""

    def quiet() -> Snapshot | None:
        seen = take(hosts)
        return None if any(_PASSING.search(line) for lines in seen.lines.values() for line in lines) else seen

    found = awaited(quiet, "a moment in which no agent talks and no job's remains are removed")
    assert found is not None
    return found


def unchanged(before: Snapshot, timeout: float = 60, hosts: Sequence[str] = HOSTS, without: Collection[str] = ()) -> None:
    """Fail, with every difference, unless the hosts are again as they were `before` within `timeout` seconds."""
    changes = settle(before, timeout, hosts, without)
    if changes:
        pytest.fail("\n".join(["left behind (+) or gone (-):", *changes]), pytrace=False)


def settle(before: Snapshot, timeout: float = 60, hosts: Sequence[str] = HOSTS, without: Collection[str] = ()) -> list[str]:
    """Look until nothing differs from `before` any more, for `timeout` seconds and a few looks; the differences of the last one.

    Any look may meet a moment in which an agent talks; on a busy machine all of the first few meet the same one.
    """
    end = time.monotonic() + timeout
    for look in itertools.count(1):
        changes = take(hosts).changes_since(before, without)
        talk = all(_TALK.search(line) for line in changes)
        if not changes or (look >= _LOOKS and time.monotonic() > end + (_TALK_SECONDS if talk else 0)):
            return changes
