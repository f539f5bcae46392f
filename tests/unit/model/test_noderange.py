# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The node range parser, and its agreement with ClusterShell and Slurm on all that it accepts."""

from __future__ import annotations

import os
import pathlib
import shutil
import subprocess
import time

import pytest
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.model.errors import VcError
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.model.noderange import LARGEST, expand, fold, natural_key
from ClusterShell.NodeSet import RESOLVER_NOGROUP, NodeSet
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.unit.hostile import every_hostile, every_not_text
from tests.unit.refusal import refused

SCONTROL = shutil.which("scontrol")

ACCEPTED = [
    ("n1", ["n1"]),
    ("login,n[1-3]", ["login", "n1", "n2", "n3"]),
    ("n[1-3],login", ["n1", "n2", "n3", "login"]),
    ("n3,n1", ["n3", "n1"]),
    ("n[8-11]", ["n8", "n9", "n10", "n11"]),
    ("n[08-11]", ["n08", "n09", "n10", "n11"]),
    ("n[99-101]", ["n99", "n100", "n101"]),
    ("n[0]", ["n0"]),
    ("n[000,002]", ["n000", "n002"]),
    ("n[1,3,5-6]", ["n1", "n3", "n5", "n6"]),
    ("n[01-03,05]x[1-2]", ["n01x1", "n01x2", "n02x1", "n02x2", "n03x1", "n03x2", "n05x1", "n05x2"]),
    ("vc1-n[0-1]", ["vc1-n0", "vc1-n1"]),
    ("n-[1-2]", ["n-1", "n-2"]),
    ("1n", ["1n"]),
    ("n1,n01", ["n1", "n01"]),
    ("n[1-2],n01", ["n1", "n2", "n01"]),
]

# (text, part of the reason): what other tools read differently from one another, and what is nonsense
REFUSED = [
    ("", "empty"),
    (",", "commas"),
    ("n1,", "commas"),
    (",n1", "commas"),
    ("n1,,n2", "commas"),
    ("n[1-03]", "differently"),
    ("n[01-3]", "differently"),
    ("n[01-100]", "differently"),
    ("n[3-1]", "downwards"),
    ("n[1-3]-ib", "follows the last bracket"),
    ("n[1-2].sub", "character"),
    ("n[1-2][3-4]", "directly behind"),
    ("[1-2]", "first"),
    ("n1[2-3]", "digit"),
    ("n[1-2]3", "digit"),
    ("n[1-2]3x[1-2]", "digit"),
    ("n[1,1,2]", "ascending"),
    ("n[2,1]", "ascending"),
    ("n[1-3,2]", "ascending"),
    ("n[1,01]", "ascending"),
    ("n[1,02]", "widths"),
    ("n[08-11,100]", "widths"),
    ("n[-1]", "numbers and spans"),
    ("n[1-]", "numbers and spans"),
    ("n[1--2]", "numbers and spans"),
    ("n[a-c]", "numbers and spans"),
    ("n[0-6/2]", "numbers and spans"),
    ("n[1,]", "numbers and spans"),
    ("n[ 1]", "numbers and spans"),
    ("n[\u0661-\u0663]", "numbers and spans"),
    ("n[\uff11]", "numbers and spans"),
    ("n[0-9999999999]", "numbers and spans"),
    ("n[]", "empty"),
    ("n[1-3", "partner"),
    ("n1-3]", "partner"),
    ("n[[1-2]]", "partner"),
    ("n[1-3]!n2", "character"),
    ("n[1-3]&n2", "character"),
    ("n[1-3]^n2", "character"),
    ("@all", "character"),
    ("n*", "character"),
    ("n 1", "character"),
    ("n1, n2", "character"),
    ("N1", "character"),
    ("-n2", "dash"),
    ("n[1-3],-n2", "dash"),
    ("n-", "dash"),
    ("a[1-2]b[1-2]c[1-2]", "brackets"),
    ("n[0-100000]", "names"),
    ("n[0-999999999]", "names"),
    ("n[1-1000]x[1-1000]", "names"),
    ("n[0-99999],m", "names"),
    ("n" * 64, "characters"),
    ("n" * 62 + "[8-11]", "characters"),
]


@pytest.mark.parametrize(("text", "names"), ACCEPTED, ids=[text for text, _names in ACCEPTED])
def test_accepted(text: str, names: list[str]) -> None:
    assert expand(text) == names


@pytest.mark.parametrize(("text", "reason"), REFUSED, ids=[ascii(text)[:40] for text, _reason in REFUSED])
def test_refused(text: str, reason: str) -> None:
    assert reason in refused("invalid", expand, text).detail


@every_hostile
def test_hostile_text_is_refused(hostile: str) -> None:
    refused("invalid", expand, hostile)


@every_not_text
def test_what_is_not_text_is_refused(value: object) -> None:
    refused("invalid", expand, value)


@pytest.mark.parametrize("text", ["n1,n2,n1", "n[1-3],n2", "a,a", "n[1-2],n[2-3]"])
def test_a_name_that_comes_twice_is_refused(text: str) -> None:
    assert "comes twice" in refused("duplicate", expand, text).detail


def test_the_largest_range_is_fast_and_one_more_is_refused() -> None:
    begun = time.process_time()
    names = expand(f"n[0-{LARGEST - 1}]")
    assert len(names) == LARGEST
    assert fold(names) == f"n[0-{LARGEST - 1}]"
    assert expand(",".join(names)) == names
    refused("invalid", expand, f"n[0-{LARGEST}]")
    refused("invalid", expand, ",".join([*names, "m"]))
    assert time.process_time() - begun < 5


@pytest.mark.parametrize("piece", ["[", "]", ",", "-", "0", "n[", "a,", "n[1],", "n[1", "[1-"])
def test_garbage_takes_linear_time(piece: str) -> None:
    begun = time.process_time()
    with pytest.raises(VcError):
        expand(piece * 200_000)
    assert time.process_time() - begun < 2


def test_natural_order() -> None:
    assert sorted(["n10", "n2", "n1", "n01", "login", "n"], key=natural_key) == ["login", "n", "n01", "n1", "n2", "n10"]


# ---- properties ----

NAMES = st.from_regex(r"[a-z0-9](-?[a-z0-9]){0,12}", fullmatch=True)
NUMBERED = st.builds(
    lambda prefix, number, width: f"{prefix}{number:0{width}d}",
    st.sampled_from(["n", "r1n", "r2n", "r03n", "r4x", "vc-", "a0b"]),
    st.integers(0, 130),
    st.integers(1, 4),
)


@st.composite
def groups(draw: st.DrawFn) -> str:
    numbers = sorted(draw(st.sets(st.integers(0, 120), min_size=1, max_size=6)))
    width = draw(st.sampled_from([0, 3]))
    spans, place = [], 0
    while place < len(numbers):
        first = last = numbers[place]
        if draw(st.booleans()):
            last = first + draw(st.integers(0, 5))
        spans.append(f"{first:0{width}d}" if first == last else f"{first:0{width}d}-{last:0{width}d}")
        place = next((later for later in range(place + 1, len(numbers)) if numbers[later] > last), len(numbers))
    return f"[{','.join(spans)}]"


# Well formed: names with up to two groups.
ITEMS = st.one_of(
    NUMBERED,
    groups().map(lambda group: f"n{group}"),
    st.builds(lambda left, right: f"r{left}n{right}", groups(), groups()),
    st.just("login"),
)
RANGES = st.lists(ITEMS, min_size=1, max_size=4).map(",".join)
# Mostly not: the same pieces in any order.
SOUP = st.lists(
    st.sampled_from(["n", "r1", "x", "-", ",", "[", "]", "0", "1", "03", "10", "9", "1-3", "01-03", "[1-2]", "[08-11]", "[1,3]"]),
    max_size=8,
).map("".join)


@given(st.sets(st.one_of(NAMES, NUMBERED), min_size=1, max_size=40))
@example({"n1", "n01", "n001"})
@example({"n08", "n8", "n10", "n9", "n09"})
@example({"n1234567890", "n1234567891"})
@example({"123", "124"})
def test_expand_gives_back_what_fold_folded(names: set[str]) -> None:
    text = fold(names)
    expanded = expand(text)
    assert set(expanded) == names
    assert len(expanded) == len(names)
    assert fold(reversed(expanded)) == text


@given(st.one_of(RANGES, SOUP))
def test_whatever_expands_folds_to_a_shorter_or_equal_set(text: str) -> None:
    try:
        names = expand(text)
    except VcError:
        return
    assert names
    assert len(set(names)) == len(names)
    assert set(expand(fold(names))) == set(names)


def test_rows_that_are_alike_fold_into_two_brackets() -> None:
    for text in ("r[01-99]n[1-8]", "r[1-12]n[01-16,20]", "c1-r[0-3]n[0-1023]"):
        assert fold(expand(text)) == text


def test_nothing_folds_to_nothing_which_is_refused() -> None:
    assert fold([]) == ""
    refused("invalid", expand, fold([]))


@pytest.mark.parametrize(
    ("names", "text"),
    [
        ("n1 n2 n3", "n[1-3]"),
        ("n3 n1 n2", "n[1-3]"),
        ("n1 n3", "n[1,3]"),
        ("n1", "n1"),
        ("n08 n09 n10 n11", "n[08-11]"),
        ("n9 n10", "n[9-10]"),
        ("n1 n01 n001", "n001,n01,n1"),
        ("r1n1 r1n2 r2n1 r2n2", "r[1-2]n[1-2]"),
        ("r1n1 r1n2 r2n1 r2n2 r2n3 r3n2 r3n1", "r[1,3]n[1-2],r2n[1-3]"),
        ("r08n1 r09n1 r10n1 r8n1 r9n1", "r[08-10]n[1],r8n1,r9n1"),
        ("r1n01 r1n02 r2n1 r2n2", "r1n[01-02],r2n[1-2]"),
        ("a1r1n1 a1r1n2 a1r2n1 a1r2n2 a2r1n1 a2r1n2", "a1r[1-2]n[1-2],a2r1n[1-2]"),
        ("r1n1 s1n1 1n1 2n1", "1n1,2n1,r1n1,s1n1"),
        ("r1n1 r2n1", "r1n1,r2n1"),
        ("r1-n1 r1-n2 r2-n1 r2-n2", "r[1-2]-n[1-2]"),
        ("login n2 n1", "login,n[1-2]"),
        ("n2 n10 m1", "m1,n[2,10]"),
    ],
)
def test_fold_is_canonical(names: str, text: str) -> None:
    assert fold(names.split()) == text


@every_hostile
def test_fold_refuses_what_is_no_name(hostile: str) -> None:
    refused("invalid", fold, ["n1", hostile])


# ---- oracles ----


def clustershell(text: str) -> set[str]:
    return set(NodeSet(text, resolver=RESOLVER_NOGROUP))


@given(st.one_of(RANGES, SOUP))
@settings(max_examples=400)
def test_clustershell_reads_the_same(text: str) -> None:
    try:
        names = expand(text)
    except VcError:
        return
    assert clustershell(text) == set(names)
    assert clustershell(fold(names)) == set(names)


@pytest.fixture(scope="session")
def slurm_conf(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    path = tmp_path_factory.mktemp("slurm") / "slurm.conf"
    path.write_text("ClusterName=oracle\nSlurmctldHost=oracle\nNodeName=oracle\nPartitionName=oracle Nodes=oracle\n")
    return path


def slurm(text: str, slurm_conf: pathlib.Path) -> list[str]:
    assert SCONTROL is not None
    environment = {**os.environ, "SLURM_CONF": str(slurm_conf)}
    done = subprocess.run([SCONTROL, "show", "hostnames", text], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{text}: {done.stderr}"
    assert not done.stderr
    return done.stdout.split()


needs_scontrol = pytest.mark.skipif(SCONTROL is None, reason="scontrol is not installed here (Debian package slurm-client)")


@needs_scontrol
@given(text=st.one_of(RANGES, SOUP))
@settings(max_examples=200)
def test_slurm_reads_the_same(text: str, slurm_conf: pathlib.Path) -> None:
    try:
        names = expand(text)
    except VcError:
        return
    assert slurm(text, slurm_conf) == names
    assert slurm(fold(names), slurm_conf) == expand(fold(names))


@needs_scontrol
@pytest.mark.parametrize("text", [text for text, _names in ACCEPTED])
def test_all_three_agree_on_the_table(text: str, slurm_conf: pathlib.Path) -> None:
    assert slurm(text, slurm_conf) == expand(text)
    assert clustershell(text) == set(expand(text))
