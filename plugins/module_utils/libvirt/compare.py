# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a domain is still what we said.  Pure.

libvirt completes what it is given: addresses, aliases, controllers, a versioned machine type.  So text is never compared.  Everything we
said has to be there, and of the devices that a guest's identity depends on there must not be more.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Optional
from xml.etree import ElementTree

# Of these there may be only as many as we said.
_COUNTED = {"disk", "interface"}
# libvirt adds some of these by itself; ours is found by what it is, not by its place.
_KEYS = {"disk": "target/dev", "interface": "mac/address", "channel": "target/name", "controller": "./type"}
_SIZES = ("memory", "tb-cache")
_KIB = {"b": 1 / 1024, "KiB": 1, "MiB": 1024, "GiB": 1024 * 1024}


def differences(wanted: str, current: str) -> list[str]:
    """Paths of what `wanted` says and `current` does not, e.g. ``domain/vcpu``; empty when nothing has to be done."""
    return sorted(set(_differences(ElementTree.fromstring(wanted), ElementTree.fromstring(current), "domain")))


def _differences(wanted: ElementTree.Element, current: ElementTree.Element, path: str) -> Iterator[str]:
    if wanted.tag in _SIZES:
        if _kib(wanted) != _kib(current):
            yield path
        return
    if (wanted.text or "").strip() != (current.text or "").strip():
        yield path
    for name, value in wanted.attrib.items():
        if not _same(wanted.tag, name, value, current.attrib.get(name)):
            yield f"{path}@{name}"
    used: list[ElementTree.Element] = []
    for child in wanted:
        label = child.tag.rpartition("}")[2]
        found = _counterpart(child, current, used)
        if found is None:
            yield f"{path}/{label}"
        else:
            used.append(found)
            yield from _differences(child, found, f"{path}/{label}")
    for tag in _COUNTED & {child.tag for child in [*wanted, *current]}:
        if len(wanted.findall(tag)) < len(current.findall(tag)):
            yield f"{path}/{tag}"


def _counterpart(
    child: ElementTree.Element, current: ElementTree.Element, used: list[ElementTree.Element]
) -> Optional[ElementTree.Element]:
    key = _KEYS.get(child.tag)
    for candidate in current.findall(child.tag):
        if any(candidate is other for other in used):
            continue
        if key is None or _value(candidate, key) == _value(child, key):
            return candidate
    return None


def _value(element: ElementTree.Element, key: str) -> Optional[str]:
    tag, _slash, attribute = key.rpartition("/")
    found = element.find(tag)
    return None if found is None else found.get(attribute)


def _same(tag: str, name: str, wanted: str, current: Optional[str]) -> bool:
    if tag == "type" and name == "machine" and current is not None:
        # q35 is stored as the newest pc-q35-N.N at the time of definition.
        return current == wanted or current.startswith(f"pc-{wanted}-")
    return wanted == current


def _kib(element: ElementTree.Element) -> float:
    return int(element.text or "0") * _KIB.get(element.get("unit", "KiB"), 0)
