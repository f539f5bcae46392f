# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A host asks through a real sshd whose authorized_keys has the forced command."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.command import Commands
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.host_config import HostConfig
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.vault import client as client_module
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.vault.client import VaultClient

from tests.conftest import COLLECTIONS
from tests.unit.refusal import refused
from tests.unit.vault.conftest import Daemon
from tests.unit.vault.site import Site, job

SSHD = "/usr/sbin/sshd"
LAUNCHER = """\
import sys
sys.path.insert(0, {collections!r})
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.vault.command import main
sys.exit(main(sys.argv[1:]))
"""


class Host:
    """hv1's side: its key, what it knows of the vault host, and a port there."""

    def __init__(self, directory: Path, port: int, argv: list[str]) -> None:
        self.directory = directory
        self.port = port
        self.vault_argv = argv
        self._server: subprocess.Popen[bytes] | None = None

    def start(self, **settings: str) -> None:
        """sshd, with these settings besides; in place of one that runs."""
        self.stop()
        more = "".join(f"{name} {value}\n" for name, value in settings.items())
        (self.directory / "sshd_config").write_text(
            f"ListenAddress 127.0.0.1:{self.port}\nHostKey {self.directory}/host_key\nAuthorizedKeysFile {self.directory}/authorized_keys\n"
            f"StrictModes no\nUsePAM no\nPermitRootLogin forced-commands-only\nPasswordAuthentication no\nPidFile none\n{more}"
        )
        self._server = subprocess.Popen([SSHD, "-D", "-f", str(self.directory / "sshd_config")], stderr=subprocess.DEVNULL)
        for _attempt in range(100):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    break
            time.sleep(0.05)

    def stop(self) -> None:
        if self._server is not None:
            self._server.terminate()
            self._server.wait()

    def client(self, known_hosts: str = "known_hosts") -> VaultClient:
        config = HostConfig("hv1", "tcg", "127.0.0.1", "root", None)
        made = VaultClient(Commands(), config, str(self.directory / "key"), str(self.directory / known_hosts))
        # The one thing that a test's sshd cannot have is port 22.
        place = made._argv.index("-l")
        made._argv[place:place] = ["-p", str(self.port)]
        return made


@pytest.fixture
def host(site: Site, daemon: Daemon, tmp_path: Path) -> Iterator[Host]:
    if not os.path.exists(SSHD) or shutil.which("ssh") is None or os.getuid() != 0:
        pytest.skip("needs root and openssh-server")
    directory = tmp_path / "ssh"
    directory.mkdir(mode=0o700)
    for name in ("key", "host_key"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(directory / name)], check=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    launcher = directory / "vc-vault"
    launcher.write_text(LAUNCHER.format(collections=str(COLLECTIONS)))
    argv = [sys.executable, str(launcher), "--root", str(site.root), "--tgt-socket", daemon.socket]
    forced = f'command="{" ".join(argv)} serve --host hv1 --allow guests --portal-port {daemon.port}",restrict'
    (directory / "authorized_keys").write_text(f"{forced} {(directory / 'key.pub').read_text()}")
    words = (directory / "host_key.pub").read_text().split()
    (directory / "known_hosts").write_text(f"[127.0.0.1]:{port} {words[0]} {words[1]}\n")
    (directory / "other_hosts").write_text(f"[127.0.0.1]:{port} {' '.join((directory / 'key.pub').read_text().split()[:2])}\n")
    Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    made = Host(directory, port, argv)
    try:
        made.start()
        yield made
    finally:
        made.stop()


def test_from_a_host_to_the_vault_and_back(host: Host, site: Site) -> None:
    answer = host.client().call("lease", {"cluster": "vc1", "nodes": ["compute0", "frontend"], "holder": job()})
    assert answer["nodes"]["compute0"]["ok"]
    assert answer["nodes"]["frontend"]["error"]["code"] == "forbidden"
    lease = site.leases.everything()["clusters"]["vc1"]["leases"]["compute0"]
    assert lease["holder"]["host"] == "hv1"
    assert answer["nodes"]["compute0"]["export"]["portal"].startswith("127.0.0.1:")
    error = refused("forbidden", host.client().call, "lease", {"cluster": "vc1", "nodes": ["compute1"], "holder": job(user="otheruser")})
    assert "otheruser is neither its owner nor a member" in str(error)
    refused("invalid", host.client().call, "break", {"cluster": "vc1", "node": "compute0", "reason": "me"})
    done = host.client().call("release", {"cluster": "vc1", "nodes": {"compute0": {"epoch": 1, "outcome": "discarded"}}})
    assert done == {"nodes": {"compute0": {"ok": True}}}


@pytest.mark.parametrize(
    ("allow", "code"), [("guests", ""), ("frontends", "forbidden"), ("gate", "invalid"), ("frontends-and-gate", "forbidden")]
)
def test_a_host_gets_the_leases_of_what_it_is_there_for(host: Host, allow: str, code: str) -> None:
    keys = host.directory / "authorized_keys"
    keys.write_text(keys.read_text().replace("--allow guests", f"--allow {allow}"))
    question = {"cluster": "vc1", "nodes": ["compute0"], "holder": job()}
    if code:
        refused(code, host.client().call, "lease", question)
    else:
        assert host.client().call("lease", question)["nodes"]["compute0"]["ok"]
    if code != "invalid":
        frontend = {"cluster": "vc1", "nodes": ["frontend"], "holder": {"kind": "frontend", "boot_id": job()["boot_id"]}}
        # Its own it would get: the definition places it elsewhere.
        assert host.client().call("lease", frontend)["nodes"]["frontend"]["error"]["code"] == "forbidden"


def test_a_line_that_does_not_say_what_the_host_is_for_opens_nothing(host: Host, site: Site) -> None:
    keys = host.directory / "authorized_keys"
    keys.write_text(keys.read_text().replace(" --allow guests", ""))
    before = site.content()
    refused("backend", host.client().call, "status", {})
    refused("backend", host.client().call, "lease", {"cluster": "vc1", "nodes": ["compute0"], "holder": job()})
    assert site.content() == before


def test_the_command_of_the_host_does_not_count(host: Host) -> None:
    client = host.client()
    client._argv[-1] = "vc-vault break vc1 compute0 --reason mine; touch /tmp/owned"
    assert client.call("status", {}) == {"clusters": {}}


def test_the_dearest_key_exchange_is_left_out_and_no_other(host: Host) -> None:
    def offered(*argv: str) -> list[str]:
        said = subprocess.run([argv[0], "-G", *argv[1:]], capture_output=True, text=True, check=True).stdout
        return next(line for line in said.splitlines() if line.startswith("kexalgorithms ")).split()[1].split(",")

    usual = offered("ssh", "-F", "none", "127.0.0.1")
    assert offered(*host.client()._argv) == [name for name in usual if not name.startswith("sntrup761")]


def test_a_vault_that_takes_no_other_says_so_at_once(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "_PAUSES", (0.1, 0.1))
    for setting, told in ({"KexAlgorithms": "sntrup761x25519-sha512@openssh.com"}, True), ({"Ciphers": "aes256-cbc"}, False):
        host.start(**setting)
        client = host.client()
        error = refused("unreachable", client.call, "status", {})
        assert "Unable to negotiate" in error.detail
        assert ("curve25519-sha256" in error.remedy) == told
        assert client._commands.count == 1


def test_a_vault_that_is_not_there(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "_PAUSES", (0.1, 0.1))
    error = refused("unreachable", host.client("other_hosts").call, "status", {})
    assert "Host key verification failed" in error.detail
    host.port = 1
    assert "refused" in refused("unreachable", host.client().call, "status", {}).detail
    (host.directory / "authorized_keys").write_text("")
    refused("unreachable", host.client().call, "status", {})


def test_for_administrators(host: Host, site: Site) -> None:
    def vault(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([*host.vault_argv, *arguments], capture_output=True, text=True, check=False, env={"PATH": "/usr/bin:/bin"})

    host.client().call("lease", {"cluster": "vc1", "nodes": ["compute0"], "holder": job()})
    before = site.content()
    status = vault("status", "--cluster", "vc1")
    assert '"epoch": 1' in status.stdout
    assert vault("status", "--cluster", "vc2").stderr.startswith("vc-vault: vc2: reading the vault refused: no such virtual cluster")
    assert vault("break", "vc1", "../x", "--reason", "why").returncode == 1
    assert vault("serve", "--host", "hv1", "--allow", "guests").stdout.startswith('{"error": {"code": "forbidden"')
    assert site.content() == before
    assert '"changed": true' in vault("break", "vc1", "compute0", "--reason", "hv1 is gone").stdout
    assert '"exports": []' in vault("restore-exports").stdout
