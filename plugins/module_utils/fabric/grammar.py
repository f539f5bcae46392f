# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""partitions.conf as OpenSM 3.3 reads it, and nothing that it stumbles over.  No I/O.

OpenSM answers one syntax error by making every port of the fabric a full member of the default partition, with no partition besides.
So what it would refuse, or read in another way than a person does, is refused here before it gets there.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Optional

from ..model.errors import VcError
from ..model.names import shown

DEFAULT_PKEY = 0x7FFF
# OpenSM reads lines into a buffer of 4096 bytes; what does not fit is a line of its own to it.
LONGEST_LINE = 4000
_BLANKS = " \t"
_NUMBER = re.compile(r"0[xX][0-9a-fA-F]+|[1-9][0-9]*|0[0-7]*")
# In OpenSM's order: it takes any beginning of a keyword for the first one that begins so.
_KEYWORDS = ("NONE", "ALL", "ALL_CAS", "ALL_SWITCHES", "ALL_ROUTERS", "SELF")
_MEMBERSHIPS = ("full", "both")
_TRIED = "reading it as OpenSM does"


@dataclass(frozen=True)
class Definition:
    """One definition: the line it begins on, its name, its pkey without the membership bit (None where OpenSM would choose one), its
    flags as ``(name, value)``, and its members as ``(GUID in canonical form or keyword, membership)``."""

    line: int
    name: str
    pkey: Optional[int]
    flags: tuple[tuple[str, str], ...]
    members: tuple[tuple[str, str], ...]


def definitions(text: str, path: str, first_line: int = 1, closed: bool = True) -> list[Definition]:
    """All definitions of a piece of the file.

    Parameters
    ----------
    path : what errors call it
    first_line : the number of its first line
    closed : whether the last definition has to end with a semicolon, because something follows
    """
    found: list[Definition] = []
    current: Optional[Definition] = None
    for number, line in enumerate(text.split("\n"), first_line):
        place = f"{path}:{number}"
        if len(line) > LONGEST_LINE:
            raise _error(place, f"the line has {len(line)} bytes", f"break it after a comma, at most {LONGEST_LINE} bytes each")
        if "\0" in line:
            raise _error(place, "the line has a zero byte", "write the file as plain text")
        rest: Optional[str] = line.partition("#")[0]
        while rest is not None and rest.strip(_BLANKS):
            statement, semicolon, after = rest.partition(";")
            if current is None:
                current, statement = _header(statement, number, place)
            elif not statement.strip(_BLANKS):
                # It reads on behind the end of this text.
                raise _error(place, "a semicolon begins the line", "write it behind the last port")
            current = _with_members(current, statement, place)
            rest = None
            if semicolon:
                found.append(current)
                current, rest = None, after
    if current is not None:
        if closed:
            raise _error(f"{path}:{current.line}", "the definition has no semicolon at its end", "end it with a semicolon")
        found.append(current)
    return found


def _header(statement: str, number: int, place: str) -> tuple[Definition, str]:
    head, colon, members = statement.partition(":")
    if not colon:
        raise _error(place, f"no partition definition in {shown(statement.strip(_BLANKS))}", "write NAME=PKEY : GUID=full ;")
    (name, value), *flags = [_pair(token) for token in head.split(",")]
    if value is None and name[:1].isdigit():
        name, value = "", name
    number_text = value if value is not None else ""
    if value is not None and not _NUMBER.fullmatch(value):
        raise _error(place, f"{shown(value)} is not a pkey", "write it as 0x and up to four hexadecimal digits")
    pkey = _number(number_text) if number_text else 0
    if pkey > 0xFFFF:
        raise _error(place, f"{shown(number_text)} is not a pkey", "write it as 0x and up to four hexadecimal digits")
    pkey &= 0x7FFF
    if not pkey and value is None and name == "Default":
        pkey = DEFAULT_PKEY
    return Definition(number, name, pkey or None, tuple((flag, text or "") for flag, text in flags), ()), members


def _with_members(definition: Definition, statement: str, place: str) -> Definition:
    members = list(definition.members)
    usual = next((value for flag, value in definition.flags if flag and "defmember".startswith(flag)), "limited")
    for token in statement.split(","):
        name, value = _pair(token)
        if name == "mgid":
            # The rest of the line is about this multicast group.
            break
        if not name or "NONE".startswith(name):
            continue
        membership = usual if value is None else value
        membership = next((word for word in _MEMBERSHIPS if word.startswith(membership)), "limited")
        members.append((_member(name, place), membership))
    return Definition(definition.line, definition.name, definition.pkey, definition.flags, tuple(members))


def _member(name: str, place: str) -> str:
    for keyword in _KEYWORDS:
        if keyword.startswith(name):
            return keyword
    guid = _number(name) if _NUMBER.fullmatch(name) else 0
    if not 0 < guid < 2**64:
        raise _error(place, f"{shown(name)} is not a port GUID", "write 0x and 16 hexadecimal digits")
    return f"0x{guid:016x}"


def _pair(token: str) -> tuple[str, Optional[str]]:
    name, equals, value = token.partition("=")
    return name.strip(_BLANKS), value.strip(_BLANKS) if equals else None


def _number(text: str) -> int:
    """As C reads it: a leading zero means octal."""
    return int(text, 16) if text[:2].lower() == "0x" else int(text, 8) if text.startswith("0") else int(text)


def _error(place: str, detail: str, remedy: str) -> VcError:
    return VcError("invalid", place, _TRIED, f"{detail}; OpenSM would read it otherwise, or give up the file and open the fabric", remedy)
