# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Playbooks on this machine, with a real vault (registry, store, tgtd) and, where one is told, a Slurm that says what a test wants."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.vault.tgtd import SOCKET

from tests.unit.vault.conftest import Daemon
from tests.unit.vault.site import Site

# The vault's places are fixed, as is where commands are looked for first: a play sees ours there, in a mount namespace of its own.
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
mount --bind "$COMMANDS" /usr/local/sbin
exec "$@"
"""


class Stage:
    """Where a playbook runs: one host in the groups named, which is this machine; `commands` are a host's that it finds before others."""

    def __init__(self, site: Site, daemon: Daemon, base: Path, *groups: str) -> None:
        if subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=False).returncode != 0:
            pytest.skip("no mount namespaces for this user")
        self.site, self.daemon, self.base, self.commands = site, daemon, base, base / "commands"
        self.commands.mkdir()
        lines = [f"[{group}]\nnas ansible_connection=local ansible_become=false\n" for group in groups]
        (base / "inventory").write_text("".join(lines), encoding="utf-8")
        self._runs = 0

    def run(self, playbook: str, *more: str) -> str:
        """The recap line of the host, and of a play that failed all that it said."""
        self._runs += 1
        argv = [str(Path(sys.executable).parent / "ansible-playbook"), "-i", str(self.base / "inventory"), "--diff"]
        argv += ["-e", f"ansible_python_interpreter={sys.executable}", *more, f"hpc.virtual_cluster.{playbook}"]
        places = {"SIDE": str(self.base / f"tgtd{self._runs}"), "DAEMON": self.daemon.socket, "VAULT": str(self.site.root)}
        places |= {"TGTD": SOCKET, "COMMANDS": str(self.commands)}
        done = subprocess.run(
            ["unshare", "--mount", "sh", "-c", STAGE, "sh", *argv],
            env={**os.environ, **places, "ANSIBLE_NOCOLOR": "1", "ANSIBLE_HOME": str(self.base / "ansible")},
            cwd=self.base,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        recap = [line for line in done.stdout.splitlines() if line.startswith("nas ") and "changed=" in line]
        assert recap, done.stdout + done.stderr
        return " ".join(recap[-1].split()) + ("" if done.returncode == 0 else done.stdout)
