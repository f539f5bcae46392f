# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Names: what is accepted, what is refused."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.model import names
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.hostile import every_hostile, every_not_text
from tests.unit.refusal import refused

READERS: dict[str, Callable[[Any], Any]] = {
    "cluster": names.cluster_name,
    "node": names.node_name,
    "computeset": names.computeset_name,
    "user": names.user_name,
    "account": names.account_name,
    "host": names.host_name,
    "bridge": names.bridge_name,
    "image": names.image_ref,
}
every_reader = pytest.mark.parametrize("read", list(READERS.values()), ids=list(READERS))


@every_hostile
def test_hostile_text_is_refused(hostile: str) -> None:
    for read in READERS.values():
        refused("invalid", read, hostile)


@every_reader
@every_not_text
def test_what_is_not_text_is_refused(read: Callable[[Any], Any], value: object) -> None:
    refused("invalid", read, value)


@every_reader
@given(text=st.text(max_size=80))
def test_whatever_is_accepted_is_harmless(read: Callable[[Any], Any], text: str) -> None:
    try:
        accepted = str(read(text))
    except names.VcError:
        return
    assert accepted == text
    assert re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._@-]*", text, re.ASCII)
    assert ".." not in text


@pytest.mark.parametrize(
    ("read", "text"),
    [
        (names.cluster_name, "vc1"),
        (names.cluster_name, "a"),
        (names.cluster_name, "physics-course-2027"),
        (names.node_name, "compute0"),
        (names.node_name, "rack01-node-" + "1" * 20),
        (names.computeset_name, "sim"),
        (names.user_name, "labuser"),
        (names.user_name, "john.doe-2"),
        (names.user_name, "_apt"),
        (names.account_name, "physics"),
        (names.account_name, "0815_group.sub"),
        (names.host_name, "hv1"),
        (names.host_name, "n001.cluster.example.org"),
        (names.bridge_name, "br-public"),
        (names.bridge_name, "vmbr0.10"),
    ],
)
def test_ordinary_names_are_accepted_unchanged(read: Callable[[Any], str], text: str) -> None:
    assert read(text) == text


@pytest.mark.parametrize(
    ("read", "longest"),
    [
        (names.cluster_name, 20),
        (names.node_name, 32),
        (names.computeset_name, 20),
        (names.user_name, 32),
        (names.account_name, 40),
        (names.bridge_name, 15),
    ],
)
def test_length_limits(read: Callable[[Any], str], longest: int) -> None:
    assert read("a" * longest)
    assert str(longest) in refused("invalid", read, "a" * (longest + 1)).detail


def test_cluster_and_node_fit_into_one_host_name_label() -> None:
    assert len(names.cluster_name("a" * 20) + "-" + names.node_name("b" * 32)) <= 63


@pytest.mark.parametrize("text", ["1vc", "-vc", "vc-", "VC1", "vc_1", "vc.1", "a.b"])
def test_a_cluster_or_node_name_is_a_host_name_label(text: str) -> None:
    refused("invalid", names.cluster_name, text)
    refused("invalid", names.node_name, text)


@pytest.mark.parametrize("text", ["localhost"])
def test_reserved_node_names(text: str) -> None:
    refused("invalid", names.node_name, text)


@pytest.mark.parametrize(
    ("text", "ref"),
    [
        ("debian12", names.ImageRef("debian12")),
        ("debian-12.5_x", names.ImageRef("debian-12.5_x")),
        ("debian12@r1", names.ImageRef("debian12", 1)),
        ("debian12@r999999", names.ImageRef("debian12", 999999)),
    ],
)
def test_images(text: str, ref: names.ImageRef) -> None:
    assert names.image_ref(text) == ref
    assert str(ref) == text


@pytest.mark.parametrize(
    "text", ["@r1", "debian12@", "debian12@1", "debian12@r0", "debian12@r01", "debian12@r1@r2", "debian12@r-1", "debian12@r\u0661", "a@R1"]
)
def test_images_refused(text: str) -> None:
    refused("invalid", names.image_ref, text)


def test_shown_is_one_bounded_line() -> None:
    assert names.shown("vc1") == "vc1"
    assert names.shown("") == "''"
    assert names.shown("a\nb") == "'a\\nb'"
    assert names.shown("ö") == "'\\xf6'"
    assert len(names.shown("a" * 1000)) == 60
    assert names.shown(None) == "None"
