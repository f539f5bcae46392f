# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""An ovs-vswitchd that takes connections and never answers is waited for once, however many bridges there are."""

from __future__ import annotations

import contextlib
import functools
import importlib
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.command import Commands
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.model.errors import VcError
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.overlay import flows, openflow, ports, taps
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.overlay.bridge import Underlay, Wanted
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.overlay.flows import Patience, install
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.overlay.state import Network

from tests.unit.overlay.switch import HOST, network, port
from tests.unit.overlay.test_restore import Host
from tests.unit.refusal import refused

SECONDS, FREE = 0.4, 0.1
# All bridges together, with room for a machine that is busy; each for itself they would take longer.
WHOLE = 1.2
NAMES = [f"vcb{10001 + number}" for number in range(6)]


def bridges() -> list[Network]:
    made = []
    for number in range(len(NAMES)):
        vni, mac = 10001 + number, f"02:00:27:{0x11 + number:02x}:00:01"
        wanted = Wanted(f"vc{number + 1}", vni, 1500, declared=True)
        made.append(network(port(tap=f"t{vni:06x}n1", vni=vni, mac=mac, cluster=wanted.cluster), wanted=wanted))
    return made


@pytest.fixture
def silent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Make sockets of bridges that take every connection and say nothing."""
    with contextlib.ExitStack() as stack:
        monkeypatch.setattr(openflow, "_DIRECTORY", str(tmp_path))

        def hang(*names: str) -> None:
            for name in names:
                server = stack.enter_context(socket.socket(socket.AF_UNIX))
                server.bind(f"{tmp_path}/{name}.mgmt")
                server.listen(8)

        yield hang


def test_restore_waits_once_and_names_what_it_has_not_tried(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, silent: Callable[..., None]
) -> None:
    silent(*NAMES)
    Host(tmp_path, monkeypatch, *bridges())
    monkeypatch.setattr(flows, "install", install)
    began = time.monotonic()
    error = refused("backend", ports.restore, Commands(), Patience(SECONDS, free=FREE))
    assert time.monotonic() - began < WHOLE
    assert error.item == ", ".join(NAMES)
    assert error.detail == (
        f"{NAMES[0]}: ovs-vswitchd has not answered in time; "
        f"{', '.join(NAMES[1:])}: not tried: ovs-vswitchd has kept the bridges before it waiting for {SECONDS:g} s"
    )


def test_a_bridge_that_is_not_there_leaves_the_others_their_time(silent: Callable[..., None]) -> None:
    """Only a switch that is starting is waited for, and no longer than it may take."""
    silent(NAMES[2])
    patience = Patience(SECONDS, start=0.15, free=FREE)
    first, second, hung, last, *_more = bridges()
    for one, said in ((first, "No such file"), (second, "No such file"), (hung, "has not answered"), (last, "not tried")):
        assert said in refused("backend", install, one, patience).detail


def test_very_many_bridges_are_no_hung_switch() -> None:
    patience = Patience(0.05, free=0.1)
    for one in bridges():
        patience.check(one)
        with patience.counted():
            time.sleep(0.03)
    patience.check(bridges()[0])


def test_one_that_answers_with_what_nobody_asked_for_is_not_heard_for_ever(silent: Callable[..., None], tmp_path: Path) -> None:
    """Each message is in time; the answer never comes."""
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(f"{tmp_path}/{NAMES[0]}.mgmt")
        server.listen(1)

        def talk() -> None:
            peer, _address = server.accept()
            with peer, contextlib.suppress(OSError):
                for _message in range(150):
                    peer.sendall(bytes([5, 2, 0, 8, 0, 0, 0, 0]))
                    time.sleep(0.02)

        thread = threading.Thread(target=talk, daemon=True)
        thread.start()
        began = time.monotonic()
        assert "has not answered" in refused("backend", install, bridges()[0], Patience(SECONDS, free=FREE)).detail
        thread.join(WHOLE)
        # It is hung up on as well.
        assert not thread.is_alive()
        assert time.monotonic() - began < WHOLE


def test_the_module_waits_once_as_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, silent: Callable[..., None]) -> None:
    silent(*NAMES)
    Host(tmp_path, monkeypatch, *bridges())
    monkeypatch.setattr(flows, "install", install)
    module = importlib.import_module("ansible_collections.hpc.virtual_cluster.plugins.modules.ovs_vxlan")
    monkeypatch.setattr(flows, "Patience", functools.partial(Patience, SECONDS, free=FREE))
    monkeypatch.setattr(taps, "underlay", lambda _commands, _address: Underlay("br-phy", 1600))
    items = [{"name": f"vc{number + 1}", "vni": 10001 + number, "mtu": 1500, "state": "present"} for number in range(len(NAMES))]
    networks = module.Networks(Commands(), items, HOST)
    began = time.monotonic()
    actions = networks.plan().actions
    assert time.monotonic() - began < WHOLE
    assert [action.item for action in actions] == [item["name"] for item in items]
    began = time.monotonic()
    failures: dict[str, VcError] = networks.apply(actions, lambda _action: None)
    assert time.monotonic() - began < WHOLE
    assert [("not tried" in error.detail) for error in failures.values()] == [False] + [True] * (len(NAMES) - 1)
    assert [error.item for error in failures.values()] == NAMES
