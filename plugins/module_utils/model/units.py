# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sizes and durations.  A number without a unit is refused: the reader of a definition must not have to guess."""

from __future__ import annotations

import re
from typing import Any, Optional

from .errors import VcError
from .names import shown

_SIZE = re.compile(r"([0-9]{1,12})(MiB|GiB|TiB)")
_MIB = {"MiB": 1, "GiB": 1024, "TiB": 1024 * 1024}
LARGEST_SIZE_MIB = 1024 * 1024 * 1024  # 1 PiB

_PARTS = re.compile(r"(?:([0-9]{1,6})w)?(?:([0-9]{1,6})d)?(?:([0-9]{1,6})h)?(?:([0-9]{1,6})m)?(?:([0-9]{1,9})s)?")
_PART_SECONDS = (7 * 86400, 86400, 3600, 60, 1)
_SLURM_DAYS = re.compile(r"([0-9]{1,4})-([0-9]{1,2})(?::([0-9]{1,2}))?(?::([0-9]{1,2}))?")
_SLURM_CLOCK = re.compile(r"([0-9]{1,4}):([0-9]{2}):([0-9]{2})")
LONGEST_DURATION = 366 * 86400


def parse_size(text: Any) -> int:
    """``512MiB``, ``4GiB``, ``1TiB`` -> MiB.  Whole numbers from 1 MiB to 1 PiB; decimal units (GB) and bare numbers are refused."""
    tried = "reading it as a size"
    remedy = "write a whole number with MiB, GiB or TiB, e.g. 512MiB or 4GiB"
    matched = _SIZE.fullmatch(text) if isinstance(text, str) else None
    if matched is None:
        detail = "it has no unit" if _is_number(text) else "it is not a size"
        raise VcError("invalid", shown(text), tried, detail, remedy)
    size = int(matched.group(1)) * _MIB[matched.group(2)]
    if not 1 <= size <= LARGEST_SIZE_MIB:
        raise VcError("invalid", shown(text), tried, "it is not between 1MiB and 1024TiB", remedy)
    return size


def parse_duration(text: Any) -> int:
    """``90s``, ``30m``, ``6h``, ``2d``, ``1w``, ``1d12h``, or Slurm's ``D-HH``, ``D-HH:MM``, ``D-HH:MM:SS``, ``HH:MM:SS`` -> seconds.

    From 1 second to 366 days.  Slurm's bare minutes and ``MM:SS`` are refused: too many people read ``6:00`` as hours.
    """
    tried = "reading it as a duration"
    remedy = "write e.g. 30m, 6h, 2d, 1w, 1d12h or Slurm's 1-12:00:00, in quotes"
    seconds = _seconds(text) if isinstance(text, str) else None
    if seconds is None:
        detail = "it has no unit" if _is_number(text) else "it is not a duration"
        raise VcError("invalid", shown(text), tried, detail, remedy)
    if not 1 <= seconds <= LONGEST_DURATION:
        raise VcError("invalid", shown(text), tried, "it is not between 1s and 366d", remedy)
    return seconds


def format_duration(seconds: int) -> str:
    """Seconds as a person reads them: the two largest parts from days down, e.g. ``5h59m``; ``0s`` for nothing left."""
    rest = max(0, int(seconds))
    parts: list[str] = []
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        value, rest = divmod(rest, length)
        if value:
            parts.append(f"{value}{unit}")
            if len(parts) == 2:
                break
        elif parts:
            # Rounding down past a zero part would otherwise show 1d5s.
            break
    return "".join(parts) or "0s"


def _seconds(text: str) -> Optional[int]:
    matched = _PARTS.fullmatch(text) if text else None
    if matched:
        return sum(int(part) * length for part, length in zip(matched.groups(), _PART_SECONDS) if part)
    matched = _SLURM_DAYS.fullmatch(text)
    if matched:
        days, hours, minutes, seconds = (int(part or 0) for part in matched.groups())
    else:
        matched = _SLURM_CLOCK.fullmatch(text)
        if matched is None:
            return None
        hours, minutes, seconds = (int(part) for part in matched.groups())
        days = 0
    if minutes > 59 or seconds > 59 or (days and hours > 23):
        return None
    return ((days * 24 + hours) * 60 + minutes) * 60 + seconds


def _is_number(value: Any) -> bool:
    if isinstance(value, str):
        return value.isascii() and value.isdigit()
    return isinstance(value, (int, float)) and not isinstance(value, bool)
