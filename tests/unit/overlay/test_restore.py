# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is put back, with one network damaged by hand, and what is taken away.  On real switches it is proved in tests/lab."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Optional

import pytest
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.command import Commands
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.overlay import bridge, command, flows, ovsdb, ports, taps
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.overlay.bridge import Wanted
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.overlay.state import Network, Overlay, Port

from tests.unit.overlay.switch import HOST, network, port

OTHER = network(port(tap="t002712n1", vni=10002, mac="02:00:27:12:00:01"), wanted=Wanted("vc2", 10002, 1500, declared=True))


class Host:
    """All taps are there; flows are noted instead of installed."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch, *networks: Network) -> None:
        self.opened: list[str] = []
        self.removed: list[str] = []
        self.written: list[bridge.Section] = []
        monkeypatch.setattr(ports, "_LOCK", root / "overlay.lock")
        monkeypatch.setattr(ovsdb, "read", lambda _commands: Overlay(networks))
        monkeypatch.setattr(flows, "install", lambda one: self.opened.append(one.bridge))
        monkeypatch.setattr(taps, "exists", lambda _tap: True)
        monkeypatch.setattr(taps, "guard", lambda _commands: None)
        monkeypatch.setattr(taps, "make", lambda _commands, _ports: None)
        monkeypatch.setattr(taps, "mend", lambda _commands, _ports: None)
        monkeypatch.setattr(taps, "remove", lambda _commands, gone: self.removed.extend(gone))
        monkeypatch.setattr(ovsdb, "write", lambda _commands, sections, _tried: self.written.extend(sections))


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


@pytest.mark.parametrize(
    "name",
    [
        # The definition is of a cluster that had this VNI before vc1.
        port(cluster="vc9", holder="frontend:vc9"),
        port(cluster="vc9"),
        port(index=3, cluster="vc9", holder="frontend:vc9"),
        # A node that had this index before.
        port(holder="frontend:vc1"),
        port(holder="job:6.0"),
    ],
)
def test_a_port_that_is_another_s_by_now_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: Port) -> None:
    host = Host(tmp_path, monkeypatch, network(port(), port(2)), OTHER)
    assert ports.state_of(Commands(), HOST, name) == "missing"
    ports.detach_own(Commands(), name)
    assert (host.removed, host.written, host.opened) == ([], [], [])


@pytest.mark.parametrize("ids", [None, {}, {"vc-holder": "job:7.0"}])
def test_an_own_port_goes_damaged_or_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ids: Optional[dict[str, str]]) -> None:
    whole = network(port(), port(2))
    tap, other = whole.taps
    kept = dict(tap.ids) if ids is None else {"vc-kind": "tap", **ids}
    host = Host(tmp_path, monkeypatch, replace(whole, ports=(*whole.tunnels, replace(tap, external_ids=kept), other)), OTHER)
    assert ports.state_of(Commands(), HOST, port()) == "outdated"
    ports.detach_own(Commands(), port())
    assert (host.removed, host.written, host.opened) == ([tap.name], [["del-port", "vcb10001", tap.name]], ["vcb10001"])
