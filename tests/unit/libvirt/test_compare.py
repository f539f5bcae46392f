# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A domain is compared with what we said, not with what libvirt made of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from xml.etree import ElementTree

import pytest
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.libvirt.compare import differences
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.libvirt.domain import Interface, domain_xml

from tests.unit.libvirt.test_domain import made

_PUBLIC = Interface(mac="06:00:27:11:00:01", bridge="br-public")


def completed(xml: str) -> ElementTree.Element:
    """What libvirt 9.0 makes of a definition: other units, a versioned machine, devices and addresses that nobody asked for."""
    root = ElementTree.fromstring(xml)
    memory = root.find("memory")
    assert memory is not None
    memory.text, memory.attrib["unit"] = str(int(memory.text or "0") * 1024), "KiB"
    cache = root.find("./features/tcg/tb-cache")
    assert cache is not None
    cache.text, cache.attrib["unit"] = str(int(cache.text or "0") * 1024), "KiB"
    kind = root.find("./os/type")
    assert kind is not None
    kind.attrib["machine"] = "pc-q35-7.2"
    ElementTree.SubElement(root, "currentMemory", unit="KiB").text = memory.text
    devices = root.find("devices")
    assert devices is not None
    ElementTree.SubElement(devices, "emulator").text = "/usr/bin/qemu-system-x86_64"
    devices.insert(0, ElementTree.Element("controller", type="pci", index="0", model="pcie-root"))
    devices.insert(0, ElementTree.Element("input", type="mouse", bus="ps2"))
    for device in devices:
        ElementTree.SubElement(device, "address", type="pci", domain="0x0000")
    return root


def text(root: ElementTree.Element) -> str:
    return ElementTree.tostring(root, encoding="unicode")


def test_what_libvirt_adds_is_no_difference() -> None:
    wanted = domain_xml(made(interfaces=(*made().interfaces, _PUBLIC)))
    assert differences(wanted, text(completed(wanted))) == []


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"cpus": 3}, "domain/vcpu"),
        ({"memory_mib": 1024}, "domain/memory"),
        ({"overlay": "/elsewhere.qcow2"}, "domain/devices/disk/source@file"),
        ({"export": replace(made().export, iqn="iqn.other")}, "domain/devices/disk/backingStore/source@name"),
        ({"metadata": {"epoch": "4"}}, "domain/metadata/node@epoch"),
        ({"interfaces": (replace(made().interfaces[0], mac="02:00:27:11:00:09"),)}, "domain/devices/interface"),
        ({"interfaces": (replace(made().interfaces[0], tap="t002711n9"),)}, "domain/devices/interface/target@dev"),
        ({"interfaces": (replace(made().interfaces[0], userspace=False),)}, ""),
        ({"interfaces": (*made().interfaces, _PUBLIC)}, "domain/devices/interface"),
        ({"interfaces": ()}, "domain/devices/interface"),
        ({"seed": ""}, "domain/devices/disk"),
        ({"console_log": "/elsewhere.log"}, "domain/devices/serial/source@path"),
    ],
)
def test_what_we_changed_our_mind_about_is_found(change: dict[str, Any], path: str) -> None:
    current = text(completed(domain_xml(made())))
    found = differences(domain_xml(replace(made(), **change)), current)
    assert (path in found) if path else not found, found


def test_a_disk_or_card_that_somebody_added_is_found() -> None:
    for tag in ("disk", "interface"):
        root = completed(domain_xml(made()))
        devices = root.find("devices")
        assert devices is not None
        ElementTree.SubElement(devices, tag, type="file")
        assert differences(domain_xml(made()), text(root)) == [f"domain/devices/{tag}"]
