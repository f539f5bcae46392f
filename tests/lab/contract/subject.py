# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a module's file in rows/ says.  Text "@name" in arguments stands for what the trial's `prepare` gave under that name."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

Args = Mapping[str, Any]
Names = dict[str, Any]


def nothing(_names: Names) -> None:
    """No step."""


@contextlib.contextmanager
def nothing_prepared() -> Iterator[Names]:
    yield {}


@dataclass(frozen=True)
class Change:
    """One option takes another value while the object is there, and the backend follows.

    Parameters
    ----------
    option : path in the arguments, e.g. ``computes[0].cpus``
    also : other options that cannot stay as they are, by path
    first : a step past the module that the new value needs
    anew : the option counts when the object is made: it is taken away and made again with the values of all changes of this name;
        then `shows` tells them apart
    shows : text that the backend must have afterwards and did not have before
    """

    option: str
    value: Any
    also: Args = field(default_factory=dict)
    first: Callable[[Names], None] = nothing
    anew: str = ""
    shows: str = ""


@dataclass(frozen=True)
class Refused:
    """One value of an option, or one bad item among good ones, with which the whole call is refused before the first write.

    Parameters
    ----------
    fixed : it is another valid value of an option that must not change; any other refusal does not tell that the option does anything
    option : as in Change; another path is that of a bad item, e.g. ``goldens[1]``
    code : the answer's error_code
    why : one sentence for the page
    names : text that the message must have, the option's last name if empty
    unforeseen : why check mode cannot refuse it, if so
    """

    option: str
    value: Any
    code: str
    why: str
    names: str = ""
    also: Args = field(default_factory=dict)
    unforeseen: str = ""
    fixed: bool = False


@dataclass(frozen=True)
class Guard:
    """Something that hangs on the object, so that it is not removed."""

    why: str
    code: str
    first: Callable[[Names], None] = nothing
    after: Callable[[Names], None] = nothing
    absent: Args | None = None


@dataclass(frozen=True)
class Fault:
    """Something that breaks on the way, when parts are written already.

    Parameters
    ----------
    first, after : break the backend, mend it again
    end : a step past the module without which it is not removed
    failed : names of the items that fail; all others are done
    changed : what the answer must say, and the backend must confirm
    present, absent : the call and its end, where they are not the trial's
    settle : after mending and running again the object is as asked for; false where the call itself is what fails
    unforeseen : why check mode says that it would be done; where it can know, it answers as the run does
    """

    why: str
    code: str
    failed: tuple[str, ...]
    changed: bool = True
    first: Callable[[Names], None] = nothing
    after: Callable[[Names], None] = nothing
    end: Callable[[Names], None] = nothing
    present: Args | None = None
    absent: Args | None = None
    settle: bool = True
    unforeseen: str = ""


@dataclass(frozen=True)
class Trial:
    """One object of a module, from nothing to nothing.

    Parameters
    ----------
    present : makes it; for a module that only reads, the call
    others : option of `present` that has another value in the module's other trials -> text that the backend has only with this one
    absent : takes it away; None for a module that only reads
    unpredicted : path in the answer (``*`` for any key or index) -> why check mode cannot know it
    repeatable : list option -> why the same entry may come twice
    traces : pattern of names in the dumps that outlive the object, with the reason in the row's file
    host, user : where it runs, where that is not the contract's; then only this host's backends are looked at
    also_on : and those of these hosts
    prepare : what is there before and goes afterwards
    """

    name: str
    present: Args
    absent: Args | None
    changes: tuple[Change, ...] = ()
    others: Mapping[str, str] = field(default_factory=dict)
    refused: tuple[Refused, ...] = ()
    guards: tuple[Guard, ...] = ()
    faults: tuple[Fault, ...] = ()
    unpredicted: Mapping[str, str] = field(default_factory=dict)
    repeatable: Mapping[str, str] = field(default_factory=dict)
    traces: str = ""
    host: str = ""
    user: str = ""
    also_on: tuple[str, ...] = ()
    prepare: Callable[[], AbstractContextManager[Names]] = nothing_prepared


@dataclass(frozen=True)
class Contract:
    """A module's row.

    Parameters
    ----------
    host, user : where it runs, as whom (empty is root)
    dumps : host -> backends that it may write, as in backends.py
    apart : option -> why no row changes it: it says which object is meant, or how the module goes about it
    without : clause -> why it has nothing to hold here
    """

    host: str
    dumps: Mapping[str, tuple[str, ...]]
    trials: tuple[Trial, ...]
    user: str = ""
    apart: Mapping[str, str] = field(default_factory=dict)
    without: Mapping[str, str] = field(default_factory=dict)

    def looked_at(self, trial: Trial) -> dict[str, tuple[str, ...]]:
        """The backends that a trial is held to, by host."""
        hosts = (trial.host, *trial.also_on) if trial.host else tuple(self.dumps)
        return {host: backends for host, backends in self.dumps.items() if host in hosts}
