# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is put back, with one network damaged by hand.  On real switches it is proved in tests/lab."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.command import Commands
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.overlay import command, flows, ovsdb, ports, taps
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.overlay.bridge import Wanted
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.overlay.state import Network, Overlay

from tests.unit.overlay.switch import network, port

OTHER = network(port(tap="t002712n1", vni=10002, mac="02:00:27:12:00:01"), wanted=Wanted("vc2", 10002, 1500, declared=True))


class Host:
    """All taps are there; flows are noted instead of installed."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch, *networks: Network) -> None:
        self.opened: list[str] = []
        monkeypatch.setattr(ports, "_LOCK", root / "overlay.lock")
        monkeypatch.setattr(ovsdb, "read", lambda _commands: Overlay(networks))
        monkeypatch.setattr(flows, "install", lambda _commands, one: self.opened.append(one.bridge))
        monkeypatch.setattr(taps, "exists", lambda _tap: True)
        monkeypatch.setattr(taps, "guard", lambda _commands: None)
        monkeypatch.setattr(taps, "make", lambda _commands, _ports: None)


def test_all_bridges_are_put_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    host = Host(tmp_path, monkeypatch, network(port()), OTHER)
    assert ports.restore(Commands()) == host.opened == ["vcb10001", "vcb10002"]


def test_a_damaged_port_keeps_its_own_bridge_closed_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = network(port())
    (tap,) = whole.taps
    spoilt = replace(whole, ports=(*whole.tunnels, replace(tap, external_ids={**tap.ids, "vc-uid": ""})))
    host = Host(tmp_path, monkeypatch, spoilt, OTHER)
    assert command.main(["restore"]) == 1
    assert host.opened == ["vcb10002"]
    said = capsys.readouterr().err
    assert "vcb10001" in said
    assert tap.name in said
