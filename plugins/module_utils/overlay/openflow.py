# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A bridge's flows and its handling of fragments, read and replaced on ovs-vswitchd's own socket for it.

ovs-ofctl is a process for each bridge and each question; a host with many networks asks all of them in every run.
This is as much of OpenFlow 1.4 as our flows need: nine fields, forwarding as an ordinary switch does, or dropping.
"""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Union

_DIRECTORY = "/var/run/openvswitch"
_VERSION = 5
_HELLO, _ERROR, _GET_CONFIG, _CONFIG, _SET_CONFIG, _FLOW_MOD, _ASK_MANY, _MANY = 0, 1, 7, 8, 9, 14, 18, 19
_BARRIER, _REACHED, _BUNDLE, _BUNDLED = 20, 21, 33, 34
_OPEN, _COMMIT, _COMMITTED, _WHOLE_AND_IN_ORDER = 0, 4, 5, 3
_ADD, _DELETE = 0, 3
_ANY, _ANY_TABLE, _NO_BUFFER = 0xFFFFFFFF, 0xFF, 0xFFFFFFFF
# Open vSwitch's own: a first fragment is matched with its ports, later ones without any.
_FRAGMENTS, _MATCHED = 0x3, 0x3
_MORE = 1
# Name -> number in OpenFlow's own class, bytes.  A field comes after those that it needs.
_FIELDS = {
    "in_port": (0, 4),
    "eth_src": (4, 6),
    "eth_type": (5, 2),
    "vlan": (6, 2),
    "ip_proto": (10, 1),
    "ipv4_src": (11, 4),
    "udp_src": (15, 2),
    "udp_dst": (16, 2),
    "arp_spa": (22, 4),
    "arp_sha": (24, 6),
}
_CLASS = 0x8000
# One instruction, apply: one action, output to the port that stands for ordinary forwarding.
_NORMAL = struct.pack("!HH4xHHIH6x", 4, 24, 0, 16, 0xFFFFFFFA, 0)

# Table, priority, fields as the switch writes them -> the rest of the flow.
Key = tuple[int, int, frozenset[bytes]]
Flows = dict[Key, tuple[int, int, bytes]]
Fields = Mapping[str, Union[int, str]]


_ANY_FLOW: Key = (_ANY_TABLE, 0, frozenset())
_NOTHING = (0, 0, b"")


class Refused(Exception):
    """The switch has answered with an error."""


@dataclass(frozen=True)
class Flow:
    """Frames that have all these fields are forwarded, or dropped.

    Parameters
    ----------
    fields : names of _FIELDS -> number, MAC or IPv4 address
    """

    priority: int
    fields: Fields
    passes: bool


def read_in_port(key: Key) -> int:
    """The port that a flow is for; a reserved number or -1 when it is for no port of the bridge."""
    head = _head("in_port")
    return next((int.from_bytes(field[4:], "big") for field in key[2] if field.startswith(head)), -1)


def compiled(wanted: Iterable[Flow]) -> Flows:
    """As the switch would answer when it had them."""
    return {(0, flow.priority, frozenset(_fields(flow))): (0, 0, _NORMAL if flow.passes else b"") for flow in wanted}


class Switch:
    """A connection to one bridge.  OSError where ovs-vswitchd does not serve it, `Refused` for what it does not take.

    Parameters
    ----------
    until : when all has to be said, by time.monotonic(): one that hangs takes connections and never answers
    """

    def __init__(self, bridge: str, until: float) -> None:
        self._count = 0
        self._until = until
        self._socket = socket.socket(socket.AF_UNIX)
        self._stream = self._socket.makefile("rb")
        try:
            self._limit()
            self._socket.connect(f"{_DIRECTORY}/{bridge}.mgmt")
            self._send(_HELLO)
            self._receive(_HELLO)
        except BaseException:
            self.__exit__()
            raise

    def __enter__(self) -> Switch:
        return self

    def __exit__(self, *_exception: object) -> None:
        self._stream.close()
        self._socket.close()

    def matches_fragments(self) -> bool:
        """Whether first fragments are matched with their ports."""
        return self._config()[0] & _FRAGMENTS == _MATCHED

    def match_fragments(self) -> None:
        flags, length = self._config()
        self._send(_SET_CONFIG, struct.pack("!HH", flags & ~_FRAGMENTS | _MATCHED, length))
        if not self.matches_fragments():
            raise Refused("it does not match fragments by their ports")

    def flows(self) -> Flows:
        """All flows of all tables."""
        request = struct.pack("!B3xII4xQQ", _ANY_TABLE, _ANY, _ANY, 0, 0) + _match(())
        self._send(_ASK_MANY, struct.pack("!HH4x", 1, 0) + request)
        found: Flows = {}
        more = True
        while more:
            body = self._receive(_MANY)
            more = bool(struct.unpack_from("!2xH", body)[0] & _MORE)
            found.update(_read(body[8:]))
        return found

    def replace(self, wanted: Flows) -> None:
        """Have these flows and no others, in one step."""
        have = self.flows()
        # All at once: to name somebody else's flow, its fields would have to stand in an order that only the switch knows.
        changes = [_change(_DELETE, _ANY_FLOW, _NOTHING)] if have.keys() - wanted.keys() else []
        changes += [_change(_ADD, key, rest) for key, rest in wanted.items() if changes or have.get(key) != rest]
        if not changes:
            return
        self._send(_BUNDLE, struct.pack("!IHH", 1, _OPEN, _WHOLE_AND_IN_ORDER))
        for change in changes:
            # A message inside has the number of the one around it.
            inner = struct.pack("!BBHI", _VERSION, _FLOW_MOD, 8 + len(change), self._count + 1) + change
            self._send(_BUNDLED, struct.pack("!I2xH", 1, _WHOLE_AND_IN_ORDER) + inner)
        # A bundle is committed without what was refused of it; it goes with its connection.
        self._send(_BARRIER)
        self._receive(_REACHED)
        self._send(_BUNDLE, struct.pack("!IHH", 1, _COMMIT, _WHOLE_AND_IN_ORDER))
        while struct.unpack_from("!4xH", self._receive(_BUNDLE))[0] != _COMMITTED:
            pass

    def _config(self) -> tuple[int, int]:
        self._send(_GET_CONFIG)
        flags, length = struct.unpack_from("!HH", self._receive(_CONFIG))
        return int(flags), int(length)

    def _send(self, kind: int, body: bytes = b"") -> None:
        self._count += 1
        self._limit()
        self._socket.sendall(struct.pack("!BBHI", _VERSION, kind, 8 + len(body), self._count) + body)

    def _receive(self, wanted: int) -> bytes:
        """The next message of this kind; what else comes is no answer to us."""
        while True:
            _version, kind, length, _number = struct.unpack("!BBHI", self._exactly(8))
            body = self._exactly(length - 8)
            if kind == _ERROR:
                raise Refused(f"OpenFlow error {struct.unpack_from('!HH', body)}")
            if kind == wanted:
                return body

    def _limit(self) -> None:
        left = self._until - time.monotonic()
        if left <= 0:
            raise socket.timeout("timed out")
        self._socket.settimeout(left)

    def _exactly(self, length: int) -> bytes:
        self._limit()
        data = self._stream.read(length)
        if len(data) != length:
            raise ConnectionResetError("ovs-vswitchd has closed the connection")
        return data


def _read(body: bytes) -> Iterator[tuple[Key, tuple[int, int, bytes]]]:
    place = 0
    while place < len(body):
        length, table, priority, idle, hard = struct.unpack_from("!HBx8xHHH", body, place)
        fields, end = [], place + 52
        match_end = place + 48 + int(struct.unpack_from("!H", body, place + 50)[0])
        while end < match_end:
            size = 4 + body[end + 3]
            fields.append(body[end : end + size])
            end += size
        rest = body[place + 48 + _padded(match_end - place - 48) : place + length]
        yield (table, priority, frozenset(fields)), (idle, hard, rest)
        place += length


def _change(command: int, key: Key, rest: tuple[int, int, bytes]) -> bytes:
    table, priority, fields = key
    idle, hard, instructions = rest
    numbers = (0, 0, table, command, idle, hard, priority, _NO_BUFFER, _ANY, _ANY, 0, 0)
    # In the order of their numbers, so that each comes after those that it needs.
    return struct.pack("!QQBBHHHIIIHH", *numbers) + _match(sorted(fields)) + instructions


def _match(fields: Iterable[bytes]) -> bytes:
    data = b"".join(fields)
    return (struct.pack("!HH", 1, 4 + len(data)) + data).ljust(_padded(4 + len(data)), b"\0")


def _padded(length: int) -> int:
    return (length + 7) // 8 * 8


def _fields(flow: Flow) -> Iterator[bytes]:
    for name, value in flow.fields.items():
        yield _head(name) + _bytes(value, _FIELDS[name][1])


def _head(name: str) -> bytes:
    number, size = _FIELDS[name]
    return struct.pack("!HBB", _CLASS, number << 1, size)


def _bytes(value: Any, size: int) -> bytes:
    if isinstance(value, int):
        return value.to_bytes(size, "big")
    return bytes.fromhex(value.replace(":", "")) if ":" in value else socket.inet_aton(value)
