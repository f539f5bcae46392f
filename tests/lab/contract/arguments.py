# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Places in nested arguments and answers, by paths such as ``computes[0].cpus``.  Nothing is changed in place."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping, Sequence
from typing import Any

Steps = list[Any]


def steps(path: str) -> Steps:
    return [int(number) if number else name for name, number in re.findall(r"([^.\[\]]+)(?!\d*\])|\[(\d+)\]", path)]


def value_at(data: Any, path: str) -> Any:
    """None where there is nothing."""
    for step in steps(path):
        try:
            data = data[step]
        except (KeyError, IndexError, TypeError):
            return None
    return data


def placed(data: Mapping[str, Any], path: str, value: Any) -> dict[str, Any]:
    """A copy with the value at the path; mappings on the way are made.  None takes the option away, as if it were not written."""
    result: dict[str, Any] = copy.deepcopy(dict(data))
    spot: Any = result
    way = steps(path)
    for step, following in zip(way, way[1:]):
        if isinstance(step, str) and spot.get(step) is None:
            spot[step] = [] if isinstance(following, int) else {}
        spot = spot[step]
    if value is None:
        spot.pop(way[-1], None)
    elif isinstance(way[-1], int) and way[-1] == len(spot):
        spot.append(value)
    else:
        spot[way[-1]] = value
    return result


def filled(data: Any, names: Mapping[str, Any]) -> Any:
    """A copy with every text "@name" replaced by what it stands for."""
    if isinstance(data, Mapping):
        return {key: filled(value, names) for key, value in data.items()}
    if isinstance(data, (list, tuple)):
        return [filled(value, names) for value in data]
    if isinstance(data, str) and data.startswith("@"):
        return names[data[1:]]
    return data


def without(data: Any, paths: Sequence[str]) -> Any:
    """A copy in which what stands at the paths is left out; a step ``*`` is any key or index."""
    result = copy.deepcopy(data)
    for path in paths:
        _leave_out(result, path.split("."))
    return result


def _leave_out(data: Any, way: Sequence[str]) -> None:
    places = list(data) if isinstance(data, dict) else range(len(data)) if isinstance(data, list) else ()
    for place in places:
        if way[0] not in ("*", str(place)):
            continue
        if len(way) > 1:
            _leave_out(data[place], way[1:])
        else:
            data[place] = "left out"


def occurrences(data: Any, path: str) -> list[str]:
    """Where in the arguments an option such as ``computes[].macs`` is given, as paths with indexes."""
    if "[]" not in path:
        return [path] if value_at(data, path) is not None else []
    head, _brackets, rest = path.partition("[]")
    found = value_at(data, head)
    return [
        place for number in range(len(found) if isinstance(found, list) else 0) for place in occurrences(data, f"{head}[{number}]{rest}")
    ]
