# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Molecule's scenarios are well formed; `make molecule` runs them."""

from __future__ import annotations

import pathlib
import re

import yaml

from tests.static.checker import ROOT, check

MOLECULE = ROOT / "molecule"
SCENARIOS = ("comet", "pcocc", "site")


def test_molecule_takes_their_configuration_and_ansible_their_playbooks(tmp_path: pathlib.Path) -> None:
    assert sorted(path.parent.name for path in MOLECULE.glob("*/molecule.yml")) == sorted(["default", *SCENARIOS])
    said = check("molecule", "syntax", *(word for name in SCENARIOS for word in ("-s", name)), HOME=str(tmp_path))
    for name in SCENARIOS:
        assert re.search(rf"(?m)^{name} +: actions=1 +successful=1 ", said), said


def test_every_playbook_and_test_that_a_sequence_names_is_there() -> None:
    base = yaml.safe_load((ROOT / ".config/molecule/config.yml").read_text(encoding="utf-8"))
    for place in sorted(MOLECULE.glob("*/molecule.yml")):
        scenario = yaml.safe_load(place.read_text(encoding="utf-8"))
        playbooks = scenario["ansible"]["playbooks"]
        assert all((place.parent / path).is_file() for path in playbooks.values())
        for step in scenario.get("scenario", base["scenario"])["test_sequence"]:
            action, _, named = step.partition(" ")  # pylint: disable=disallowed-name
            if action == "verify":
                assert list((place.parent / (named or "tests")).glob("test_*.py")), step
            elif action in ("side_effect", "converge", "cleanup"):
                # A playbook that is missing is no error for Molecule.
                assert action in playbooks, f"{place}: {step}"


def test_their_tests_can_be_read() -> None:
    places = [str(path) for name in SCENARIOS for path in sorted((MOLECULE / name).glob("*/")) if list(path.glob("test_*.py"))]
    # Options of this run are not for that one.
    check("pytest", "--collect-only", "-q", *places, PYTEST_ADDOPTS="")
