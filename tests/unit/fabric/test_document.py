# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The file as two owners see it: between our marks ours, around them an admin's, byte for byte."""

from __future__ import annotations

from dataclasses import replace

import pytest
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.fabric import document
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.fabric.document import BEGIN, END, Document, Partition
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.fabric.samples import ONE, TWO
from tests.unit.refusal import refused

PATH = "/etc/opensm/partitions.conf"
DEFAULT = "Default=0x7fff : SELF=full ;\n"
VC1 = Partition("vc1", "0x0001", (ONE,), (TWO,), ipoib=True)
VC2 = Partition("vc2", "0x0002", (TWO,))
FOREIGN = st.sampled_from(["", "# caf\udcc3\udca9\n", DEFAULT, "storage=0x0100 :\n\t0x1=full,\n\n  0x2 ;   # ours \n", "\n\n"])
PARTITIONS = st.sets(st.sampled_from([VC1, VC2]))


def parsed(text: str) -> Document:
    return document.parse(text, PATH)


@given(FOREIGN, FOREIGN, PARTITIONS, PARTITIONS)
def test_foreign_lines_stay_byte_for_byte(before: str, after: str, there: set[Partition], wanted: set[Partition]) -> None:
    start = Document(before, {one.name: one for one in there}, after, ()).render()
    if not there:
        before, after = start, ""
    text = replace(parsed(start), partitions={one.name: one for one in wanted}).render()
    assert text.startswith(before)
    assert text.endswith(after)
    if wanted:
        assert text[len(before) : len(text) - len(after)] == document.render_block({one.name: one for one in wanted})
        assert parsed(text).partitions == {one.name: one for one in wanted}
    else:
        assert text == before + after


def test_a_last_line_without_its_end_is_no_part_of_ours() -> None:
    text = replace(parsed(DEFAULT.rstrip("\n")), partitions={"vc2": VC2}).render()
    assert text == DEFAULT + document.render_block({"vc2": VC2})


def test_what_is_rendered_is_read_the_same() -> None:
    many = replace(VC1, guids=tuple(f"0x{number:016x}" for number in range(1, 2000)))
    found = parsed(DEFAULT + document.render_block({"vc1": many, "vc2": VC2}))
    assert found.partitions == {"vc1": many, "vc2": VC2}
    assert max(len(line) for line in found.render().splitlines()) < 100


@pytest.mark.parametrize(
    "block",
    [
        f"vc1=0x0001 : ALL=full ;\n{END}\n",
        f"vc1=0x0001, rate=7 : {ONE}=full ;\n{END}\n",
        f"vc1=0x0001 : {ONE}=both ;\n{END}\n",
        f"vc1=0x0001 : {ONE}=full, {ONE}=full ;\n{END}\n",
        f"vc1 : {ONE}=full ;\n{END}\n",
        f"VC1=0x0001 : {ONE}=full ;\n{END}\n",
        f"vc1=0x0001 : {ONE}=full ;\nvc1=0x0002 : {ONE}=full ;\n{END}\n",
        f"vc1=0x0001 : {ONE}=full ;\nvc2=0x0001 : {ONE}=full ;\n{END}\n",
    ],
)
def test_what_we_would_not_write_is_not_ours(block: str) -> None:
    error = refused("conflict", parsed, f"{DEFAULT}{BEGIN}\n{block}")
    assert error.item.startswith(f"{PATH}:")


@pytest.mark.parametrize("text", [f"{BEGIN}\n", f"{END}\n", f"{END}\n{BEGIN}\n", f"{BEGIN}\n{BEGIN}\n{END}\n"])
def test_damaged_marks_are_refused(text: str) -> None:
    assert refused("invalid", parsed, DEFAULT + text).item == PATH


def test_an_error_of_an_admin_is_found_by_its_line_behind_our_block_too() -> None:
    text = DEFAULT + document.render_block({"vc2": VC2}) + "rubbish\n"
    assert refused("invalid", parsed, text).item == f"{PATH}:{len(text.splitlines())}"


def test_a_definition_without_its_end_would_swallow_ours() -> None:
    refused("invalid", parsed, f"a=0x5 : {ONE}=full\n{document.render_block({'vc2': VC2})}")
    assert parsed(f"{document.render_block({'vc2': VC2})}a=0x5 : {ONE}=full\n").foreign


@pytest.mark.parametrize(
    ("text", "defined", "opened"),
    [
        ("", False, False),
        (f"a=0x5 : {ONE}=full ;\n", False, False),
        (DEFAULT, True, False),
        ("Default=0x7fff : ALL, SELF=full ;\n", True, False),
        ("Default : ALL_CAS=full ;\n", True, True),
        ("any=0xffff : A=f ;\n", True, True),
    ],
)
def test_who_is_in_the_default_partition(text: str, defined: bool, opened: bool) -> None:
    assert document.default_is_defined(parsed(text)) is defined
    assert document.default_is_open(parsed(text)) is opened
