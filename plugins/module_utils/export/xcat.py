# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Node stanzas of xCAT, as ``mkdef -z`` reads them.  No I/O.

xCAT copies default values when it sees ``objtype``, so that comes first; a line that ends in a colon begins another stanza, whatever stands
before it; quotes around a value are lost.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping
from typing import Any

from ..cloudinit.documents import public_mac
from ..model import addresses, names
from ..model.errors import VcError
from .entries import Entry, entries

NETBOOTS = ("xnba", "pxe", "grub2")
_TRIED = "writing it for xCAT"
_HEADER = re.compile(r"[a-z][a-z0-9]*(?:-[a-z][a-z0-9]*)?")
_ATTRIBUTE = re.compile(r"[a-z][a-z0-9]{0,30}")
# Of a host name.
_LABEL_LENGTH = 63


def stanzas(infos: Iterable[Mapping[str, Any]], profile: str = "tenant", cluster: str = "", netboot: str = "xnba") -> str:
    """The text of a stanza file.  Raises VcError for what ``entries`` refuses."""
    if netboot not in NETBOOTS:
        raise VcError("invalid", f"netboot {names.shown(netboot)}", _TRIED, "xCAT has no such method", f"use one of {', '.join(NETBOOTS)}")
    found = entries(infos, profile, cluster)
    if profile == "tenant":
        blocks = [stanza(entry.own_name, tenant_node(entry, netboot)) for entry in found]
    else:
        blocks = [stanza(entry.site_name, owner_node(entry)) for entry in found]
    return "\n".join(["# xCAT data object stanza file\n", *blocks])


def tenant_node(entry: Entry, netboot: str) -> dict[str, str]:
    """A compute as the manager on its cluster's frontend sees it.  No ``mgt``: nothing there switches nodes on and off."""
    node = entry.node
    return {
        "objtype": "node",
        "groups": f"all,vc,{entry.group}",
        "arch": "x86_64",
        "netboot": netboot,
        "ip": node.address,
        "mac": node.mac,
        "hostnames": node.name if node.name != entry.own_name else "",
    }


def owner_node(entry: Entry) -> dict[str, str]:
    """A node as the site sees it.

    In no group of the site's own, such as ``all``, and without ``mgt``: with ``mgt=kvm``, xCAT could start a second copy of a node, outside
    its lease.
    """
    cluster, node = entry.cluster, entry.node
    readable = f"{cluster.name}-{node.name}"
    attributes = {
        "objtype": "node",
        "groups": f"vc,{entry.site_group}",
        "arch": "x86_64",
        "mac": node.mac if node.public is None else public_mac(node),
        "ip": "" if node.public is None else str(ipaddress.IPv4Interface(node.public.address).ip),
        "hostnames": readable if readable != entry.site_name else "",
        "vmhost": entry.host,
        "vmcpus": str(node.cpus),
        "vmmemory": str(node.memory_mib),
        "vmnics": ",".join([addresses.bridge_name(cluster.network.vni), *([] if node.public is None else [node.public.bridge])]),
    }
    told = (
        f"{node.role} {node.name} of {cluster.name}, owner {cluster.owner}, account {cluster.account}, {node.address} ({node.mac}) inside"
    )
    return {**attributes, "usercomment": told}


def stanza(name: str, attributes: Mapping[str, str]) -> str:
    """One stanza; attributes without a value are left out.  VcError ``invalid`` for what xCAT would read as something else."""
    if not _HEADER.fullmatch(name) or len(name) > _LABEL_LENGTH or "default" in name:
        raise VcError("invalid", names.shown(name), _TRIED, "it is not the name of a stanza", "use a-z and 0-9, and one dash at most")
    if next(iter(attributes), "") != "objtype":
        raise VcError("invalid", names.shown(name), _TRIED, "objtype is not its first attribute", "put objtype=node first")
    lines = [f"    {_line(name, attribute, value)}" for attribute, value in attributes.items() if value]
    return "\n".join([f"{name}:", *lines]) + "\n"


def _line(name: str, attribute: str, value: str) -> str:
    readable = value.isascii() and value.isprintable() and value == value.strip()
    if not _ATTRIBUTE.fullmatch(attribute) or not readable or value.endswith(":") or value[0] == '"' or value[-1] == '"':
        detail = f"xCAT would not read {names.shown(value)} back"
        raise VcError(
            "invalid", f"{name} {names.shown(attribute)}", _TRIED, detail, "use printable ASCII, no colon at the end, no quotes around it"
        )
    return f"{attribute}={value}"
