# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a module's trials have shown: per clause how often it was held and what broke it; per option what changed it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

CLAUSES: Mapping[str, str] = {
    "predicted": "check mode says what the run then says: `changed`, `diff`, actions, results, the object",
    "untouched": "check mode leaves every backend as it is, to the byte and the time of the last write",
    "again": "a second run after each change, and for a new object check mode after it, find nothing to do and answer the same object",
    "truth": "`changed` is true when and only when a backend has changed, also when the call failed",
    "fixed": "what must not change, and what is no valid value, is refused by name before the first write, with a remedy",
    "absent": "absent removes, predicted; absent again finds nothing to do",
    "kept": "absent is refused while something hangs on the object; nothing of it is lost",
    "foreign": "at the end every backend has what it had in the beginning: foreign things are untouched, nothing is left behind",
    "duplicates": "the same entry twice in a list is refused, by its index",
    "items": "one bad item among good ones: refused by name before the first write, with a remedy; results say which",
    "failure": "what breaks on the way is told per item, with the true `changed`; running again finishes it",
    "returned": "every answer, also a failed one, has what RETURN documents, and no more",
    "quiet": "no warning, no deprecation, nothing printed beside the answer",
}


@dataclass
class Held:
    """A clause: how many times something was looked at, and every complaint."""

    looks: int = 0
    complaints: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Shown:
    """An option's row as the trial saw it."""

    option: str
    how: str
    trial: str


@dataclass
class Record:
    """All trials of one module."""

    module: str
    clauses: dict[str, Held] = field(default_factory=lambda: {name: Held() for name in CLAUSES})
    options: list[Shown] = field(default_factory=list)
    stories: list[tuple[str, str]] = field(default_factory=list)
    repeated: set[str] = field(default_factory=set)
    broken: str = ""

    def hold(self, clause: str, case: str, *complaints: str) -> None:
        """One look at a clause; complaints that are empty do not count."""
        held = self.clauses[clause]
        held.looks += 1
        held.complaints += [f"{case}: {complaint}" for complaint in complaints if complaint]
