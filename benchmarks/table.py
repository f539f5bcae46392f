# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One benchmark's figures as a table of Markdown, with the goal and whether it was reached."""

from __future__ import annotations

from collections.abc import Sequence


class Table:
    """Rows of one benchmark; `text` says what was measured and what is in the times, `goal` what had been set."""

    def __init__(self, title: str, text: str, columns: Sequence[str], goal: str) -> None:
        self.title, self._text, self._columns, self._goal = title, text, tuple(columns), goal
        self._rows: list[tuple[str, ...]] = []

    def add(self, cells: Sequence[str], reached: bool) -> None:
        self._rows.append((*cells, "yes" if reached else "**no**"))
        # A benchmark takes minutes.
        print(f"  {', '.join(f'{name} {cell}' for name, cell in zip(self._columns, cells))}", flush=True)

    def lines(self) -> list[str]:
        heading = (*self._columns, "goal reached")
        rows = [heading, tuple("---" for _cell in heading), *self._rows]
        return [f"## {self.title}", "", self._text, "", f"Goal: {self._goal}.", "", *(f"| {' | '.join(row)} |" for row in rows)]


def seconds(value: float) -> str:
    return f"{value:.2f} s" if value < 100 else f"{value:.0f} s"
