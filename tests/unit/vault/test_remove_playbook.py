# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Playbook remove: refused before anything is taken away that cannot be had back."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.unit.inventory.sources import job
from tests.unit.vault.conftest import Daemon
from tests.unit.vault.plays import Stage
from tests.unit.vault.site import Site, caller, definition

ALL = ("-e", "vc=small", "-e", "delete_disks_of=small", "-e", "terminate=true")


class Removal(Stage):
    """The playbook on a vault with cluster small, which has no frontend, and a Slurm with one job."""

    def __init__(self, site: Site, daemon: Daemon, base: Path) -> None:
        super().__init__(site, daemon, base, "vault", "submit_hosts")
        wanted = definition("small")
        del wanted["frontend"]
        site.define(wanted)

    def queue(self, *jobs: dict[str, Any], before: str = ":") -> None:
        """What Slurm says, and a command that runs just before it does."""
        text = f"#!/bin/sh\n{before}\ncat <<'END'\n{json.dumps({'jobs': jobs})}\nEND\n"
        (self.commands / "squeue").write_text(text, encoding="utf-8")
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


@pytest.mark.parametrize("state", ["running", "off"])
def test_changes_that_would_not_be_in_the_vault(removal: Removal, state: str) -> None:
    epoch = removal.site.lease("disk0", cluster="small")["nodes"]["disk0"]["epoch"]
    removal.site.leases.state(caller(), {"cluster": "small", "nodes": {"disk0": {"epoch": epoch, "state": state}}})
    removal.queue(job(17, "disk0", vc="small"))
    assert "small has nodes with changes that are only on a hypervisor: disk0. Remedy: end" in removal.refused(*ALL)


def test_a_node_that_started_after_the_first_look(removal: Removal) -> None:
    # Slurm is asked after the vault.
    begin = "site.lease('disk0', cluster='small')['nodes']['disk0']['epoch']"
    end = "site.leases.release(caller(), {'cluster': 'small', 'nodes': {'disk0': {'epoch': epoch, 'outcome': 'kept'}}})"
    program = (
        f"from tests.unit.vault.site import Site, caller; site = Site(Path({str(removal.site.root.parent)!r})); epoch = {begin}; {end}"
    )
    path = ":".join(sys.path)
    removal.queue(before=f"PYTHONPATH={path} {sys.executable} -c {shlex.quote(f'from pathlib import Path; {program}')} >&2")
    said = removal.run("remove", *ALL)
    assert "small has nodes that its ended computesets have not given back: disk0 (flushing on hv1). Remedy:" in said
    assert list(removal.site.store.disks()["small"]) == ["disk0"]


def test_nothing_is_in_the_way(removal: Removal) -> None:
    removal.queue()
    assert "failed=0" in removal.run("remove", *ALL)
    assert "small" not in removal.site.registry.read().clusters
