# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sizes and durations."""

from __future__ import annotations

import pytest
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.model import units
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.hostile import every_hostile, every_not_text
from tests.unit.refusal import refused


@pytest.mark.parametrize(
    ("text", "mib"),
    [("1MiB", 1), ("512MiB", 512), ("4GiB", 4096), ("1TiB", 1024**2), ("1024TiB", 1024**3), ("1536MiB", 1536), ("007MiB", 7)],
)
def test_sizes(text: str, mib: int) -> None:
    assert units.parse_size(text) == mib


@pytest.mark.parametrize(
    "text",
    [
        "512",
        "4G",
        "4GB",
        "4gib",
        "4 GiB",
        "1.5GiB",
        "-1GiB",
        "+1GiB",
        "0MiB",
        "0GiB",
        "1025TiB",
        "9999999999999GiB",
        "GiB",
        "4GiB4",
        "4KiB",
        "1e3MiB",
        "\u0664GiB",
        "4GiB\n",
    ],
)
def test_sizes_refused(text: str) -> None:
    refused("invalid", units.parse_size, text)


@pytest.mark.parametrize("value", [512, "512", 1.5])
def test_a_size_without_unit_is_told_so(value: object) -> None:
    error = refused("invalid", units.parse_size, value)
    assert "MiB" in error.remedy
    if value != 1.5:
        assert "no unit" in error.detail


@given(st.integers(1, units.LARGEST_SIZE_MIB))
def test_every_size_in_range_is_read(mib: int) -> None:
    assert units.parse_size(f"{mib}MiB") == mib


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90),
        ("30m", 1800),
        ("6h", 21600),
        ("2d", 172800),
        ("1w", 604800),
        ("1d12h", 129600),
        ("1h30m", 5400),
        ("1w1d1h1m1s", 694861),
        ("2-0", 172800),
        ("1-12", 129600),
        ("1-12:30", 131400),
        ("1-12:30:15", 131415),
        ("0-00:30:00", 1800),
        ("06:00:00", 21600),
        ("48:00:00", 172800),
    ],
)
def test_durations(text: str, seconds: int) -> None:
    assert units.parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text",
    [
        "30",
        "6:00",
        "0s",
        "0-00:00:00",
        "UNLIMITED",
        "infinite",
        "6H",
        "6 h",
        "h",
        "-6h",
        "1.5h",
        "30m6h",
        "6h6h",
        "1-24:00:00",
        "1-00:60:00",
        "00:00:61",
        "00:60:00",
        "1-",
        "-1",
        "367d",
        "999999w",
        "\u0666h",
        "6h\n",
        "6:0:0",
    ],
)
def test_durations_refused(text: str) -> None:
    refused("invalid", units.parse_duration, text)


def test_a_number_that_yaml_made_of_a_clock_is_refused_with_quotes_as_remedy() -> None:
    # YAML 1.1 reads an unquoted 6:00:00 as 21600.
    error = refused("invalid", units.parse_duration, 21600)
    assert "quotes" in error.remedy


@every_hostile
def test_hostile_text_is_refused(hostile: str) -> None:
    refused("invalid", units.parse_size, hostile)
    refused("invalid", units.parse_duration, hostile)


@every_not_text
def test_what_is_not_text_is_refused(value: object) -> None:
    refused("invalid", units.parse_size, value)
    refused("invalid", units.parse_duration, value)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (-5, "0s"),
        (59, "59s"),
        (60, "1m"),
        (90, "1m30s"),
        (21599, "5h59m"),
        (21600, "6h"),
        (86400 + 5, "1d"),
        (2 * 86400 + 3 * 3600 + 5, "2d3h"),
        (30 * 86400, "30d"),
    ],
)
def test_durations_as_people_read_them(seconds: int, text: str) -> None:
    assert units.format_duration(seconds) == text


@given(st.integers(1, units.LONGEST_DURATION))
def test_a_formatted_duration_is_read_back_rounded_down(seconds: int) -> None:
    back = units.parse_duration(units.format_duration(seconds))
    assert back <= seconds
    assert seconds - back < max(60, 0.05 * seconds) if seconds < 3600 else seconds - back < 3600 + 60
