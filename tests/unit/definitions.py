# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Definitions as users write them: one documented, and generated ones."""

from __future__ import annotations

import copy
from typing import Any

from hypothesis import strategies as st

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEB user@example.org"
OTHER_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgIC"

DOCUMENTED: dict[str, Any] = {
    "name": "vc1",
    "owner": "labuser",
    "account": "physics",
    "network": {"cidr": "10.11.0.0/24"},
    "ssh_authorized_keys": [KEY],
    "frontend": {
        "host": "fe1",
        "cpus": 2,
        "memory": "1GiB",
        "disk": "8GiB",
        "source": {"image": "debian12@r1"},
        "public": {"bridge": "br-public", "address": "10.79.0.101/24"},
    },
    "computes": [{"nodes": "compute[0-1]", "cpus": 1, "memory": "512MiB", "source": {"image": "debian12@r1"}}],
}


def changed(**changes: Any) -> dict[str, Any]:
    """The documented definition with dotted keys (written with __, numbers index lists) replaced; Ellipsis deletes."""
    data = copy.deepcopy(DOCUMENTED)
    for path, value in changes.items():
        *parents, last = (int(key) if key.isdigit() else key for key in path.split("__"))
        place: Any = data
        for parent in parents:
            place = place[parent]
        if value is ...:
            del place[last]
        else:
            place[last] = value
    return data


def computes(nodes: str, **more: Any) -> dict[str, Any]:
    """One item of computes."""
    return {"nodes": nodes, "cpus": 1, "memory": "512MiB", "source": {"image": "debian12"}, **more}


@st.composite
def definitions(draw: st.DrawFn, name: str = "vc1") -> dict[str, Any]:
    """Valid definitions: with and without frontend, with explicit numbers or without."""
    data: dict[str, Any] = {"name": name, "owner": draw(st.sampled_from(["labuser", "otheruser"])), "account": "physics"}
    if draw(st.booleans()):
        data["network"] = draw(
            st.fixed_dictionaries({}, optional={"cidr": st.sampled_from(["10.12.0.0/24", "10.13.0.0/16"]), "mtu": st.integers(576, 9216)})
        )
    if draw(st.booleans()):
        data["members"] = draw(st.sampled_from([[], ["anna"], ["anna", "berta"]]))
    if draw(st.booleans()):
        data["ssh_authorized_keys"] = draw(st.sampled_from([[KEY], [KEY, OTHER_KEY], []]))
    numbers = draw(st.lists(st.integers(0, 60), unique=True, min_size=1, max_size=8))
    data["computes"] = [
        computes(
            f"n{number}",
            cpus=draw(st.integers(1, 4)),
            memory=draw(st.sampled_from(["512MiB", "2GiB"])),
            persistent=draw(st.booleans()),
            **({"macs": [f"52:54:00:00:00:{number:02x}"]} if draw(st.integers(0, 3)) == 0 else {}),
        )
        for number in numbers
    ]
    if draw(st.booleans()):
        data["frontend"] = {"host": draw(st.sampled_from(["fe1", "fe2"])), "cpus": 2, "memory": "1GiB", "source": {"image": "debian12"}}
    return data
