# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Datasets below one of ZFS.  Only what OpenZFS and zfs-fuse (pool version 23) both understand."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Optional

from ..command import Commands, Result
from ..model.errors import VcError

_DATASET = re.compile(r"[A-Za-z][A-Za-z0-9_.-]*(/[A-Za-z0-9][A-Za-z0-9_.-]*)*")
_LONGEST_DATASET = 100
# The target daemon closes a file a moment after it has said so.
_BUSY_SECONDS = 5.0
_REMEDY = "see zpool status and zfs list on the vault host"


def dataset_name(text: object) -> str:
    """``pool`` or ``pool/dataset``; VcError ``invalid``."""
    if not isinstance(text, str) or not _DATASET.fullmatch(text) or len(text) > _LONGEST_DATASET:
        remedy = f"write POOL/DATASET: a-z, A-Z, 0-9, _ . -, at most {_LONGEST_DATASET} characters"
        raise VcError("invalid", f"dataset {ascii(text)[:60]}", "reading it as a ZFS dataset", "it is not one", remedy)
    return text


class Zfs:
    """Everything below one dataset; children are named without it, snapshots as ``child@snapshot``."""

    def __init__(self, commands: Commands, dataset: str) -> None:
        self._commands = commands
        self.dataset = dataset
        self._root: Optional[Path] = None

    def root(self) -> Path:
        """Where the dataset is mounted.  VcError ``backend`` when it is not: what lies below would be another filesystem's."""
        if self._root is None:
            place = self._must(["get", "-H", "-o", "value", "mountpoint", self.dataset], "finding the store").strip()
            if not place.startswith("/") or not os.path.ismount(place):
                detail = f"it is not mounted (mountpoint {place})"
                raise VcError("backend", self.dataset, "finding the store", detail, f"zfs mount {self.dataset}, and see zfs get mountpoint")
            self._root = Path(place)
        return self._root

    def place(self, child: str) -> Path:
        """Where a child that is to be mounted is mounted by now."""
        place = self.root() / child
        if not os.path.ismount(place):
            self._must(["mount", self._name(child)], f"mounting {self._name(child)}")
        return place

    def marked(self, properties: Sequence[str], child: str = "") -> list[tuple[str, str, str]]:
        """(child or snapshot, property, value) of everything that has one of these user properties itself, in one call.

        With a child only that and what is below it, nothing where there is no such child.
        """
        where, tried = self._name(child) if child else self.dataset, "reading the store"
        done = self._run(["get", "-Hpr", "-s", "local", "-o", "name,property,value", ",".join(properties), where])
        if child and done.status and "does not exist" in done.err:
            # Of what is in a pool that is away the same is said.
            self._must(["list", "-H", "-o", "name", self.dataset], tried)
            return []
        if done.status:
            raise VcError("backend", self.dataset, tried, done.last_line, _REMEDY)
        found = []
        for line in done.out.splitlines():
            name, key, value = line.split("\t", 2)
            found.append((name[len(self.dataset) + 1 :], key, value))
        return found

    def exists(self, child: str) -> bool:
        return self._run(["list", "-H", "-o", "name", self._name(child)]).status == 0

    def create(self, child: str, mounted: bool = False) -> None:
        """Make a child, and those above it; nothing to do when it is there."""
        self._must(["create", "-p", "-o", f"canmount={'on' if mounted else 'off'}", self._name(child)], f"making {self._name(child)}")

    def clone(self, snapshot: str, child: str, properties: Mapping[str, str], holding: Sequence[int] = ()) -> bool:
        """Make a child out of a snapshot; False when there is a child of that name.  ``holding`` as for ``Commands.run``."""
        argv = ["clone", *_options(properties), self._name(snapshot), self._name(child)]
        return self._made(argv, f"cloning {self._name(snapshot)}", holding)

    def snapshot(self, snapshot: str, properties: Mapping[str, str], holding: Sequence[int] = ()) -> bool:
        """Take a snapshot; False when there is one of that name.  ``holding`` as for ``Commands.run``."""
        return self._made(["snapshot", *_options(properties), self._name(snapshot)], f"taking {self._name(snapshot)}", holding)

    def set(self, child: str, key: str, value: str) -> None:
        self._must(["set", f"{key}={value}", self._name(child)], f"writing {key} of {self._name(child)}")

    def rename(self, child: str, new: str) -> None:
        self._must(["rename", self._name(child), self._name(new)], f"renaming {self._name(child)}")

    def children(self, child: str) -> list[str]:
        """The names of what is directly below a child; none where there is no such child."""
        listed = self._run(["list", "-H", "-r", "-d", "1", "-t", "filesystem", "-o", "name", self._name(child)])
        names = [line[len(self.dataset) + 1 :] for line in listed.out.splitlines()] if listed.status == 0 else []
        return [name for name in names if name != child]

    def destroy(self, child: str, recursive: bool = False) -> None:
        """Remove a child or a snapshot; VcError ``in_use`` while it is open or something was cloned from it."""
        argv = ["destroy", *(["-r"] if recursive else []), self._name(child)]
        until = time.monotonic() + _BUSY_SECONDS
        while True:
            done = self._run(argv)
            if done.status == 0 or "does not exist" in done.err:
                return
            if not _is_busy(done) or time.monotonic() > until:
                break
            time.sleep(0.2)
        used = _is_busy(done) or "clones" in done.err
        # What follows the first line is advice that would destroy clones as well.
        detail = done.err.strip().splitlines()[0] if done.err.strip() else done.last_line
        raise VcError("in_use" if used else "backend", self._name(child), "removing it", detail, _REMEDY)

    def _name(self, child: str) -> str:
        return f"{self.dataset}/{child}"

    def _run(self, argv: Sequence[str], holding: Sequence[int] = ()) -> Result:
        return self._commands.run(["zfs", *argv], holding=holding)

    def _must(self, argv: Sequence[str], tried: str) -> str:
        return self._commands.must(["zfs", *argv], self.dataset, tried, _REMEDY)

    def _made(self, argv: Sequence[str], tried: str, holding: Sequence[int] = ()) -> bool:
        done = self._run(argv, holding)
        if done.status == 0:
            return True
        if "already exists" in done.err:
            return False
        raise VcError("backend", self.dataset, tried, done.last_line, _REMEDY)


def _options(properties: Mapping[str, str]) -> list[str]:
    return [word for key, value in properties.items() for word in ("-o", f"{key}={value}")]


def _is_busy(done: Result) -> bool:
    return "busy" in done.err or "cannot unmount" in done.err
