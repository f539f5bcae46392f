# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Open vSwitch of the frontend host, beside the demo's own network and a bridge of the site's."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from tests.lab.contract import configs
from tests.lab.contract.station import on
from tests.lab.contract.subject import Change, Contract, Fault, Guard, Names, Refused, Trial

HOST, PEER, CONTROL = "fe1", "10.88.0.21", "10.77.0.20"
FIRST, SECOND = {"name": "contract", "vni": 15001}, {"name": "contract-b", "vni": 15002}
BOTH = {"networks": [{"name": "contract", "state": "absent"}, {"name": "contract-b", "state": "absent"}]}


@contextlib.contextmanager
def foreign() -> Iterator[Names]:
    """A bridge of the site's, one that has the name which VNI 15003 would need, and another configuration."""
    for bridge in ("contractbr", "vcb15003"):
        on(HOST, "ovs-vsctl", "add-br", bridge, "--", "set", "bridge", bridge, "datapath_type=netdev")
    with configs.another(HOST) as config:
        yield {"config": config}
    for bridge in ("contractbr", "vcb15003"):
        on(HOST, "ovs-vsctl", "del-br", bridge)


def other_datapath(_names: Names) -> None:
    on(HOST, "ovs-vsctl", "--no-wait", "set", "bridge", "vcb15001", "datapath_type=system")


def same_tunnel(_names: Names) -> None:
    options = ["type=vxlan", "options:key=15002", "options:local_ip=10.88.0.20", f"options:remote_ip={PEER}"]
    on(HOST, "ovs-vsctl", "add-port", "contractbr", "contracttun", "--", "set", "interface", "contracttun", *options)


def no_tunnel(_names: Names) -> None:
    on(HOST, "ovs-vsctl", "del-port", "contractbr", "contracttun")


NETWORKS = Trial(
    name="networks",
    present={"networks": [FIRST, SECOND]},
    absent=BOTH,
    changes=(
        Change("networks[0].mtu", 1400),
        Change("networks[1].mtu", 1400),
        Change("host_config", "@config", shows=configs.PEER),
        Change("peers", [PEER]),
        Change("local_ip", CONTROL, shows=CONTROL),
        Change("datapath", "netdev", first=other_datapath, shows='"netdev"'),
    ),
    refused=(
        Refused("underlay_mtu", 1449, "conflict", "a tunnel neither fragments nor answers", names="1449"),
        Refused("host_config", "/etc/nosuch.json", "unknown", "it is where the rest of the settings come from", names="/etc/nosuch.json"),
        Refused("networks[0].vni", 15009, "conflict", "the network is on this host with another VNI", names="15001", fixed=True),
        Refused("networks[2]", {"name": "contract-c", "vni": 10001, "mtu": 1400}, "conflict", "has the VNI of another cluster", "vc1"),
        Refused(
            "networks[2]",
            {"name": "contract-c", "vni": 15003, "mtu": 1400},
            "conflict",
            "would need the name of a foreign bridge",
            "vcb15003",
        ),
    ),
    guards=(
        Guard(
            "a node is attached to the network",
            "in_use",
            absent={"networks": [FIRST | {"state": "absent"}, {"name": "vc1", "state": "absent"}]},
        ),
    ),
    faults=(
        Fault(
            "a foreign tunnel has the key and the peer of one of two networks",
            "backend",
            ("contract-b",),
            first=same_tunnel,
            after=no_tunnel,
            unforeseen="Open vSwitch says so when it opens the port",
        ),
    ),
    prepare=foreign,
)

CONTRACT = Contract(
    host=HOST,
    dumps={HOST: ("overlay",)},
    trials=(NETWORKS,),
    apart={
        "networks[].name": "says which network is meant",
        "networks[].state": "is what absent changes",
        "underlay_mtu": "is a bound, which no backend keeps; what does not fit is below",
    },
)
