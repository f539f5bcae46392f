# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Node ranges: the subset that Slurm and ClusterShell read alike, and nothing else.

::

    range  = item *( "," item )                  names in the order written, none twice
    item   = 1*( text [ group ] )                a group is the last thing of its field: no digit beside it, no text after the last one
    group  = "[" span *( "," span ) "]"          ascending, without overlap
    span   = number [ "-" number ]               equal width when either is padded with zeros; one padding in a group

What another tool would read differently (``n[1-03]``, ``n[1-2][3-4]``, ``n[1-3]-ib``, ``n[3-1]``, steps, groups, exclusion) is refused,
and so is a range without names: a manager that is handed an empty range may take it for "all nodes".
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import product
from typing import Any, Optional

from .errors import VcError
from .names import shown

LARGEST = 100_000
_LONGEST_TEXT = 8_000_000
_LONGEST_NAME = 63
# Three groups are read alike, too, but Slurm gives their names in an order of its own, and the order decides who gets which task.
_MOST_GROUPS = 2
_NUMBER_DIGITS = 9

_TRIED = "reading it as a node range"
_REMEDY = "write names and ranges such as login,n[1-4,7],r[01-02]n[1-8]"
_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?")
_SPAN = re.compile(r"([0-9]{1,9})(?:-([0-9]{1,9}))?")
_ITEM_TEXT = re.compile(r"[a-z0-9-]*")
# The number before the last one, in what stands before that.
_ROW = re.compile(r"(.*?[^0-9])([0-9]{1,9})([^0-9]+)")
_LAST_NUMBER = re.compile(r"(.*?[^0-9])([0-9]{1,9})")
# The pieces of a whole range: text without brackets or commas, a group, a comma.  Anything else stops the match.
_PIECE = re.compile(r"([^\[\],]+)|\[([^\[\]]*)\]|(,)")


def expand(text: Any, most: int = LARGEST) -> list[str]:
    """The names in a range, in the order written (the last group of a name varies fastest).  Linear in its length plus its names.

    Raises VcError ``invalid`` for anything outside the grammar, for an empty range and for more than `most` names,
    ``duplicate`` for a name that comes twice.
    """
    if not isinstance(text, str):
        raise _refusal(text, "it is not text")
    if len(text) > _LONGEST_TEXT:
        raise _refusal(text, "it is too long")
    names: list[str] = []
    for item in _items(text, most):
        names.extend(_names(text, item, most - len(names), most))
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise VcError("duplicate", shown(text), _TRIED, f"{name} comes twice", "name every node once")
        seen.add(name)
    return names


def fold(names: Iterable[str]) -> str:
    """The one canonical range for a set of names; ``expand`` gives the same names back.

    Folds the last number, as Slurm does; then the one before it, where it makes a shorter range of items with the very same last numbers:
    ``r[01-99]n[1-8]``.  No names give an empty text, which ``expand`` refuses.
    """
    parts: list[tuple[str, str]] = []
    last: dict[str, list[str]] = {}
    for name in set(names):
        if not isinstance(name, str) or not _NAME.fullmatch(name) or len(name) > _LONGEST_NAME:
            raise VcError("invalid", shown(name), "folding names into a range", "it is not a node name", _REMEDY)
        matched = _LAST_NUMBER.fullmatch(name)
        if matched is None:
            parts.append((name, name))
        else:
            last.setdefault(matched.group(1), []).append(matched.group(2))
    # What stands around a number, the last numbers behind that -> each such number with these last numbers.
    rows: dict[tuple[str, str, str], dict[str, list[str]]] = {}
    for prefix, digits in last.items():
        matched = _ROW.fullmatch(prefix)
        for spans, run in _runs(digits):
            if matched is None:
                parts.append(_folded(prefix, spans, run))
            else:
                rows.setdefault((matched.group(1), matched.group(3), spans), {})[matched.group(2)] = run
    for (head, tail, spans), found in rows.items():
        for row_spans, row_run in _runs(found):
            apart = [_folded(f"{head}{row}{tail}", spans, found[row]) for row in row_run]
            together = f"{head}[{row_spans}]{tail}[{spans}]"
            parts += [(apart[0][0], together)] if len(together) < len(",".join(text for _first, text in apart)) else apart
    return ",".join(text for _first, text in sorted(parts, key=lambda part: natural_key(part[0])))


def natural_key(name: str) -> tuple[Any, ...]:
    """Sort key that puts n2 before n10, for lists that people read."""
    # Text at even places, numbers at odd ones, so the two are never compared; the name itself settles n1 against n01.
    parts = re.split(r"([0-9]+)", name)
    return tuple(int(part) if place % 2 else part for place, part in enumerate(parts)), name


def _refusal(text: Any, detail: str, remedy: str = _REMEDY) -> VcError:
    return VcError("invalid", shown(text), _TRIED, detail, remedy)


def _items(text: str, most: int) -> list[list[tuple[str, bool]]]:
    """Split at the commas outside brackets; an item is a list of (piece, is a group)."""
    if not text:
        raise _refusal(text, "it is empty")
    items: list[list[tuple[str, bool]]] = [[]]
    place = 0
    while place < len(text):
        matched = _PIECE.match(text, place)
        if matched is None:
            raise _refusal(text, f"a bracket at character {place + 1} has no partner")
        literal, group, comma = matched.groups()
        if comma:
            items.append([])
            if len(items) > most:
                raise _refusal(text, f"it has more than {most} names", "use smaller ranges")
        else:
            items[-1].append((literal, False) if literal is not None else (group, True))
        place = matched.end()
    if not all(items):
        raise _refusal(text, "there is nothing before, after or between commas")
    return items


def _names(text: str, item: list[tuple[str, bool]], room: int, most: int) -> list[str]:
    """The names of one item, at most `room`; counted before any is made."""
    choices: list[list[str]] = []
    count = 1
    groups = 0
    for place, (piece, is_group) in enumerate(item):
        if not is_group:
            if not _ITEM_TEXT.fullmatch(piece):
                raise _refusal(text, f"{shown(piece)} has a character that names do not have")
            choices.append([piece])
            continue
        groups += 1
        if place == 0 or item[place - 1][1]:
            raise _refusal(text, "a bracket stands first or directly behind another one")
        if item[place - 1][0][-1:].isdigit() or (place + 1 < len(item) and not item[place + 1][1] and item[place + 1][0][:1].isdigit()):
            raise _refusal(text, "a digit stands beside a bracket, so it is unclear where the number begins or ends")
        spans = _spans(text, piece)
        count *= sum(last - first + 1 for first, last, _width in spans)
        if count > room:
            raise _refusal(text, f"it has more than {most} names", "use smaller ranges")
        choices.append([f"{number:0{width}d}" for first, last, width in spans for number in range(first, last + 1)])
    if count > room:
        raise _refusal(text, f"it has more than {most} names", "use smaller ranges")
    if groups > _MOST_GROUPS:
        raise _refusal(text, f"a name has more than {_MOST_GROUPS} brackets")
    if groups and not item[-1][1]:
        raise _refusal(
            text, f"text ({shown(item[-1][0])}) follows the last bracket, which Slurm before 23.11 cannot read", "put the number last"
        )
    names = ["".join(parts) for parts in product(*choices)]
    # All names of an item share their text, so the longest and any one tell about all.
    longest = max(names, key=len)
    if len(longest) > _LONGEST_NAME:
        raise _refusal(text, f"a name has more than {_LONGEST_NAME} characters")
    if not _NAME.fullmatch(longest):
        raise _refusal(text, f"{shown(longest)} begins or ends with a dash")
    return names


def _spans(text: str, group: str) -> list[tuple[int, int, int]]:
    """The spans of a group as (first, last, width); width 0 means not padded."""
    spans: list[tuple[int, int, int]] = []
    widths: set[int] = set()
    padding: Optional[int] = None
    for span in group.split(","):
        matched = _SPAN.fullmatch(span) if span.isascii() else None
        if matched is None:
            detail = (
                f"[{shown(group)}] is not a list of numbers and spans of at most {_NUMBER_DIGITS} digits" if group else "a bracket is empty"
            )
            raise _refusal(text, detail)
        left, right = matched.group(1), matched.group(2) or matched.group(1)
        first, last = int(left), int(right)
        padded = any(len(number) > 1 and number[0] == "0" for number in (left, right))
        if padded and len(left) != len(right):
            raise _refusal(text, f"{span} pads its two numbers differently", f"write {left.zfill(len(right))}-{right.zfill(len(left))}")
        if first > last:
            raise _refusal(text, f"{span} runs downwards", f"write {right}-{left}")
        if spans and first <= spans[-1][1]:
            raise _refusal(text, f"[{shown(group)}] is not ascending, or a number comes twice", "sort the numbers and name each once")
        if padded:
            padding = len(left)
        widths.update((len(left), len(right)))
        spans.append((first, last, len(left) if padded else 0))
    if padding is not None and widths != {padding}:
        raise _refusal(
            text,
            f"[{shown(group)}] mixes numbers of different widths with padded ones",
            "give all numbers the same width, or write two items",
        )
    return spans


def _runs(digits: Iterable[str]) -> list[tuple[str, list[str]]]:
    """The numbers that one bracket can hold each, as spans and one by one, ascending."""
    by_width: dict[int, list[str]] = {}
    for number in digits:
        by_width.setdefault(len(number), []).append(number)
    # n10 belongs to n08 and n09 when they are there, else to n8 and n9.
    padded = {width for width, numbers in by_width.items() if width > 1 and any(number[0] == "0" for number in numbers)}
    runs = [numbers for width, numbers in by_width.items() if width in padded]
    runs.append([number for width, numbers in by_width.items() if width not in padded for number in numbers])
    return [(_spans_of(run), run) for run in (sorted(run, key=int) for run in runs) if run]


def _spans_of(run: list[str]) -> str:
    spans: list[list[str]] = []
    for number in run:
        if spans and int(number) == int(spans[-1][1]) + 1:
            spans[-1][1] = number
        else:
            spans.append([number, number])
    return ",".join(low if low == high else f"{low}-{high}" for low, high in spans)


def _folded(prefix: str, spans: str, run: list[str]) -> tuple[str, str]:
    """The first name and the text of all these numbers behind one prefix."""
    return f"{prefix}{run[0]}", f"{prefix}[{spans}]" if len(run) > 1 else f"{prefix}{run[0]}"
