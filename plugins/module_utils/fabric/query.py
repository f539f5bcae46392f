# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A program of its own: reads the pkey tables of any number of ports from the ports themselves.

It is run by `ports.read` in OpenSM's environment, which this process does not have, and imports nothing of ours.
Arguments: the GUID of the port to ask from (or empty text), then the GUIDs to look at.  Prints one JSON object: ``ports``, GUID -> keys
or null for a port that is not on the fabric, or ``error``.

infiniband-diags has the same as smpquery, but as a process for each port, and OpenSM's own tables (saquery) say what it wanted to write.
"""

from __future__ import annotations

import ctypes
import json
import sys
from typing import Any, Optional

_SMI, _SMI_DIRECT, _SA = 0x01, 0x81, 0x03
_NODE_INFO, _PKEY_TABLE = 0x11, 0x16
_BY_GUID = 2
_KEYS_PER_BLOCK = 32
_MOST_CARDS, _NAME_LENGTH, _MOST_PORTS = 32, 20, 10
# libibmad's ib_portid_t and a management datagram are smaller; we never look inside the first.
_ROOM = 1024


class Fabric:
    """An open port.  Raises OSError without the libraries and LookupError without the port."""

    def __init__(self, port_guid: str) -> None:
        self._mad = ctypes.CDLL("libibmad.so.5")
        self._mad.mad_rpc_open_port.restype = ctypes.c_void_p
        self._mad.smp_query_via.restype = ctypes.c_void_p
        card, number = find_port(port_guid) if port_guid else (None, 0)
        classes = (ctypes.c_int * 3)(_SMI, _SMI_DIRECT, _SA)
        self._port = ctypes.c_void_p(self._mad.mad_rpc_open_port(card, number, classes, 3))
        if not self._port:
            raise LookupError("this host has no InfiniBand port that is up")

    def keys(self, guid: str) -> Optional[list[str]]:
        """The port's table as it is in the port, empty places included; None when the fabric has no such port."""
        where = ctypes.create_string_buffer(_ROOM)
        if self._mad.ib_resolve_portid_str_via(where, guid.encode(), _BY_GUID, None, self._port) != 0:
            return None
        node = self._ask(where, _NODE_INFO, 0)
        if node is None:
            return None
        keys: list[str] = []
        for block in range((int.from_bytes(node[28:30], "big") + _KEYS_PER_BLOCK - 1) // _KEYS_PER_BLOCK):
            table = self._ask(where, _PKEY_TABLE, block)
            if table is None:
                return None
            keys += [f"0x{int.from_bytes(table[place : place + 2], 'big'):04x}" for place in range(0, 2 * _KEYS_PER_BLOCK, 2)]
        return keys

    def _ask(self, where: Any, attribute: int, modifier: int) -> Optional[bytes]:
        buffer = ctypes.create_string_buffer(_ROOM)
        return buffer.raw if self._mad.smp_query_via(buffer, where, attribute, modifier, 0, self._port) else None


def find_port(guid: str) -> tuple[bytes, int]:
    """The adapter and the port number that have this port GUID."""
    umad = ctypes.CDLL("libibumad.so.3")
    umad.umad_init()
    names = ((ctypes.c_char * _NAME_LENGTH) * _MOST_CARDS)()
    for card in range(max(0, umad.umad_get_cas_names(names, _MOST_CARDS))):
        guids = (ctypes.c_uint64 * _MOST_PORTS)()
        umad.umad_get_ca_portguids(names[card].value, guids, _MOST_PORTS)
        for number, found in enumerate(guids):
            if int.from_bytes(int(found).to_bytes(8, sys.byteorder), "big") == int(guid, 16):
                return names[card].value, number
    raise LookupError(f"this host has no InfiniBand port {guid}")


def main(port_guid: str, guids: list[str]) -> dict[str, Any]:
    try:
        fabric = Fabric(port_guid)
    except (OSError, LookupError) as error:
        return {"error": str(error)}
    ports = {guid: fabric.keys(guid) for guid in guids}
    # No answer about any other port means anything when the subnet manager does not even know its own.
    if port_guid and fabric.keys(port_guid) is None:
        return {"error": f"the subnet manager does not answer on port {port_guid}"}
    return {"ports": ports}


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], sys.argv[2:])))
