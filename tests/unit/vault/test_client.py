# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which of a host's attempts to reach the vault are repeated, and for how long."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.command import Commands, Result
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.host_config import HostConfig
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.vault import client as client_module
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.vault.client import VaultClient

from tests.unit.refusal import refused

TURNED_AWAY = Result(255, "", "kex_exchange_identification: Connection closed by remote host\n")
ANSWERED = Result(0, '{"ok": true, "result": {"clusters": {}}}\n', "")
REFUSED = Result(1, '{"ok": false, "error": {"code": "forbidden", "item": "a", "tried": "b", "detail": "c", "remedy": "d"}}\n', "")


class Scripted(Commands):
    """SSH as it ends one time after the other; the last end stays.  Time passes in sleeps and attempts only."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *ends: Result, seconds: float = 0.2) -> None:
        super().__init__()
        self.ends = list(ends)
        self.seconds = seconds
        self.now = 0.0
        self.pauses: list[float] = []
        monkeypatch.setattr(client_module.time, "monotonic", lambda: self.now)
        monkeypatch.setattr(client_module.time, "sleep", self._sleep)

    def _sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds

    def run(self, argv: Sequence[str], stdin: str = "", timeout: float = 120.0, holding: Sequence[int] = ()) -> Result:
        self.count += 1
        self.now += self.seconds
        return self.ends.pop(0) if len(self.ends) > 1 else self.ends[0]


def client(commands: Commands) -> VaultClient:
    return VaultClient(commands, HostConfig("hv1", "tcg", "10.77.0.12", "root", None))


def test_a_vault_that_turns_connections_away_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    commands = Scripted(monkeypatch, *[TURNED_AWAY] * 3, ANSWERED)
    assert client(commands).call("status", {}) == {"clusters": {}}
    assert commands.count == 4
    assert commands.pauses == sorted(commands.pauses)


def test_it_is_not_tried_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    commands = Scripted(monkeypatch, TURNED_AWAY)
    assert "closed by remote host" in refused("unreachable", client(commands).call, "status", {}).detail
    assert 4 <= commands.count <= 5
    assert commands.now < 25


def test_a_vault_that_does_not_even_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    commands = Scripted(monkeypatch, Result(255, "", "ssh: connect to host 10.77.0.12 port 22: Connection timed out\n"), seconds=5)
    refused("unreachable", client(commands).call, "status", {})
    assert commands.now < 30


def test_hosts_do_not_come_back_together(monkeypatch: pytest.MonkeyPatch) -> None:
    begins = set()
    for _host in range(8):
        commands = Scripted(monkeypatch, TURNED_AWAY, ANSWERED)
        client(commands).call("status", {})
        begins.add(round(commands.pauses[0], 6))
    assert len(begins) > 1


@pytest.mark.parametrize(
    ("end", "code"),
    [
        (REFUSED, "forbidden"),
        (Result(127, "", "vc-vault: not found\n"), "backend"),
        (Result(255, "", "Host key verification failed.\n"), "unreachable"),
        (Result(255, "", "root@10.77.0.12: Permission denied (publickey).\n"), "unreachable"),
    ],
)
def test_what_would_be_the_same_again_is_not_repeated(monkeypatch: pytest.MonkeyPatch, end: Result, code: str) -> None:
    commands = Scripted(monkeypatch, end)
    refused(code, client(commands).call, "status", {})
    assert (commands.count, commands.pauses) == (1, [])
