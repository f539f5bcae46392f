# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a module's documentation promises: its options, and what it returns.  Sanity holds the options to the argument spec."""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from tests.lab.host import ROOT

MODULES = sorted(path.stem for path in (ROOT / "plugins" / "modules").glob("*.py"))
# Ansible's own, returned by any module.
COMMON = {"changed", "failed", "diff", "msg", "invocation"}
TYPES: Mapping[str, type] = {"str": str, "int": int, "bool": bool, "list": list, "dict": dict, "raw": object}


@functools.cache
def block(module: str, name: str) -> dict[str, Any]:
    """DOCUMENTATION or RETURN of a module."""
    tree = ast.parse((ROOT / "plugins" / "modules" / f"{module}.py").read_text(encoding="utf-8"))
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id == name:
            found: dict[str, Any] = yaml.safe_load(ast.literal_eval(node.value))
            return found
    raise KeyError(f"{module} has no {name}")


def options(module: str) -> dict[str, dict[str, Any]]:
    """Every option that has a value of its own, by path: ``computes[].cpus``; and every list."""
    return dict(_options(block(module, "DOCUMENTATION")["options"], ""))


def _options(found: Mapping[str, Any], base: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, option in found.items():
        place = f"{base}{name}"
        inner = option.get("suboptions")
        if option["type"] == "list" or not inner:
            yield place, option
        if inner:
            yield from _options(inner, f"{place}[]." if option["type"] == "list" else f"{place}.")


def valued(module: str) -> set[str]:
    """The options that a row has to change, or to say why not."""
    return {path for path, option in options(module).items() if not option.get("suboptions")}


def lists(module: str) -> set[str]:
    return {path for path, option in options(module).items() if option["type"] == "list"}


def canonical(path: str) -> str:
    return re.sub(r"\[\d+\]", "[]", path)


class Returned:
    """Holds answers to RETURN, and remembers which of its keys were seen."""

    def __init__(self, module: str) -> None:
        self._documented = block(module, "RETURN")
        self._seen: set[str] = set()

    def problems(self, answer: Mapping[str, Any]) -> list[str]:
        found = list(self._level(self._documented, answer, "", bool(answer.get("failed"))))
        for common in ("changed", *(("msg",) if answer.get("failed") else ())):
            if common not in answer:
                found.append(f"{common} is missing")
        return found

    def never_seen(self) -> list[str]:
        """Keys that are documented and that no answer had."""
        return sorted(set(self._paths(self._documented, "")) - self._seen)

    def _level(self, documented: Mapping[str, Any], answer: Mapping[str, Any], base: str, failed: bool) -> Iterator[str]:
        for key, value in answer.items():
            if not base and key in COMMON:
                continue
            if key not in documented:
                yield f"{base}{key} is not documented"
                continue
            self._seen.add(f"{base}{key}")
            entry = documented[key]
            if value is not None and not isinstance(value, TYPES[entry["type"]]):
                yield f"{base}{key} is no {entry['type']}: {value!r}"
            elif "contains" in entry and value:
                for inner in value if isinstance(value, list) else [value]:
                    yield from self._level(entry["contains"], inner, f"{base}{key}.", failed)
        for key, entry in documented.items():
            promised = entry["returned"] == "always" or entry["returned"] == ("failure" if failed else "success")
            if promised and key not in answer:
                yield f"{base}{key} is missing, it is returned: {entry['returned']}"

    def _paths(self, documented: Mapping[str, Any], base: str) -> Iterator[str]:
        for key, entry in documented.items():
            yield f"{base}{key}"
            yield from self._paths(entry.get("contains", {}), f"{base}{key}.")
