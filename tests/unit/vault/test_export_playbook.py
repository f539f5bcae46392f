# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Playbook export: from a real vault (registry, store, tgtd) to files on the controller."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from tests.unit.export.registry import read_stanzas
from tests.unit.vault.conftest import Daemon
from tests.unit.vault.plays import Stage
from tests.unit.vault.site import Site, definition
from tests.unit.vault.test_ephemeral import ask


class Play(Stage):
    """The playbook on a vault of two clusters and a job's throw-away machines; directory `dest` gets the files."""

    def __init__(self, site: Site, daemon: Daemon, base: Path) -> None:
        super().__init__(site, daemon, base, "vault")
        self.dest = base / "managers"

    def export(self, *more: str) -> str:
        return self.run("export", *more)

    def files(self) -> dict[str, int]:
        return {str(path.relative_to(self.dest)): path.stat().st_mtime_ns for path in sorted(self.dest.rglob("*")) if path.is_file()}


@pytest.fixture
def play(site: Site, daemon: Daemon, tmp_path: Path) -> Play:
    site.define(definition("vc2"))
    # Throw-away machines, which come and go with their job.
    site.registry.put_access("debian12", ["user:labuser"])
    ask(site, "vm0")
    return Play(site, daemon, tmp_path)


def test_check_then_run_then_nothing(play: Play) -> None:
    before = play.site.content()
    dest = ("-e", f"dest={play.dest}")
    predicted = play.export("--check", *dest)
    assert "failed=0" in predicted, predicted
    assert not play.dest.exists()
    done = play.export(*dest)
    assert "changed=3" in done, done
    assert predicted == done
    files = play.files()
    tenants = [f"tenant/{vc}/nodes.{kind}" for vc in ("vc1", "vc2") for kind in ("conf", "stanza")]
    assert list(files) == ["owner/nodes.import", "owner/nodes.stanza", *tenants]
    assert "changed=0" in play.export(*dest)
    assert play.files() == files
    assert play.site.content() == before

    nodes = yaml.safe_load((play.dest / "owner/nodes.import").read_text())
    assert list(nodes) == list(read_stanzas((play.dest / "owner/nodes.stanza").read_text()))
    assert set(nodes) == {f"{vc}-{node}" for vc in ("vc1", "vc2") for node in ("frontend", "compute0", "compute1", "disk0", "disk1")}
    assert list(read_stanzas((play.dest / "tenant/vc2/nodes.stanza").read_text())) == ["compute0", "compute1", "disk0", "disk1"]


def test_one_cluster_leaves_the_site_s_files_alone(play: Play) -> None:
    profiles = '{"nodeprofiles": {"default": {"image name": "debian12"}}}'
    done = play.export("-e", f"dest=./{play.dest.name}", "-e", "vc=vc2", "-e", profiles)
    assert "changed=3" in done, done
    assert list(play.files()) == ["tenant/vc2/nodes.conf", "tenant/vc2/nodes.stanza"]
    told = yaml.safe_load((play.dest / "tenant/vc2/nodes.conf").read_text())
    assert told["nodeprofiles"] == {"default": {"image name": "debian12"}}


def test_throw_away_machines_are_written_where_they_are_named(play: Play) -> None:
    done = play.export("-e", f"dest={play.dest}", "-e", "vc=job17")
    assert "changed=3" in done, done
    assert list(play.files()) == ["tenant/job17/nodes.conf", "tenant/job17/nodes.stanza"]
    assert "changed=0" in play.export("--check", "-e", f"dest={play.dest}", "-e", "vc=job17")


def test_a_call_without_a_directory_is_refused(play: Play) -> None:
    said = play.export()
    assert "failed=1" in said
    assert "-e dest=DIRECTORY" in said
