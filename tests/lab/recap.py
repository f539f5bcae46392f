# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a playbook's output says it did."""

from __future__ import annotations

import re


def changes(recap: str) -> list[str]:
    """Every task result that says changed, with its task."""
    task, found = "", []
    for line in recap.splitlines():
        if line.startswith("TASK ["):
            task = line.split("[", 1)[1].split("]")[0]
        elif line.startswith("changed: ["):
            found.append(f"{task}: {line}")
    return found


def totals(recap: str) -> dict[str, int]:
    lines = re.findall(r"ok=\d+ .*", recap.split("PLAY RECAP", 1)[1])
    assert lines
    return {
        word: sum(int(number) for line in lines for number in re.findall(rf"{word}=(\d+)", line))
        for word in ("changed", "unreachable", "failed")
    }
