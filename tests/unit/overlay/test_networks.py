# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Module ovs_vxlan on hosts with very many networks, and with a spoilt one; its commands are run, Open vSwitch is not there."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.hpc.virtual_cluster.plugins.module_utils import module_runner
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.command import PATH, Commands
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.model.host import OverlayHost
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.overlay import flows, ovsdb, taps
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.overlay.bridge import Underlay, Wanted
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.overlay.state import Overlay
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.planner.plan import Action

from tests.unit.overlay.switch import HOST, carried_out, network, port

VSCTL = """#!/bin/sh
case "$*" in *vcb{refused}*) echo "ovs-vsctl: no" >&2; exit 1;; esac
echo $(printf '%s\\n' "$@" | grep -c '^add-br$') >> {log}
"""


def item(number: int) -> dict[str, Any]:
    return {"name": f"vc{number}", "vni": 10000 + number, "mtu": 1500, "state": "present"}


def site(hosts: int) -> OverlayHost:
    return OverlayHost("10.88.0.1", "netdev", 1600, tuple(f"10.88.{number // 200}.{number % 200 + 1}" for number in range(hosts)))


class Host:
    """Where the commands end; read back is what they were to make, on a host that had networks before."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch, overlay: Overlay, refused: int = 0) -> None:
        self._log, self._overlay, self.done = root / "log", overlay, list[Action]()
        program = root / "ovs-vsctl"
        program.write_text(VSCTL.format(log=self._log, refused=refused or "-"))
        program.chmod(0o755)
        self.commands = Commands({"PATH": f"{root}:{PATH}"})
        monkeypatch.setattr(ovsdb, "read", lambda _commands: self._overlay)
        monkeypatch.setattr(flows, "install", lambda one, _patience: flows.flows(one))
        monkeypatch.setattr(flows, "installed", lambda one, _patience: bool(flows.flows(one)))
        monkeypatch.setattr(taps, "underlay", lambda _commands, _address: Underlay("br-phy", 1600))

    def networks(self, items: Sequence[dict[str, Any]], host: OverlayHost = HOST) -> Any:
        module = importlib.import_module("ansible_collections.hpc.virtual_cluster.plugins.modules.ovs_vxlan")
        return module.Networks(self.commands, items, host)

    def apply(self, networks: Any) -> dict[str, str]:
        """The code of each network that failed."""
        actions = networks.plan().actions
        if self._overlay.networks:
            self._overlay = carried_out(self._overlay, [section for action in actions for section in action.details["vsctl"]])
        return {name: error.code for name, error in networks.apply(actions, self.done.append).items()}

    @property
    def transactions(self) -> list[int]:
        """How many bridges each one has made."""
        return [int(line) for line in self._log.read_text().split()]


def test_a_host_that_joins_a_large_site_gets_all_networks_in_few_transactions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    host = Host(tmp_path, monkeypatch, Overlay())
    assert host.apply(host.networks([item(number) for number in range(1, 51)], site(100))) == {}
    assert sum(host.transactions) == len(host.done) == 50
    assert 2 <= len(host.transactions) <= 4


def test_a_transaction_that_fails_is_told_of_its_networks_and_those_after_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    host = Host(tmp_path, monkeypatch, Overlay(), refused=10050)
    failed = host.apply(host.networks([item(number) for number in range(1, 51)], site(100)))
    done = [action.item for action in host.done]
    assert len(done) == sum(host.transactions) >= 1
    assert set(failed) == {f"vc{number}" for number in range(1, 51)} - set(done)
    assert set(failed.values()) == {"backend"}


def test_few_networks_are_one_transaction(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    host = Host(tmp_path, monkeypatch, Overlay())
    assert host.apply(host.networks([item(number) for number in range(1, 21)], site(20))) == {}
    assert host.transactions == [20]


@pytest.mark.parametrize("harm", [{"vc-uid": ""}, {"vc-mtu": "many"}, {"vc-mac": "x"}])
def test_a_spoilt_port_is_told_of_its_own_network_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, harm: dict[str, str]) -> None:
    whole = network(port())
    (tap,) = whole.taps
    spoilt = replace(whole, ports=(*whole.tunnels, replace(tap, external_ids={**tap.ids, **harm})))
    other = network(wanted=Wanted("vc2", 10002, 1500, declared=True))
    host = Host(tmp_path, monkeypatch, Overlay((spoilt, replace(other, ports=other.ports[:1]))))
    networks = host.networks([item(1), item(2)])
    with pytest.raises(module_runner.Incomplete) as predicted:
        networks.answer(networks.plan(), True)
    assert [error.item for error in predicted.value.errors] == ["vc1"]
    again = host.networks([item(1), item(2)])
    assert host.apply(again) == {"vc1": "invalid"}
    assert [action.item for action in host.done] == ["vc2"]
