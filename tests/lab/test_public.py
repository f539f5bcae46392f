# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What root of a frontend can put on the public network: frames of its own card with its own address, whatever it tries."""

from __future__ import annotations

import concurrent.futures
import json
import pathlib
import sys
import tempfile

import pytest

from tests.lab.frames import LISTEN, SEND
from tests.lab.guest import ssh
from tests.lab.host import attempt, finished, on
from tests.lab.virtual_cluster import awaited

HOST, DOMAIN, ADDRESS, MAC = "fe1", "vc1.frontend", "10.79.0.101", "06:00:27:11:00:00"
# The machine's own leg on the frontends' wire, as another host there.
LEG, LEG_ADDRESS = "vc-pub", "10.79.0.254"
STRANGER, STRANGER_ADDRESS = "06:00:27:11:00:99", "10.79.0.102"
ALLOWED = ["arp", "arp-probe", "broadcast", "dhcp-question", "udp"]
CARD = "import glob; print(*(path.split('/')[4] for path in glob.glob('/sys/class/net/*/address') if open(path).read().strip() == '%s'))"


def heard() -> list[str]:
    """The frontend sends everything; what arrives at another host on its wire."""
    leg = pathlib.Path(f"/sys/class/net/{LEG}/address").read_text(encoding="utf-8").strip()
    card = ssh("python3 -", stdin=CARD % MAC).strip()
    given = json.dumps([card, MAC, ADDRESS, leg, LEG_ADDRESS, STRANGER, STRANGER_ADDRESS])
    with concurrent.futures.ThreadPoolExecutor() as pool, tempfile.TemporaryDirectory() as directory:
        stage = pathlib.Path(directory) / "frames"
        ear = pool.submit(finished, [sys.executable, "-I", "-", json.dumps([90, str(stage), LEG])], LISTEN)
        awaited(stage.with_suffix(".ready").exists, "somebody who listens", 30)
        ssh(f"python3 - '{given}'", stdin=SEND)
        assert not ear.done()
        stage.with_suffix(".said").touch()
        listened = ear.result()
        assert listened.returncode == 0, listened.stderr
        marks: list[str] = json.loads(listened.stdout)[LEG]
    return [mark for mark in marks if mark != "unmarked"]


@pytest.mark.usefixtures("demo")
def test_a_frontend_can_only_be_itself_on_the_public_network() -> None:
    assert heard() == ALLOWED


@pytest.mark.usefixtures("demo")
def test_it_still_can_when_the_sites_own_rules_are_loaded_again() -> None:
    # Not with ebtables, which fails when libvirt writes while it looks.
    def rules() -> list[str]:
        listed = attempt(HOST, "nft", "--stateless", "list", "table", "bridge", "nat").stdout
        return sorted(line.strip() for line in listed.splitlines())

    before = rules()
    assert f"ether saddr != {MAC} counter drop" in before
    on(HOST, "systemctl", "restart", "nftables.service")
    awaited(lambda: rules() == before, "the frontend's rules as before")
    assert heard() == ALLOWED
