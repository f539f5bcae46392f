# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is put back, with one network damaged by hand, and what is taken away.  On real switches it is proved in tests/lab."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Optional

import pytest
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.command import Commands
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.model.errors import VcError
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.overlay import bridge, command, flows, ovsdb, ports, taps
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.overlay.bridge import Wanted
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.overlay.state import Damaged, Network, Overlay, Port, PortRow

from tests.unit.overlay.switch import HOST, carried_out, network, port

OTHER = network(port(tap="t002712n1", vni=10002, mac="02:00:27:12:00:01"), wanted=Wanted("vc2", 10002, 1500, declared=True))


class Host:
    """All taps are there but those that a test takes away; flows are noted instead of installed.

    Parameters
    ----------
    stuck : ports that the switch cannot open
    late : ports that it opens only after it was asked for them this often
    damaged : bridges that nobody can make out
    """

    def __init__(
        self,
        root: Path,
        monkeypatch: pytest.MonkeyPatch,
        *networks: Network,
        stuck: Collection[str] = (),
        late: Optional[dict[str, int]] = None,
        damaged: tuple[Damaged, ...] = (),
    ) -> None:
        self.opened: list[str] = []
        self.removed: list[str] = []
        self.written: list[bridge.Section] = []
        self.gone: set[str] = set()
        self.ofports: dict[str, int] = {}
        self._overlay, self._stuck, self._late = Overlay(networks, damaged=damaged), stuck, dict(late or {})
        monkeypatch.setattr(ports, "_LOCK", root / "overlay.lock")
        monkeypatch.setattr(ports, "_OPEN_SECONDS", 0.5)
        monkeypatch.setattr(ovsdb, "read", lambda _commands: self._read())
        monkeypatch.setattr(ovsdb, "write", lambda _commands, sections, _tried: self._write(sections))
        monkeypatch.setattr(flows, "install", lambda one, *_seconds: self._install(one))
        monkeypatch.setattr(taps, "exists", lambda tap: tap not in self.gone)
        monkeypatch.setattr(taps, "guard", lambda _commands: None)
        monkeypatch.setattr(taps, "make", lambda _commands, made: self.gone.difference_update(one.tap for one in made))
        monkeypatch.setattr(taps, "mend", lambda _commands, _ports: None)
        monkeypatch.setattr(taps, "remove", lambda _commands, gone: self.removed.extend(gone))

    def _read(self) -> Overlay:
        def seen(row: PortRow) -> PortRow:
            if self._late.get(row.name, 0) > 0:
                self._late[row.name] -= 1
                return replace(row, ofport=0)
            return replace(row, ofport=-1) if row.name in self._stuck or row.name in self.gone else row

        there = [replace(one, ports=tuple(map(seen, one.ports))) for one in self._overlay.networks]
        return replace(self._overlay, networks=tuple(there))

    def _write(self, sections: Sequence[bridge.Section]) -> None:
        self.written.extend(sections)
        self._overlay = carried_out(self._overlay, sections)

    def _install(self, one: Network) -> None:
        if one.bridge in self._stuck:
            raise VcError("backend", one.bridge, "installing its flows", "no such bridge", "look at it")
        self.opened.append(one.bridge)
        self.ofports.update({row.name: row.ofport for row in one.ports})


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


def test_a_damaged_bridge_stays_closed_and_no_other_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    damaged = Damaged("vcb10001", "", frozenset({"vcb10001", "t002711n1"}))
    host = Host(tmp_path, monkeypatch, OTHER, damaged=(damaged,))
    assert command.main(["restore"]) == 1
    assert host.opened == ["vcb10002"]
    assert "the external_ids of vcb10001 are damaged" in capsys.readouterr().err
    # Its node's tap goes all the same, and whoever took it away is told what is left.
    with pytest.raises(VcError, match="vcb10001"):
        ports.detach(Commands(), ["t002711n1"])
    assert host.removed == ["t002711n1"]


def test_a_bridge_that_cannot_be_opened_keeps_no_other_one_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    host = Host(tmp_path, monkeypatch, network(port()), OTHER, stuck=["vcb10001"])
    assert command.main(["restore"]) == 1
    assert host.opened == ["vcb10002"]
    assert "vcb10001" in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["tunnels", "taps"])
def test_a_port_that_cannot_be_opened_is_named_when_all_others_are_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    whole = network(port())
    name = getattr(whole, kind)[0].name
    host = Host(tmp_path, monkeypatch, whole, OTHER, stuck=[name])
    assert command.main(["restore"]) == 1
    assert host.opened == ["vcb10001", "vcb10002"]
    assert name in capsys.readouterr().err
    assert ["del-port", "vcb10001", name] in host.written
    assert [row.name for row in whole.ports if host.ofports[row.name] <= 0] == [name]


def test_flows_wait_for_the_tap_of_a_frontend_that_was_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    frontend = port(holder="frontend:vc1")
    host = Host(tmp_path, monkeypatch, network(frontend), late={frontend.tap: 3})
    host.gone.add(frontend.tap)
    assert ports.restore(Commands()) == ["vcb10001"]
    assert host.ofports[frontend.tap] > 0
    assert [section[:3] for section in host.written if section[0] == "add-port"] == [["add-port", "vcb10001", frontend.tap]]


def test_what_is_opened_again_is_as_it_was() -> None:
    whole = network(port())
    for row in whole.ports:
        assert carried_out(Overlay((whole,)), bridge.reopened(whole.bridge, row)).networks == (whole,)


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
