# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""partitions.conf as two owners see it: partitions between our marks, an admin's lines around them, which stay byte for byte.  No I/O."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from ..model import addresses, names
from ..model.errors import VcError
from .grammar import DEFAULT_PKEY, Definition, definitions

BEGIN = "# BEGIN virtual clusters: module ib_partition writes all lines to the END"
END = "# END virtual clusters"
FULL_BIT = 0x8000
_REMEDY = "move what is not of ib_partition out of its marks, or restore the file from a backup"


@dataclass(frozen=True)
class Partition:
    """One partition of ours.  ``pkey`` has no membership bit; GUIDs are sorted, and none is in both tuples."""

    name: str
    pkey: str
    guids: tuple[str, ...]
    limited_guids: tuple[str, ...] = ()
    ipoib: bool = False

    @property
    def members(self) -> Mapping[str, str]:
        """GUID -> the key that its port has to have."""
        full = f"0x{int(self.pkey, 16) | FULL_BIT:04x}"
        return {**dict.fromkeys(self.guids, full), **dict.fromkeys(self.limited_guids, self.pkey)}

    def render(self) -> str:
        lines = [f"  {guid}=full" for guid in self.guids] + [f"  {guid}=limited" for guid in self.limited_guids]
        # A member on each line, because OpenSM reads no line of any length.
        return f"{self.name}={self.pkey}{', ipoib' if self.ipoib else ''} :\n" + ",\n".join(lines) + " ;\n"


@dataclass(frozen=True)
class Document:
    """The whole file.  ``foreign`` are the definitions in ``before`` and ``after``."""

    before: str
    partitions: Mapping[str, Partition]
    after: str
    foreign: tuple[Definition, ...]

    def render(self) -> str:
        """The file's text; the marks go with the last partition, and nothing of ours is left in it then."""
        if not self.partitions:
            return self.before + self.after
        end = "" if self.before.endswith("\n") or not self.before else "\n"
        return self.before + end + render_block(self.partitions) + self.after


def render_block(partitions: Mapping[str, Partition]) -> str:
    """Our lines with their marks."""
    return f"{BEGIN}\n{''.join(partitions[name].render() for name in sorted(partitions))}{END}\n"


def parse(text: str, path: str) -> Document:
    """Take the file apart.  VcError ``invalid`` for what OpenSM would not read, ``conflict`` for what is not ours between our marks."""
    # Not splitlines, which knows more line ends than OpenSM does.
    lines = re.findall(r"[^\n]*\n|[^\n]+", text)
    marks = {mark: [place for place, line in enumerate(lines) if line.rstrip("\n") == mark] for mark in (BEGIN, END)}
    if not marks[BEGIN] and not marks[END]:
        foreign = definitions(text, path)
        return Document(text, {}, "", tuple(foreign))
    if len(marks[BEGIN]) != 1 or len(marks[END]) != 1 or marks[BEGIN] > marks[END]:
        detail = f"there are {len(marks[BEGIN])} lines {BEGIN[:7]!r} and {len(marks[END])} lines {END[:5]!r} of ours, or in the wrong order"
        raise VcError("invalid", path, "finding our marks in it", detail, _REMEDY)
    first, last = marks[BEGIN][0], marks[END][0]
    before, block, after = "".join(lines[:first]), "".join(lines[first + 1 : last]), "".join(lines[last + 1 :])
    foreign = definitions(before, path) + definitions(after, path, last + 2, closed=False)
    return Document(before, _ours(block, path, first + 2), after, tuple(foreign))


def parse_block(text: str, path: str) -> dict[str, Partition]:
    """The partitions of a text that is nothing but our block."""
    return dict(parse(text, path).partitions)


def default_is_defined(document: Document) -> bool:
    """Whether the admin's lines say who is in the default partition.  Without any definition OpenSM makes everybody a full member."""
    return any(definition.pkey == DEFAULT_PKEY for definition in document.foreign)


def default_is_open(document: Document) -> bool:
    """Whether the admin's lines make all ports full members of the default partition, so that no other partition separates anybody."""
    everybody = {("ALL", "full"), ("ALL_CAS", "full"), ("ALL", "both"), ("ALL_CAS", "both")}
    return any(definition.pkey == DEFAULT_PKEY and everybody & set(definition.members) for definition in document.foreign)


def _ours(block: str, path: str, first_line: int) -> dict[str, Partition]:
    partitions: dict[str, Partition] = {}
    owners: dict[str, str] = {}
    for definition in definitions(block, path, first_line):
        place = f"{path}:{definition.line}"
        partition = _partition(definition, place)
        other = partition.name if partition.name in partitions else owners.setdefault(partition.pkey, partition.name)
        if partition.name in partitions or other != partition.name:
            detail = f"{partition.name} has the same name or pkey as {other}"
            raise VcError("conflict", place, "reading our own lines", detail, _REMEDY)
        partitions[partition.name] = partition
    return partitions


def _partition(definition: Definition, place: str) -> Partition:
    tried = "reading our own lines"
    if set(definition.flags) - {("ipoib", "")}:
        raise VcError("conflict", place, tried, "it has flags that ib_partition does not write", _REMEDY)
    kinds: dict[str, list[str]] = {"full": [], "limited": []}
    try:
        for guid, membership in definition.members:
            kinds.get(membership, []).append(addresses.parse_guid(guid))
        name, pkey = names.cluster_name(definition.name), addresses.parse_pkey(definition.pkey)
    except VcError as error:
        raise VcError("conflict", place, tried, f"{error.item}: {error.detail}", _REMEDY) from None
    if len(definition.members) != len({guid for guid, _membership in definition.members}) or sum(map(len, kinds.values())) < len(
        definition.members
    ):
        raise VcError("conflict", place, tried, "a port is a member twice, or neither full nor limited", _REMEDY)
    return Partition(name, pkey, tuple(sorted(kinds["full"])), tuple(sorted(kinds["limited"])), bool(definition.flags))
