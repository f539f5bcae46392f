# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the first page says it was tested with, and what a host really has."""

from __future__ import annotations

import re

from tests.lab.host import ROOT, on

PACKAGES = {
    "Slurm": "slurm-client",
    "libvirt": "libvirt-daemon",
    "QEMU": "qemu-system-x86",
    "Open vSwitch": "openvswitch-switch",
    "tgt": "tgt",
    "MariaDB": "mariadb-server",
}


def claimed(debian: str) -> dict[str, str]:
    """Versions by name, from the sentence about a Debian release."""
    page = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    sentence = re.findall(rf"Debian {debian}: (.*?);", page)[-1]
    return {name: version for name, _space, version in (part.rpartition(" ") for part in sentence.split(", "))}


def differing(debian: str, host: str) -> dict[str, tuple[str, str]]:
    """What is claimed and what is installed, where that is not the same."""
    said = claimed(debian)
    assert said.keys() == PACKAGES.keys()
    found = {}
    for name, package in PACKAGES.items():
        version = on(host, "dpkg-query", "-W", "-f", "${Version}", package).rpartition(":")[2]
        if not re.match(rf"{re.escape(said[name])}(?![0-9])", version):
            found[name] = (said[name], version)
    return found
