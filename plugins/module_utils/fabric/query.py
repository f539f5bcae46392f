# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A program of its own: reads the pkey tables of any number of ports from the ports themselves.

It is run by `ports.read` in OpenSM's environment, which this process does not have, and imports nothing of ours.
Argument: the GUID of the port to ask from, or empty text.  Reads JSON: ``ports``, GUID -> ``[keys that it has to have, keys that it must
not have]``, ``seconds`` to look again until all are so, and ``places``, GUID -> ``[LID, GUID of the port that answers there]`` of those
that are known.  Prints JSON: ``ports``, GUID -> keys or null for a port that is not on the fabric, and ``places`` as they are now; or
``error``.

infiniband-diags has the same as smpquery, but as a process for each port, and OpenSM's own tables (saquery) say what it wanted to write.
"""

from __future__ import annotations

import ctypes
import json
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any, Optional

_SMI, _SMI_DIRECT, _SA = 0x01, 0x81, 0x03
_NODE_INFO, _PKEY_TABLE = 0x11, 0x16
_BY_LID, _BY_GUID = 0, 2
# Of NodeInfo (InfiniBand Architecture Specification, volume 1, 14.2.5.3).
_PORT_GUID, _PARTITION_CAP = slice(20, 28), slice(28, 30)
_KEYS_PER_BLOCK = 32
_MOST_CARDS, _NAME_LENGTH, _MOST_PORTS = 32, 20, 10
# libibmad's ib_portid_t and a management datagram are smaller; the first begins with the LID, an int.
_ROOM = 1024
_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.005, 0.5

# Keys that a port has to have, and keys that it must not have.
Expected = Sequence[Sequence[str]]
# GUID of the port that answers, and its keys.
Table = tuple[str, list[str]]
# LID, and GUID of the port that answers there.
Place = tuple[int, str]


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

    def find(self, guid: str) -> Optional[Any]:
        """Where the port is, as the subnet manager says; None when the fabric has no such port."""
        return self._resolve(guid, _BY_GUID)

    def at(self, lid: int) -> Optional[Any]:
        """Where a LID is; asks nobody."""
        return self._resolve(str(lid), _BY_LID)

    def lid(self, where: Any) -> int:
        return int.from_bytes(where.raw[: ctypes.sizeof(ctypes.c_int)], sys.byteorder)

    def _resolve(self, name: str, kind: int) -> Optional[Any]:
        where = ctypes.create_string_buffer(_ROOM)
        found = self._mad.ib_resolve_portid_str_via(where, name.encode(), kind, None, self._port) == 0
        return where if found else None

    def answers(self, port_guid: str) -> bool:
        """Whether the subnet manager knows our own port; always, where we were not told which one that is."""
        return not port_guid or self.find(port_guid) is not None

    def table(self, where: Any) -> Optional[Table]:
        """GUID of the port that answers there, and its table as it is in the port, empty places included; None without an answer."""
        node = self._ask(where, _NODE_INFO, 0)
        if node is None:
            return None
        keys: list[str] = []
        for block in range((int.from_bytes(node[_PARTITION_CAP], "big") + _KEYS_PER_BLOCK - 1) // _KEYS_PER_BLOCK):
            table = self._ask(where, _PKEY_TABLE, block)
            if table is None:
                return None
            keys += [f"0x{int.from_bytes(table[place : place + 2], 'big'):04x}" for place in range(0, 2 * _KEYS_PER_BLOCK, 2)]
        return f"0x{int.from_bytes(node[_PORT_GUID], 'big'):016x}", keys

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


def look(
    fabric: Fabric, expected: Mapping[str, Expected], seconds: float, known: Mapping[str, Place]
) -> tuple[dict[str, Optional[list[str]]], dict[str, Place]]:
    """The tables, once all are as expected or time is up, and where they are; only ports that are not as expected are asked again.

    What the subnet manager is asked makes it slower at what we wait for. So it is not asked for a place that is known, as long as the same
    port answers there. That port may have another GUID than we ask for: a virtual function's is answered for by the adapter's own.
    """
    until = time.monotonic() + seconds
    pause = _PAUSE_SECONDS
    places = {guid: (fabric.at(known[guid][0]) if guid in known else None) or fabric.find(guid) for guid in expected}
    found: dict[str, Optional[Table]] = dict.fromkeys(expected)
    waiting = [guid for guid, where in places.items() if where is not None]
    unsure = dict(known)
    while True:
        last = time.monotonic() >= until
        for guid in waiting:
            found[guid] = table = fabric.table(places[guid])
            if guid in unsure and (table is None or table[0] != unsure[guid][1]):
                places[guid] = fabric.find(guid)
                found[guid] = fabric.table(places[guid]) if places[guid] is not None else None
        unsure.clear()
        tables = {guid: table and table[1] for guid, table in found.items()}
        waiting = [guid for guid in waiting if places[guid] is not None and not _as_expected(tables[guid], *expected[guid])]
        if not waiting or last:
            return tables, {guid: (fabric.lid(places[guid]), table[0]) for guid, table in found.items() if table is not None}
        time.sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)


def _as_expected(table: Optional[list[str]], present: Sequence[str], absent: Sequence[str]) -> bool:
    return table is not None and set(present) <= set(table) and not set(absent) & set(table)


def main(port_guid: str, expected: Mapping[str, Expected], seconds: float, known: Mapping[str, Place]) -> dict[str, Any]:
    try:
        fabric = Fabric(port_guid)
    except (OSError, LookupError) as error:
        return {"error": str(error)}
    # No answer about any other port means anything when the subnet manager does not know its own, before and after.
    tables, places = look(fabric, expected, seconds, known) if fabric.answers(port_guid) else ({}, {})
    if not fabric.answers(port_guid):
        return {"error": f"the subnet manager does not answer on port {port_guid}"}
    return {"ports": tables, "places": places}


if __name__ == "__main__":
    asked = json.load(sys.stdin)
    json.dump(main(sys.argv[1], asked["ports"], asked["seconds"], asked["places"]), sys.stdout)
