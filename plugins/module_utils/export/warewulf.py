# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""``nodes.conf`` of Warewulf 4.6 and newer.  No I/O.

Warewulf takes a MAC or an address as text, no address with a prefix, no list on one line, and no key without a value: it reads the last one
without complaint and falls over it later.  All that is kept by the way this writes, not by what it is given.
"""

from __future__ import annotations

import ipaddress
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Optional

from ..cloudinit.documents import public_mac
from ..model import names
from ..model.errors import VcError
from . import profiles as schema
from .entries import Entry, entries

FORMS = ("file", "import")
DEFAULT_PROFILES: Mapping[str, Any] = {"default": {"comment": "Every node has this profile; what Warewulf boots belongs here"}}
_TRIED = "writing it for Warewulf"
_PLAIN_KEY = re.compile(r"[a-z][a-z0-9_-]*(?: [a-z0-9_-]+)*")
_KEY_LENGTH = 256
# YAML 1.1 makes booleans or nothing of them.
_NO_TEXT = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null"})


def nodes_conf(
    infos: Iterable[Mapping[str, Any]],
    profile: str = "tenant",
    cluster: str = "",
    form: str = "",
    nodeprofiles: Optional[Mapping[str, Any]] = None,
) -> str:
    """A tenant's ``nodes.conf``; with `form` ``import``, and for the owner, what ``wwctl node import`` takes: the nodes alone.

    `nodeprofiles` stand in the file as they are given; every node of a tenant's export has the profile ``default``.
    Raises VcError for what ``entries`` refuses, for profiles that Warewulf would not read, and for a whole file for the owner.
    """
    form = form or ("import" if profile == "owner" else "file")
    if form not in FORMS:
        raise VcError("invalid", f"form {names.shown(form)}", _TRIED, "there is no such form", f"use {' or '.join(FORMS)}")
    if profile == "owner" and form == "file":
        detail = "a whole nodes.conf would take the place of the site's own, with all its nodes and profiles"
        raise VcError("invalid", "form file", _TRIED, detail, "use import, and wwctl node import")
    found = entries(infos, profile, cluster)
    nodes = {entry.node.name: tenant_node(entry) for entry in found} if profile == "tenant" else {}
    if profile == "owner":
        nodes = {entry.site_name: owner_node(entry) for entry in found}
    if form == "import":
        return _document(nodes)
    profiles = DEFAULT_PROFILES if nodeprofiles is None else nodeprofiles
    schema.check(profiles)
    return _document({"nodeprofiles": profiles, "nodes": nodes})


def tenant_node(entry: Entry) -> dict[str, Any]:
    """A compute as the manager on its cluster's frontend sees it."""
    cluster, node = entry.cluster, entry.node
    network = ipaddress.IPv4Network(cluster.network.cidr)
    device = {"hwaddr": node.mac, "ipaddr": node.address, "netmask": str(network.netmask), "mtu": str(cluster.network.mtu)}
    return {
        "profiles": ["default"],
        "cluster name": cluster.name,
        "network devices": {"default": device},
        "primary network": "default",
        "tags": {"vc_cluster": cluster.name, "vc_node": node.name},
    }


def owner_node(entry: Entry) -> dict[str, Any]:
    """A node as the site sees it, for the record: it names neither a profile nor an image to boot."""
    cluster, node = entry.cluster, entry.node
    devices: dict[str, Any] = {"default": {"hwaddr": node.mac}}
    if node.public is not None:
        public = ipaddress.IPv4Interface(node.public.address)
        devices["public"] = {"hwaddr": public_mac(node), "ipaddr": str(public.ip), "netmask": str(public.netmask)}
        if node.public.gateway:
            devices["public"]["gateway"] = node.public.gateway
    tags = {
        "vc_account": cluster.account,
        "vc_address": node.address,
        "vc_cluster": cluster.name,
        "vc_host": entry.host,
        "vc_node": node.name,
        "vc_owner": cluster.owner,
        "vc_role": node.role,
        "vc_vni": str(cluster.network.vni),
    }
    return {
        "cluster name": cluster.name,
        "network devices": devices,
        "primary network": "public" if node.public is not None else "default",
        "tags": {key: value for key, value in tags.items() if value},
    }


def _document(data: Mapping[str, Any]) -> str:
    return "---\n" + ("\n".join(_lines(data, "")) or "{}") + "\n"


def _lines(data: Mapping[Any, Any], indent: str) -> list[str]:
    lines = []
    for key, value in data.items():
        head = f"{indent}{_key(key)}:"
        inner = _inner(key, value, indent + "  ")
        lines += [head, *inner] if inner else [f"{head} {_scalar(key, value)}"]
    return lines


def _inner(key: Any, value: Any, indent: str) -> list[str]:
    """The lines of a mapping or a list with something in it; nothing for what stands on its key's own line."""
    if isinstance(value, Mapping):
        return _lines(value, indent)
    if not isinstance(value, Sequence) or isinstance(value, (str, bytes)):
        return []
    lines: list[str] = []
    for item in value:
        inner = _inner(key, item, indent + "  ") or [f"{indent}  {_scalar(key, item)}"]
        lines += [f"{indent}- {inner[0][len(indent) + 2 :]}", *inner[1:]]
    return lines


def _key(key: Any) -> str:
    # YAML ends the search for the colon after 1024 characters.
    if not isinstance(key, str) or not 0 < len(key) <= _KEY_LENGTH:
        raise VcError("invalid", names.shown(key), _TRIED, "it is no key", f"use text of 1 to {_KEY_LENGTH} characters, in quotes")
    return key if _PLAIN_KEY.fullmatch(key) and key not in _NO_TEXT else _quoted(key)


def _scalar(key: Any, value: Any) -> str:
    if isinstance(value, Mapping) and not value:
        return "{}"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float) and math.isfinite(value):
        # Without a point it is text to YAML 1.1.
        mantissa, exponent, power = float.__repr__(value).partition("e")
        return f"{mantissa}{'' if '.' in mantissa else '.0'}{exponent}{power}"
    if isinstance(value, str):
        return _quoted(value)
    if isinstance(value, Sequence) and not isinstance(value, bytes) and not value:
        return "[]"
    detail = "it has no value" if value is None else f"it is a {type(value).__name__}"
    raise VcError("invalid", names.shown(key), _TRIED, detail, "give text, a number, true or false, or leave it out")


def _quoted(text: str) -> str:
    """In double quotes and on one line, whatever is in it: an unquoted MAC is a number to some readers."""
    return '"' + "".join(_escaped(char) for char in text) + '"'


def _escaped(char: str) -> str:
    if char in '"\\':
        return f"\\{char}"
    if char.isprintable():
        return char
    code = ord(char)
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
