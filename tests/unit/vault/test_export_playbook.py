# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Playbook export: from a real vault (registry, store, tgtd) to files on the controller."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.vault.tgtd import SOCKET

from tests.unit.export.registry import read_stanzas
from tests.unit.vault.conftest import Daemon
from tests.unit.vault.site import Site, definition
from tests.unit.vault.test_ephemeral import ask

# The vault's places are fixed: this play sees our vault and our tgtd there, in a mount namespace of its own.
STAGE = """
set -eu
mount --make-rprivate /
mkdir "$SIDE"
mount --bind /run/tgtd "$SIDE"
mount -t tmpfs tmpfs /run/tgtd
ln -s "$SIDE/${DAEMON##*/}" "$TGTD"
mount -t tmpfs tmpfs /var/lib
mkdir /var/lib/vc-vault
mount --bind "$VAULT" /var/lib/vc-vault
exec "$@"
"""


class Play:
    """The playbook on a vault of two clusters and a job's throw-away machines; directory `dest` gets the files."""

    def __init__(self, site: Site, daemon: Daemon, base: Path) -> None:
        self.site, self.daemon, self.base = site, daemon, base
        self.dest = base / "managers"
        (base / "inventory").write_text("[vault]\nnas ansible_connection=local ansible_become=false\n", encoding="utf-8")
        self._runs = 0

    def run(self, *more: str) -> str:
        """The play's recap line of the vault host; everything it said is the failure's text."""
        self._runs += 1
        argv = [str(Path(sys.executable).parent / "ansible-playbook"), "-i", str(self.base / "inventory"), "--diff"]
        argv += ["-e", f"ansible_python_interpreter={sys.executable}", *more, "hpc.virtual_cluster.export"]
        places = {"SIDE": str(self.base / f"tgtd{self._runs}"), "DAEMON": self.daemon.socket, "VAULT": str(self.site.root)}
        done = subprocess.run(
            ["unshare", "--mount", "sh", "-c", STAGE, "sh", *argv],
            env={**os.environ, **places, "TGTD": SOCKET, "ANSIBLE_NOCOLOR": "1", "ANSIBLE_HOME": str(self.base / "ansible")},
            cwd=self.base,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        recap = [line for line in done.stdout.splitlines() if line.startswith("nas ") and "changed=" in line]
        assert recap, done.stdout + done.stderr
        return " ".join(recap[-1].split()) + ("" if done.returncode == 0 else done.stdout)

    def files(self) -> dict[str, int]:
        return {str(path.relative_to(self.dest)): path.stat().st_mtime_ns for path in sorted(self.dest.rglob("*")) if path.is_file()}


@pytest.fixture
def play(site: Site, daemon: Daemon, tmp_path: Path) -> Play:
    if subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("no mount namespaces for this user")
    site.define(definition("vc2"))
    # Throw-away machines, which come and go with their job.
    site.registry.put_access("debian12", ["user:labuser"])
    ask(site, "vm0")
    return Play(site, daemon, tmp_path)


def test_check_then_run_then_nothing(play: Play) -> None:
    before = play.site.content()
    dest = ("-e", f"dest={play.dest}")
    predicted = play.run("--check", *dest)
    assert "failed=0" in predicted, predicted
    assert not play.dest.exists()
    done = play.run(*dest)
    assert "changed=3" in done, done
    assert predicted == done
    files = play.files()
    tenants = [f"tenant/{vc}/nodes.{kind}" for vc in ("vc1", "vc2") for kind in ("conf", "stanza")]
    assert list(files) == ["owner/nodes.import", "owner/nodes.stanza", *tenants]
    for mode in ("--check", "-v"):
        assert "changed=0" in play.run(mode, *dest)
    assert play.files() == files
    assert play.site.content() == before

    nodes = yaml.safe_load((play.dest / "owner/nodes.import").read_text())
    assert list(nodes) == list(read_stanzas((play.dest / "owner/nodes.stanza").read_text()))
    assert set(nodes) == {f"{vc}-{node}" for vc in ("vc1", "vc2") for node in ("frontend", "compute0", "compute1", "disk0", "disk1")}
    assert list(read_stanzas((play.dest / "tenant/vc2/nodes.stanza").read_text())) == ["compute0", "compute1", "disk0", "disk1"]


def test_one_cluster_leaves_the_site_s_files_alone(play: Play) -> None:
    profiles = '{"nodeprofiles": {"default": {"image name": "debian12"}}}'
    done = play.run("-e", f"dest=./{play.dest.name}", "-e", "vc=vc2", "-e", profiles)
    assert "changed=3" in done, done
    assert list(play.files()) == ["tenant/vc2/nodes.conf", "tenant/vc2/nodes.stanza"]
    told = yaml.safe_load((play.dest / "tenant/vc2/nodes.conf").read_text())
    assert told["nodeprofiles"] == {"default": {"image name": "debian12"}}


def test_throw_away_machines_are_written_where_they_are_named(play: Play) -> None:
    done = play.run("-e", f"dest={play.dest}", "-e", "vc=job17")
    assert "changed=3" in done, done
    assert list(play.files()) == ["tenant/job17/nodes.conf", "tenant/job17/nodes.stanza"]


def test_a_call_without_a_directory_is_refused(play: Play) -> None:
    said = play.run()
    assert "failed=1" in said
    assert "-e dest=DIRECTORY" in said
