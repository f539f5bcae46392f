# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A network's bridge: whatever was done to it, one transaction repairs it and a second finds nothing to do."""

from __future__ import annotations

from dataclasses import replace

import pytest
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.model.host import OverlayHost
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.overlay.bridge import (
    Underlay,
    Wanted,
    changes,
    check_foreign,
    check_mtu,
    touched,
    tunnels,
)
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.overlay.state import Network, Overlay
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.overlay.switch import HOST, VC1, carried_out, network, port
from tests.unit.refusal import refused

PEERS = st.lists(st.integers(1, 40), min_size=1, max_size=6, unique=True).map(lambda last: tuple(f"10.88.0.{one}" for one in last))


@st.composite
def damaged(draw: st.DrawFn) -> Network:
    """A network that other peers, another datapath, or somebody's hand has left behind."""
    before = OverlayHost("10.88.0.21", draw(st.sampled_from(["system", "netdev"])), 1600, draw(PEERS))
    found = network(
        port(1), port(2), wanted=replace(VC1, mtu=draw(st.sampled_from([1400, 1500])), declared=draw(st.booleans())), host=before
    )
    rows = []
    for row in found.ports:
        harm = draw(st.sampled_from(["none", "gone", "unprotected", "key", "type", "unopened"])) if row.role == "tunnel" else "none"
        if harm == "unprotected":
            row = replace(row, protected=False)
        elif harm == "key":
            row = replace(row, options={**(row.options or {}), "key": "1", "dst_port": "4790"})
        elif harm == "type":
            row = replace(row, kind="gre")
        elif harm == "unopened":
            row = replace(row, ofport=-1)
        if harm != "gone":
            rows.append(row)
    return replace(found, ports=tuple(rows), fail_mode=draw(st.sampled_from(["secure", "standalone", ""])))


@given(damaged(), PEERS, st.booleans())
def test_one_transaction_repairs_and_a_second_is_empty(found: Network, peers: tuple[str, ...], declared: bool) -> None:
    host, wanted = replace(HOST, peers=peers), replace(VC1, declared=declared)
    (after,) = carried_out(Overlay((found,)), changes(found, wanted, host)).networks
    assert changes(after, wanted, host) == []
    assert after == replace(network(port(1), port(2), wanted=wanted, host=host), ports=after.ports)
    assert {row.name: dict(row.options or {}) for row in after.tunnels} == tunnels(host, wanted.vni)
    assert all(row.protected and row.kind == "vxlan" and row.ofport > 0 for row in after.tunnels)
    assert after.taps == found.taps


def test_a_deleted_tunnel_is_the_only_thing_touched() -> None:
    found = network(port(1))
    lost, *others = found.tunnels
    sections = changes(replace(found, ports=(*others, *found.taps)), VC1, HOST)
    assert touched(sections) == [lost.name]


def test_the_host_itself_is_no_peer() -> None:
    assert [options["remote_ip"] for options in tunnels(HOST, 10001).values()] == ["10.88.0.20", "10.88.0.22"]


@pytest.mark.parametrize(
    ("mtu", "configured", "found"), [(1551, 1600, 1600), (1500, 1500, 1600), (1500, 1600, 1549), (1500, 1549, None), (9000, 1600, 9000)]
)
def test_an_mtu_that_does_not_fit_is_refused(mtu: int, configured: int, found: int | None) -> None:
    underlay = None if found is None else Underlay("br-phy", found)
    error = refused("conflict", check_mtu, "vc1", mtu, replace(HOST, underlay_mtu=configured), underlay)
    assert str(mtu) in error.detail
    assert str(min(configured, found or configured)) in error.detail


@pytest.mark.parametrize(("mtu", "underlay"), [(1550, 1600), (1500, 1550), (1450, 1500), (8950, 9000)])
def test_vxlan_takes_exactly_50_bytes(mtu: int, underlay: int) -> None:
    check_mtu("vc1", mtu, replace(HOST, underlay_mtu=underlay), Underlay("br-phy", underlay))


def test_a_foreign_name_is_refused() -> None:
    overlay = Overlay((), frozenset({"br-phy", "vcb10001"}))
    error = refused("conflict", check_foreign, overlay, "vc1", touched(changes(None, Wanted("vc1", 10001, 1500, True), HOST)))
    assert "vcb10001" in error.detail
