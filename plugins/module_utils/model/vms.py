# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Throw-away machines: a set of them is a virtual cluster of its own, named after its job, which lives as long as its leases."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from . import addresses, names, sshkeys
from .cluster import Cluster, Network, Node
from .definition import LEAST_MEMORY_MIB, MOST_CPUS, MOST_NODES
from .errors import VcError

CIDR = "10.11.0.0/16"
# Stands for the cluster of a set whose job has no number yet.
VMS_LABEL = "vms"
# Nobody has to know the site's underlay: this fits through any Ethernet.
MTU = 1500 - addresses.VXLAN_OVERHEAD
# In one set, and of one user in all that run at a time.
MOST_MACHINES = MOST_NODES
_MOST_MEMORY_MIB = 2**31
_ITEM = re.compile(r"([^:]*)(?::([1-9][0-9]{0,4}))?")
_TRIED = "reading which machines to start"
_REMEDY = "write IMAGE:COUNT[,IMAGE:COUNT], e.g. debian12:4,tiny@r2:1"
_WIRE_REMEDY = "use the same release on the submit host, on the hypervisors and on the vault"


@dataclass(frozen=True)
class Vms:
    """What a set is made of; all its machines are alike but for their image.

    Parameters
    ----------
    images : (image, how many), in the order of the machines
    cpus, memory_mib : of each machine
    ssh_authorized_keys : of root in all of them
    """

    images: tuple[tuple[str, int], ...]
    cpus: int
    memory_mib: int
    ssh_authorized_keys: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """The images as a user writes them, in one form."""
        return ",".join(f"{image}:{count}" for image, count in self.images)

    @property
    def nodes(self) -> tuple[str, ...]:
        return tuple(f"vm{number}" for number in range(len(self.node_images)))

    @property
    def node_images(self) -> tuple[str, ...]:
        """The image of each machine."""
        return tuple(image for image, count in self.images for _number in range(count))

    def to_dict(self) -> dict[str, Any]:
        return {
            "images": self.text,
            "cpus": self.cpus,
            "memory_mib": self.memory_mib,
            "ssh_authorized_keys": list(self.ssh_authorized_keys),
        }

    @classmethod
    def from_dict(cls, data: Any) -> Vms:
        """From the job's script or from a host: everything is checked again.  VcError ``invalid``, ``duplicate``."""
        if not isinstance(data, Mapping) or set(data) != {"images", "cpus", "memory_mib", "ssh_authorized_keys"}:
            detail = "it is not {images, cpus, memory_mib, ssh_authorized_keys}"
            raise VcError("invalid", "vms", _TRIED, detail, _WIRE_REMEDY)
        keys = data["ssh_authorized_keys"]
        if not isinstance(keys, list):
            raise VcError("invalid", "vms.ssh_authorized_keys", _TRIED, "it is not a list", _WIRE_REMEDY)
        return cls(
            parse(data["images"]),
            _number(data, "cpus", 1, MOST_CPUS),
            _number(data, "memory_mib", LEAST_MEMORY_MIB, _MOST_MEMORY_MIB),
            sshkeys.parse_all(keys),
        )


def parse(text: Any) -> tuple[tuple[str, int], ...]:
    """``image1:32,image2:512`` (a missing count is 1) -> ((image1, 32), (image2, 512)).  VcError ``invalid``."""
    if not isinstance(text, str) or not text.isascii():
        raise VcError("invalid", names.shown(text), _TRIED, "it is not plain text", _REMEDY)
    found: list[tuple[str, int]] = []
    for item in text.split(","):
        matched = _ITEM.fullmatch(item)
        if matched is None:
            raise VcError("invalid", names.shown(item), _TRIED, "what follows the colon is not a number from 1", _REMEDY)
        image, count = str(names.image_ref(matched.group(1))), int(matched.group(2) or 1)
        if found and found[-1][0] == image:
            count += found.pop()[1]
        found.append((image, count))
    total = sum(count for _image, count in found)
    if total > MOST_MACHINES:
        raise VcError("invalid", names.shown(text), _TRIED, f"these are {total} machines, {MOST_MACHINES} are allowed", "ask for fewer")
    return tuple(found)


def cluster_of(name: str, vms: Vms, owner: str, account: str, vni: int, pkey: str) -> Cluster:
    """The cluster that these machines are; index 0 stays free, as in every cluster without a frontend."""
    nodes = tuple(
        Node(
            name=node,
            role="compute",
            index=index,
            mac=addresses.mac_for(vni, index),
            guid=addresses.guid_for(vni, index),
            address=addresses.address_for(CIDR, index),
            cpus=vms.cpus,
            memory_mib=vms.memory_mib,
            disk_mib=0,
            image=image,
            persistent=False,
        )
        for index, (node, image) in enumerate(zip(vms.nodes, vms.node_images), 1)
    )
    return Cluster(name, owner, account, Network(vni, CIDR, MTU), pkey, nodes, ssh_authorized_keys=vms.ssh_authorized_keys)


def _number(data: Mapping[str, Any], key: str, least: int, most: int) -> int:
    value = data[key]
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise VcError("invalid", f"vms.{key}", _TRIED, f"{names.shown(value)} is not a number from {least} to {most}", _WIRE_REMEDY)
    return value
