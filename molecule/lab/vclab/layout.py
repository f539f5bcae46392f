# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the lab consists of: hosts, networks, users, and where its files are."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[3]
CACHE = REPOSITORY / ".cache"
STATE = CACHE / "lab"
HOSTS_DIR = STATE / "hosts"
HOME_DIR = STATE / "home"
KEYS_DIR = STATE / "keys"
IMAGES_DIR = CACHE / "images"
# Not below the repository: unix socket paths are limited to 107 bytes.
RUNTIME = Path("/run/vc-lab")
SSH_SOCKETS = RUNTIME / "ssh"

FABRIC = "vc-fabric"
UNDERLAY_MTU = 1600


@dataclass(frozen=True)
class Segment:
    """One network: its bridge in the fabric, and the machine's own leg on it (name and address) where it has one."""

    bridge: str
    network: str
    mtu: int
    leg: str = ""
    leg_address: str = ""


MANAGEMENT = Segment("br-mgmt", "10.77.0.0/24", 1500, "vc-ctl", "10.77.0.254")
UNDERLAY = Segment("br-und", "10.88.0.0/24", UNDERLAY_MTU)
PUBLIC = Segment("br-pub", "10.79.0.0/24", 1500, "vc-pub", "10.79.0.254")
SEGMENTS = (MANAGEMENT, UNDERLAY, PUBLIC)


@dataclass(frozen=True)
class HostPlan:
    """One emulated host. ``underlay`` is its address on eth1, empty for none; ``public`` gives it eth2 in bridge br-public."""

    name: str
    address: str
    underlay: str = ""
    public: bool = False
    release: str = "bookworm"


HOSTS = (
    HostPlan("head", "10.77.0.10"),
    HostPlan("nas", "10.77.0.12"),
    HostPlan("fe1", "10.77.0.20", "10.88.0.20", True),
    HostPlan("hv1", "10.77.0.21", "10.88.0.21"),
    HostPlan("hv2", "10.77.0.22", "10.88.0.22"),
)

# A site of one host beside the others: Slurm's daemons speak only to those of neighbouring releases.
DEBIAN13 = HostPlan("trixie", "10.77.0.30", "10.88.0.30", release="trixie")
EVERY_HOST = (*HOSTS, DEBIAN13)

GROUPS = {
    "slurm_controller": ("head",),
    "submit_hosts": ("head",),
    "vault": ("nas",),
    "frontend_hosts": ("fe1",),
    "hypervisors": ("hv1", "hv2"),
    "gates": ("head", "fe1"),
    "overlay_hosts": ("fe1", "hv1", "hv2"),
    "subnet_manager": ("head",),
}
DEBIAN13_GROUPS = {group: (DEBIAN13.name,) for group in GROUPS if group not in ("frontend_hosts", "subnet_manager", "gates")}

USERS = {"labuser": 2001, "otheruser": 2002}


def host_plan(name: str) -> HostPlan:
    for plan in EVERY_HOST:
        if plan.name == name:
            return plan
    from .process import LabError

    raise LabError(f"no such lab host: {name!r}; there are {', '.join(plan.name for plan in EVERY_HOST)}")
