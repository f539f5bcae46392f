# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How much work something is: counted, because time tells another thing on each machine."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any


def steps(work: Callable[[], object]) -> int:
    """The instructions of Python that it takes."""
    count = 0

    def trace(frame: FrameType, event: str, _argument: Any) -> Any:
        nonlocal count
        frame.f_trace_opcodes = True
        count += event == "opcode"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(before)
    return count


def is_linear(ready: Callable[[int], Any], work: Callable[[Any], object], many: int = 60) -> bool:
    """Whether twice as many items are about twice the work.  `ready` makes what is worked on, for a number of items."""
    once, twice = (steps(functools.partial(work, ready(number))) for number in (many, 2 * many))
    assert once > many
    return twice < 2.2 * once
