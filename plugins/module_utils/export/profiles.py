# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What Warewulf 4.6 takes under ``nodeprofiles``.  No I/O.

One value of another type and Warewulf reads nothing of the whole file; a key that it does not know it drops without a word.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Union

from ..model import names
from ..model.errors import VcError

_TRIED = "writing it for Warewulf"
_NAMED = 256


@dataclass(frozen=True)
class Named:
    """A mapping whose keys are anybody's to choose."""

    of: Any


# A number, true or false are text to Warewulf, but a list or a mapping is not.
TEXT, TRUTH, LIST, ADDRESS, ANYTHING = "text", "true or false", "a list of texts", "an address without prefix", "anything"
Kind = Union[str, Named, Mapping[str, Any]]

PROFILE: Mapping[str, Kind] = {
    **dict.fromkeys(("comment", "cluster name", "image name", "ipxe template", "init", "root", "primary network"), TEXT),
    **dict.fromkeys(("profiles", "runtime overlay", "system overlay"), LIST),
    "kernel": {"version": TEXT, "args": LIST},
    "ipmi": {
        **dict.fromkeys(("username", "password", "port", "interface", "escapechar", "write", "template"), TEXT),
        **dict.fromkeys(("ipaddr", "gateway", "netmask"), ADDRESS),
        "tags": Named(TEXT),
    },
    "network devices": Named(
        {
            **dict.fromkeys(("type", "onboot", "device", "hwaddr", "prefixlen6", "mtu"), TEXT),
            **dict.fromkeys(("ipaddr", "netmask", "gateway", "ipaddr6", "gateway6"), ADDRESS),
            "tags": Named(TEXT),
        }
    ),
    "tags": Named(TEXT),
    "disks": Named(
        {
            "wipe_table": TRUTH,
            "partitions": Named(
                {
                    **dict.fromkeys(("number", "size_mib", "start_mib", "type_guid", "guid"), TEXT),
                    **dict.fromkeys(("wipe_partition_entry", "should_exist", "resize"), TRUTH),
                }
            ),
        }
    ),
    "filesystems": Named(
        {**dict.fromkeys(("format", "path", "label", "uuid", "mount_options"), TEXT), "wipe_filesystem": TRUTH, "options": LIST}
    ),
    "resources": Named(ANYTHING),
}


def check(profiles: Any) -> None:
    """Refuse what Warewulf would not read, or would read as something else: VcError ``invalid``."""
    _check("nodeprofiles", profiles, Named(PROFILE))


def _check(item: str, value: Any, kind: Kind) -> None:
    if isinstance(kind, str):
        if not _is(value, kind):
            raise VcError("invalid", item, _TRIED, f"{names.shown(value)} is not {kind}", f"give {kind}, or leave it out")
        return
    if not isinstance(value, Mapping):
        raise VcError("invalid", item, _TRIED, "it is not a mapping", "give a mapping, {} if there is nothing in it")
    for key, inner in value.items():
        if not isinstance(key, str) or not 0 < len(key) <= _NAMED:
            raise VcError("invalid", item, _TRIED, f"{names.shown(key)} is no key", f"use text of 1 to {_NAMED} characters, in quotes")
        if isinstance(kind, Mapping) and key not in kind:
            raise VcError("invalid", item, _TRIED, f"Warewulf does not know {names.shown(key)}", f"use {', '.join(kind)}")
        _check(f"{item} {names.shown(key)}", inner, kind.of if isinstance(kind, Named) else kind[key])


def _is(value: Any, kind: str) -> bool:
    if kind == LIST:
        return isinstance(value, (list, tuple)) and all(_is(item, TEXT) for item in value)
    if kind == ADDRESS:
        return isinstance(value, str) and _is_address(value)
    if kind == TRUTH:
        return isinstance(value, bool)
    # What may stand in a file at all is the writer's to say.
    return kind == ANYTHING or isinstance(value, (str, int))


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return "%" not in text
