# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which test holds which line of the first page's status table: docs/proofs.md, whose wording `make proofs` keeps up to date."""

from __future__ import annotations

import ast
import re
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "proofs.md"
BEGIN = """# What holds what

Every line of README's table *What works*, its state, and what the tests that hold it prove, in their own words. A line gets a test by
having its name written below it, as `- tests/...::test_...` in code quotes; `make proofs` does the rest. Tests in `molecule/` are those
of its scenarios.
"""
_TEST = re.compile(r"`((?:tests|molecule)/[^`]+::[^`]+)`")


@dataclass(frozen=True)
class Claim:
    """A line of the table: what is claimed, its state, and the tests that hold it, as pytest names them."""

    text: str
    state: str
    tests: tuple[str, ...]


def claims() -> list[Claim]:
    table = (ROOT / "README.md").read_text(encoding="utf-8").split("\n## What works\n")[1].split("\n## ")[0]
    rows = [line[1:-1].split(" | ") for line in table.splitlines() if line.startswith("| ") and line.endswith("|")]
    known = _tests()
    # The heading has no text of its own.
    return [Claim(text, state, known.get(_plain(text), ())) for text, state in (map(str.strip, cells) for cells in rows) if text]


def orphans() -> list[str]:
    """Lines of the page that README's table does not have."""
    return sorted(_tests().keys() - {_plain(claim.text) for claim in claims()})


def proves(test: str) -> str:
    """What a test says of itself, or else its name in words.  LookupError when there is no such test."""
    path, _colons, name = test.partition("::")
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and node.name == name and name.startswith("test_"):
            said = name[len("test_") :].replace("_", " ")
            return ". ".join([said, *(ast.get_docstring(node) or "").replace("\n", " ").split("\n\n")[:1]]).rstrip(". ")
    raise LookupError(f"{path} has no test {name}")


def page() -> str:
    lines = [BEGIN]
    for claim in claims():
        lines.append(f"- {_plain(claim.text)}: *{claim.state.replace('**', '')}*")
        lines += [f"  - `{test}`: {proves(test)}" for test in claim.tests]
    return "\n".join(lines) + "\n"


def main() -> int:
    PAGE.write_text(page(), encoding="utf-8")
    return 0


def _tests() -> dict[str, tuple[str, ...]]:
    """Line of the page -> its tests."""
    found: dict[str, tuple[str, ...]] = {}
    line = ""
    for text in PAGE.read_text(encoding="utf-8").splitlines():
        if text.startswith("- "):
            line = text[2:].rpartition(": *")[0]
            found[line] = ()
        elif text.startswith("  - "):
            found[line] += tuple(_TEST.findall(text)[:1])
    return found


def _plain(text: str) -> str:
    # A link of the first page would lead elsewhere from here.
    return re.sub(r" \(\[[^]]+\]\([^)]+\)\)", "", text)


if __name__ == "__main__":
    sys.exit(main())
