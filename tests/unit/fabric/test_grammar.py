# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""partitions.conf read as OpenSM reads it; tests/lab/test_fabric.py holds these readings against the real daemon."""

from __future__ import annotations

import pytest
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.fabric.grammar import Definition, definitions

from tests.unit.fabric.samples import BROKEN, ONE, READ
from tests.unit.refusal import refused


def read(text: str) -> list[Definition]:
    return definitions(text, "/etc/opensm/partitions.conf")


@pytest.mark.parametrize("text", sorted(READ))
def test_what_opensm_reads_is_read_alike(text: str) -> None:
    found = [(one.name, one.pkey, set(one.members)) for one in read(text)]
    assert found == READ[text]


@pytest.mark.parametrize("text", sorted(BROKEN))
def test_what_opensm_gives_up_is_refused_with_its_line(text: str) -> None:
    error = refused("invalid", read, "# first line\n" + text)
    last = text.rstrip("\n").count("\n") + 2
    assert error.item == f"/etc/opensm/partitions.conf:{last}"
    assert "open the fabric" in error.detail


def test_a_definition_in_the_middle_has_to_end() -> None:
    text = "a=0x5 : 0x1=full\n"
    assert definitions(text, "p", closed=False)
    assert refused("invalid", definitions, text, "p").item == "p:1"


def test_lines_that_opensm_would_cut_are_refused() -> None:
    members = ", ".join(f"0x{number:016x}=full" for number in range(1, 200))
    refused("invalid", read, f"a=0x5 : {members} ;")
    assert len(read(f"a=0x5 : {members.replace(', ', chr(10) + ', ')} ;")[0].members) == 199


def test_a_zero_byte_ends_the_line_for_opensm_alone() -> None:
    refused("invalid", read, f"a=0x5 : {ONE}=full ;\0 b=0x6 : {ONE}=full ;")


def test_flags_are_kept_and_defmember_counts() -> None:
    (found,) = read("a=0x5, ipoib, rate=7, defmember=full : 0x1, 0x2=limited ;")
    assert found.flags == (("ipoib", ""), ("rate", "7"), ("defmember", "full"))
    assert [membership for _guid, membership in found.members] == ["full", "limited"]


def test_an_unnumbered_partition_has_no_pkey_but_the_default_has() -> None:
    assert [one.pkey for one in read("Default : ALL ;\nother : 0x1 ;\nzero=0x8000 : 0x1 ;\n")] == [0x7FFF, None, None]
