# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a port's table says about a partition, and which port OpenSM's command line names."""

from __future__ import annotations

from ansible_collections.hpc.virtual_cluster.plugins.module_utils.fabric import daemon
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.fabric.document import Partition
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.fabric.ports import problems

from tests.unit.fabric.samples import ONE, TWO

OLD = Partition("vc1", "0x0001", (ONE, TWO))
NEW = Partition("vc1", "0x0001", (ONE,))


def test_a_port_shows_its_form_of_the_key_and_no_other() -> None:
    limited = Partition("vc1", "0x0001", (ONE,), (TWO,))
    assert problems([OLD], limited, {ONE: ["0x7fff", "0x8001", "0x0000"], TWO: ["0x7fff", "0x0001", "0x0000"]}) == []
    found = problems([OLD], limited, {ONE: ["0x7fff", "0x0001", "0x0000"], TWO: ["0x8001", "0x0001", "0x0000"]})
    assert found == [f"port {ONE} lacks key 0x8001", f"port {ONE} still has key 0x0001", f"port {TWO} still has key 0x8001"]


def test_who_left_has_lost_the_key() -> None:
    assert problems([OLD], NEW, {ONE: ["0x8001"], TWO: ["0x8001"]}) == [f"port {TWO} still has key 0x8001"]
    assert problems([OLD], None, {ONE: ["0x0001"], TWO: ["0x8002"]}) == [f"port {ONE} still has key 0x0001"]


def test_a_port_that_is_away_shows_nothing() -> None:
    assert problems([OLD], NEW, {ONE: None}) == []


def test_a_full_table_and_an_open_fabric_are_told() -> None:
    assert "table of 2 keys is full" in problems([], NEW, {ONE: ["0x7fff", "0x8002"]})[0]
    assert "default partition" in problems([], NEW, {ONE: ["0xffff", "0x0000"]})[0]


def test_the_port_in_a_command_line() -> None:
    for words in (["-g", "0x10A"], ["--guid", "0x10a"], ["--guid=0x10a"]):
        assert daemon.port_of(["/usr/sbin/opensm", *words, "-f", "log"]) == "0x000000000000010a"
    for words in ([], ["-g"], ["-g", "0"], ["--guid=junk"]):
        assert daemon.port_of(["/usr/sbin/opensm", *words]) == ""
