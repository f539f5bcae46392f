# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What README and docs/ show is what the code takes, needs and says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.model import definition, noderange, units
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.model.errors import CODES
from vclab import demo

from tests.unit import proofs

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
PREFLIGHT = (ROOT / "molecule/lab/vclab/preflight.py").read_text(encoding="utf-8")
# What a template in a definition stands for; of no use to anybody, its key is all zeros.
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI" + "A" * 43


def examples() -> list[tuple[str, dict[str, Any]]]:
    """Every YAML block that has virtual clusters in it, templates filled in."""
    found = []
    for page in PAGES:
        for block in re.findall(r"(?ms)^```yaml\n(.*?)^```", page.read_text(encoding="utf-8")):
            data = yaml.safe_load(re.sub(r'"\{\{.*?\}\}"', f'"{KEY}"', block))
            if "vc_clusters" in data:
                found.append((page.name, data))
    return found


@pytest.mark.parametrize(("page", "data"), examples())
def test_definitions_are_accepted(page: str, data: dict[str, Any]) -> None:
    clusters = {item["name"]: definition.parse(item) for item in data["vc_clusters"]}
    for wish in data["vc_computesets"]:
        computes = {node.name for node in clusters[wish["cluster"]].nodes if node.role == "compute"}
        assert set(noderange.expand(wish["nodes"])) <= computes
        units.parse_duration(wish["walltime"])


def test_the_first_page_has_a_definition_of_ten_lines() -> None:
    assert "README.md" in [page for page, _data in examples()]
    block = re.findall(r"(?ms)^```yaml\n(.*?)^```", (ROOT / "README.md").read_text(encoding="utf-8"))[0]
    assert len(block.splitlines()) <= 10


def test_every_error_code_is_explained() -> None:
    text = (ROOT / "docs/troubleshooting.md").read_text(encoding="utf-8")
    assert set(re.findall(r"(?m)^### `(\w+)`", text)) == CODES


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", page.read_text(encoding="utf-8")):
        if "://" in target:
            continue
        path, _hash, anchor = target.partition("#")
        there = page.parent / path if path else page
        assert there.exists(), target
        headings = re.findall(r"(?m)^#+ (.*)", there.read_text(encoding="utf-8"))
        assert not anchor or anchor in {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}, target


def test_the_tests_that_hold_a_claim_exist() -> None:
    for page in PAGES:
        for name in re.findall(r"`((?:tests|molecule)/[\w/]+\.py)", page.read_text(encoding="utf-8")):
            assert (ROOT / name).is_file(), f"{page.name}: {name}"


@pytest.mark.parametrize("claim", proofs.claims(), ids=lambda claim: re.sub(r"\W+", "-", claim.text)[:40])
def test_every_line_of_the_status_table_is_held_by_a_test(claim: proofs.Claim) -> None:
    targets = re.findall(r"`make ([\w-]+)`", claim.state)
    assert claim.state.startswith(("works", "lab only", "not yet"))
    assert bool(claim.tests) is not claim.state.startswith("not yet")
    for test in claim.tests:
        assert proofs.proves(test)
        assert any(runs(target, test) for target in [*targets, "test"]), f"nobody runs {test}"
    for target in targets:
        assert any(runs(target, test) for test in claim.tests), f"no test of make {target}"
    if claim.state.startswith("works") and not targets:
        assert any(runs("test", test) for test in claim.tests)


def runs(target: str, test: str) -> bool:
    """Whether a target of the Makefile runs this test."""
    if test.startswith("molecule/"):
        # All scenarios, each with the tests in its directories.
        return target == "molecule"
    file = test.partition("::")[0]
    recipe = re.findall(rf"(?m)^{target}:.*\n((?:\t.*\n)+)", (ROOT / "tests/tests.mk").read_text(encoding="utf-8"))
    words = " ".join(recipe).split()
    left_out = [word.removeprefix("--ignore=") for word in words if word.startswith("--ignore=")]

    def named(places: list[str]) -> bool:
        # Of a directory, pytest takes what is named as a test.
        return any(
            file == place or test == place or (test.startswith(f"{place}/") and re.search(r"/test_\w+\.py$", file)) for place in places
        )

    return named([word for word in words if word.startswith("tests/")]) and not named(left_out)


def test_a_slow_proof_is_run_by_its_own_target_only() -> None:
    slow = "tests/lab/slow/test_power.py::test_off_and_on_within_the_job"
    assert runs("test-slow", slow)
    assert not runs("test", slow)
    assert runs("test", "tests/lab/test_guests.py::test_guests_are_what_the_definition_says")
    newest = "tests/static/sanity_newest.py::test_ansible_test_sanity_newest"
    assert runs("sanity-newest", newest)
    assert not runs("test", newest)


def test_the_status_table_is_read_whole() -> None:
    assert len(proofs.claims()) >= 25
    assert not proofs.orphans(), "docs/proofs.md has lines that README has not: move their tests to the new wording, or delete them"


def test_the_page_of_proofs_is_that_of_the_status_table() -> None:
    assert proofs.PAGE.read_text(encoding="utf-8") == proofs.page(), "run: make proofs"


def test_the_first_page_shows_what_the_demo_says_to_try_next() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert demo.hints().replace(str(ROOT), "the clone") in text


def test_the_first_page_says_what_the_demo_needs() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    packages = re.findall(r'"([^"]+)"', re.findall(r"(?ms)^PACKAGES = \[(.*?)\]", PREFLIGHT)[0])
    assert " ".join(packages) in text
    for number in re.findall(r"(?m)^DISK_COLD_MIB, DISK_WARM_MIB, MEMORY_MIB = (\d+), (\d+), (\d+)", PREFLIGHT)[0]:
        assert number in text
