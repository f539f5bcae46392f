# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What `make demo` says, asks and leaves its user with; the lab of all these proofs was brought up by it."""

from __future__ import annotations

import re
import shlex

import pytest

from tests.lab.conftest import DEMO_SAID
from tests.lab.host import ROOT, finished

TRY_NEXT = (
    "ssh -F .cache/lab/ssh_config -t vc1 ssh compute0",
    "molecule/lab/lab play status",
    "molecule/lab/lab ansible vc1 -m ping",
    "molecule/lab/lab play terminate -e vc=vc1 -e set=sim",
)


@pytest.fixture(scope="module")
def said(demo: None) -> str:
    return DEMO_SAID.read_text(encoding="utf-8")


def test_it_says_first_what_it_does_to_the_machine(said: str) -> None:
    announced, _first, _rest = said.partition("[1/8]")
    for word in ("apt packages", "10.77.0.254/24", "10.79.0.254/24", "MiB of disk", "/run/vc-lab", "make demo-down"):
        assert word in announced


def test_it_asks_before_it_changes_anything(demo: None) -> None:
    done = finished(["make", "demo"], env={"YES": ""})
    assert done.returncode != 0
    assert "YES=1" in done.stderr
    assert "[1/8]" not in done.stdout


def test_it_shows_progress_and_ends_with_the_nodes(said: str) -> None:
    assert re.findall(r"(?m)^\[(\d)/8\] ", said) == list("12345678")
    assert len(re.findall(r"(?m)^      done in \d+ s$", said)) == 8
    table = [line.split() for line in said.partition("CLUSTER ")[2].splitlines()[1:4]]
    assert [row[:4] for row in table] == [
        ["vc1", "frontend", "frontend", "running"],
        *(["vc1", f"compute{n}", "compute", "running"] for n in (0, 1)),
    ]
    assert [row[5] for row in table] == ["fe1", "hv1", "hv2"]


def test_the_commands_that_it_names_work(said: str) -> None:
    assert all(f"  {command}  " in said for command in TRY_NEXT)
    inside, status, ping, _terminate = (shlex.split(command) for command in TRY_NEXT)
    # Here nobody has a terminal.
    inside.remove("-t")
    done = finished(["env", "-C", str(ROOT), *inside, "hostname"])
    assert done.stdout.strip().partition(".")[0] == "compute0", done.stderr
    shown = finished(["env", "-C", str(ROOT), *status])
    assert shown.returncode == 0, shown.stdout
    assert re.search(r"vc1 +compute1 +compute +running +sim +hv2", shown.stdout)
    pinged = finished(["env", "-C", str(ROOT), *ping])
    assert pinged.returncode == 0, pinged.stdout + pinged.stderr
    assert sorted(re.findall(r"(?m)^(\S+) \| SUCCESS", pinged.stdout)) == ["compute0.vc1", "compute1.vc1", "frontend.vc1"]
