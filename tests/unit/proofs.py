# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which test holds which line of the first page's status table; `make proofs` writes docs/proofs.md from it."""

from __future__ import annotations

import ast
import re
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "proofs.md"
BEGIN = """# What holds what

Every line of README's table *What works*, and what the tests beside it prove, in their own words. Written by `make proofs`.
"""


@dataclass(frozen=True)
class Claim:
    """A line of the table: what is claimed, its state, and the tests that hold it, as pytest names them."""

    text: str
    state: str
    tests: tuple[str, ...]


def claims() -> list[Claim]:
    table = (ROOT / "README.md").read_text(encoding="utf-8").split("\n## What works\n")[1].split("\n## ")[0]
    rows = [line[1:-1].split(" | ") for line in table.splitlines() if line.startswith("| ") and line.endswith("|")]
    found = [Claim(cells[0].strip(), cells[1].strip(), tuple(re.findall(r"`(tests/[^`]+)`", cells[-1]))) for cells in rows]
    # The heading has no text of its own.
    return [claim for claim in found if claim.text]


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
        # A link of the first page would lead elsewhere from here.
        text = re.sub(r" \(\[[^]]+\]\([^)]+\)\)", "", claim.text)
        lines.append(f"- {text}: *{claim.state.replace('**', '')}*")
        lines += [f"  - `{test}`: {proves(test)}" for test in claim.tests]
    return "\n".join(lines) + "\n"


def main() -> int:
    PAGE.write_text(page(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
