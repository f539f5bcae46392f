# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Playbook remove: refused before anything is taken away that cannot be had back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.unit.inventory.sources import job
from tests.unit.vault.conftest import Daemon
from tests.unit.vault.plays import Stage
from tests.unit.vault.site import Site, definition

ALL = ("-e", "vc=small", "-e", "delete_disks_of=small", "-e", "terminate=true")


class Removal(Stage):
    """The playbook on a vault with cluster small, which has no frontend, and a Slurm with one job."""

    def __init__(self, site: Site, daemon: Daemon, base: Path) -> None:
        super().__init__(site, daemon, base, "vault", "submit_hosts")
        wanted = definition("small")
        del wanted["frontend"]
        site.define(wanted)

    def queue(self, *jobs: dict[str, Any]) -> None:
        (self.commands / "squeue").write_text(f"#!/bin/sh\ncat <<'END'\n{json.dumps({'jobs': jobs})}\nEND\n", encoding="utf-8")
        (self.commands / "squeue").chmod(0o755)

    def refused(self, *options: str) -> str:
        """What was said by a call that has changed nothing."""
        before = self.site.content()
        said = self.run("remove", *options)
        assert "changed=0" in said
        assert "failed=1" in said
        assert self.site.content() == before
        return " ".join(said.split())


@pytest.fixture
def removal(site: Site, daemon: Daemon, tmp_path: Path) -> Removal:
    return Removal(site, daemon, tmp_path)


@pytest.mark.parametrize(
    ("jobs", "why"),
    [
        ([job(17, vc="small", account="chemistry")], "it is rejected: account chemistry is not authorized for small"),
        ([], "Slurm has no live job 17 that says it is a computeset"),
    ],
)
def test_a_node_of_a_job_that_does_not_count(removal: Removal, jobs: list[dict[str, Any]], why: str) -> None:
    removal.site.lease("compute0", "compute1", cluster="small")
    removal.queue(*jobs)
    assert f"job 17 ({why}) has compute0, compute1. Remedy: scancel" in removal.refused(*ALL)


def test_nothing_is_in_the_way(removal: Removal) -> None:
    removal.queue()
    assert "failed=0" in removal.run("remove", *ALL)
    assert "small" not in removal.site.registry.read().clusters
