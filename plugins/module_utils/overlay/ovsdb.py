# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Open vSwitch's database: read it in one call, change it in one transaction."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Optional, TypeVar, Union

from ..command import Commands
from ..model import addresses, names
from ..model.errors import VcError
from .state import Damaged, Network, Overlay, PortRow

# ovs-vsctl waits for ever when ovsdb-server or ovs-vswitchd is down.
SECONDS = 30
_REMEDY = "see `systemctl status ovs-vswitchd ovsdb-server` and /var/log/openvswitch/ovs-vswitchd.log"
# Linux takes 2 MiB, the environment included, unless its stack is limited to less than 8.
_ARGUMENT_BYTES = 1_000_000
Item = TypeVar("Item")
_TABLES = {
    "Bridge": "name,datapath_type,fail_mode,external_ids,ports",
    "Port": "_uuid,name,protected,external_ids,interfaces",
    "Interface": "_uuid,name,type,options,ofport,error",
}


def read(commands: Commands) -> Overlay:
    """The networks of this host.  Raises VcError ``backend``."""
    argv = ["ovs-vsctl", f"--timeout={SECONDS}", "--format=json"]
    for table, columns in _TABLES.items():
        argv += ["--", f"--columns={columns}", "list", table]
    return parse(commands.must(argv, "Open vSwitch", "reading its database", _REMEDY, timeout=SECONDS + 5))


def write(commands: Commands, sections: Sequence[Sequence[str]], tried: str) -> None:
    """Run ovs-vsctl commands as one transaction and wait until ovs-vswitchd has applied it.  Raises VcError ``backend``.

    A port that ovs-vswitchd cannot open is no failure of the transaction: read back and look at `PortRow.error`.
    """
    if not sections:
        return
    argv = ["ovs-vsctl", f"--timeout={SECONDS}"]
    for section in sections:
        argv += ["--", *section]
    result = commands.run(argv, timeout=SECONDS + 5)
    if result.status != 0:
        raise VcError("backend", "Open vSwitch", tried, result.last_line, _REMEDY)


def batches(items: Iterable[Item], sections: Callable[[Item], Sequence[Sequence[str]]]) -> Iterator[list[Item]]:
    """Parts of a list whose commands fit into the arguments of one process; what one item needs stays in one transaction."""
    part: list[Item] = []
    room = _ARGUMENT_BYTES
    for item in items:
        # As execve counts: the text with its end, and a pointer to it.
        need = sum(len(word.encode()) + 9 for section in sections(item) for word in ["--", *section])
        if part and need > room:
            yield part
            part, room = [], _ARGUMENT_BYTES
        part.append(item)
        room -= need
    if part:
        yield part


def quoted(key: str, value: str) -> str:
    """``column:key=value`` in the quoting that ovs-vsctl wants."""
    return f"{key}={json.dumps(value)}"


def parse(text: str) -> Overlay:
    """The three JSON tables that `read` asks for -> state."""
    bridges, ports, interfaces = list(_tables(text))
    cards = {row["_uuid"]: row for row in interfaces}
    rows = {row["_uuid"]: _port(row, cards) for row in ports}
    networks, damaged, foreign = [], [], {row["name"] for row in interfaces}
    for bridge in bridges:
        ours = "vc-vni" in bridge["external_ids"]
        members = [rows[uuid] for uuid in _many(bridge["ports"]) if uuid in rows]
        if not ours:
            foreign |= {bridge["name"], *(port.name for port in members)}
            continue
        network = _network(bridge, tuple(sorted((port for port in members if port.name != bridge["name"]), key=lambda port: port.name)))
        if network is None:
            # Nobody else's either: all of it stays as it is until an admin has looked.
            names_of_it = {bridge["name"], *(port.name for port in members)}
            damaged.append(Damaged(bridge["name"], str(bridge["external_ids"].get("vc-cluster", "")), frozenset(names_of_it)))
            foreign |= names_of_it
            continue
        networks.append(network)
        foreign -= {network.bridge, *(port.name for port in network.ports if port.role)}
    return Overlay(tuple(sorted(networks, key=lambda network: network.vni)), frozenset(foreign), tuple(damaged))


def _network(bridge: dict[str, Any], ports: tuple[PortRow, ...]) -> Optional[Network]:
    """None for a bridge whose marks somebody has edited."""
    ids = bridge["external_ids"]
    try:
        return Network(
            bridge=bridge["name"],
            vni=addresses.parse_vni(ids["vc-vni"]),
            cluster=names.cluster_name(ids["vc-cluster"]),
            mtu=int(ids["vc-mtu"]),
            declared=ids.get("vc-declared") == "true",
            datapath=_one(bridge["datapath_type"]),
            fail_mode=_one(bridge["fail_mode"]),
            ports=ports,
        )
    except (KeyError, ValueError, VcError):
        return None


def _port(row: dict[str, Any], cards: dict[str, dict[str, Any]]) -> PortRow:
    uuids = _many(row["interfaces"])
    card: dict[str, Any] = cards.get(uuids[0], {}) if uuids else {}
    ofport = _one(card.get("ofport", ""))
    return PortRow(
        name=row["name"],
        protected=row["protected"] is True,
        kind=card.get("type", ""),
        options=card.get("options", {}),
        external_ids=row["external_ids"],
        ofport=ofport if isinstance(ofport, int) else 0,
        error=str(_one(card.get("error", ""))),
    )


def _tables(text: str) -> Iterator[list[dict[str, Any]]]:
    decoder, place, found = json.JSONDecoder(), 0, 0
    text = text.strip()
    try:
        while place < len(text):
            table, place = decoder.raw_decode(text, place)
            place += len(text[place:]) - len(text[place:].lstrip())
            found += 1
            yield [dict(zip(table["headings"], map(_value, row))) for row in table["data"]]
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise VcError("backend", "Open vSwitch", "reading its database", f"unexpected answer: {error}", _REMEDY) from None
    if found != len(_TABLES):
        raise VcError("backend", "Open vSwitch", "reading its database", f"{found} tables instead of {len(_TABLES)}", _REMEDY)


def _value(value: Any) -> Any:
    if isinstance(value, list) and len(value) == 2:
        kind, content = value
        if kind == "map":
            return dict(content)
        if kind == "set":
            return [_value(item) for item in content]
        if kind == "uuid":
            return content
    return value


def _many(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _one(value: Union[Any, list[Any]]) -> Any:
    """A column that holds one value or none, which OVSDB writes as an empty set."""
    if isinstance(value, list):
        return value[0] if value else ""
    return value
