# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Taps that Open vSwitch has taken down are brought up again where they are; the taps are real ones, in a name space of the test's own."""

from __future__ import annotations

from pathlib import Path

from tests.unit.apart import needs_root, run_apart

_PRELUDE = """
import subprocess, sys
from pathlib import Path
subprocess.run(["mount", "-t", "sysfs", "sysfs", "/sys"], check=True)
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.command import Commands
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.model.errors import VcError
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.overlay import flows, ovsdb, ports, taps
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.overlay.state import Overlay
from tests.unit.overlay.switch import HOST, carried_out, network, port

one, two = port(user_id=0, holder="frontend:vc1"), port(2, user_id=0, holder="frontend:vc1")
overlay, written = Overlay((network(one),)), []

def device(tap):
    return int(Path(f"/sys/class/net/{tap}/ifindex").read_text())

def switch_opens(*opened):
    # It reads the flags, and writes them back with one more when the tap has come up.
    for tap in opened:
        subprocess.run(["ip", "link", "set", "dev", tap, "down", "arp", "on"], check=True)

def write(commands, sections, tried):
    global overlay
    written.extend(sections)
    overlay = carried_out(overlay, sections)
    switch_opens(*(section[2] for section in sections if section[0] == "add-port"))

ports._LOCK = Path(sys.argv[1]) / "overlay.lock"
ovsdb.read, ovsdb.write = lambda commands: overlay, write
flows.install = lambda network, patience=None: None
taps.guard = lambda commands: None
taps.underlay = lambda commands, address: None
"""

pytestmark = needs_root


def run(root: Path, program: str) -> None:
    run_apart(_PRELUDE + program, root, "--net", "--mount")


def test_a_tap_that_the_switch_took_down_at_boot_is_up(tmp_path: Path) -> None:
    run(
        tmp_path,
        """
assert ports.restore(Commands()) == ["vcb10001"]
assert [section[0] for section in written][:2] == ["del-port", "add-port"]
assert taps.usable(one)
""",
    )


def test_one_that_is_still_down_from_an_earlier_try_as_well(tmp_path: Path) -> None:
    run(
        tmp_path,
        """
taps.make(Commands(), [one])
switch_opens(one.tap)
assert ports.restore(Commands()) == ["vcb10001"]
assert not written
assert taps.usable(one)
""",
    )


def test_a_guest_keeps_its_tap_when_that_is_mended(tmp_path: Path) -> None:
    run(
        tmp_path,
        """
taps.make(Commands(), [one])
before = device(one.tap)
for harm in (["down"], ["mtu", "1400"], ["group", "0"], ["arp", "on"]):
    subprocess.run(["ip", "link", "set", "dev", one.tap, *harm], check=True)
    assert ports.state_of(Commands(), HOST, one) == "outdated"
    ports.attach(Commands(), HOST, [one])
    assert taps.usable(one)
assert device(one.tap) == before
assert not written
ports.attach(Commands(), HOST, [one, two])
assert taps.usable(two)
assert device(one.tap) == before
""",
    )


def test_a_tap_of_another_user_is_none_of_the_ports(tmp_path: Path) -> None:
    run(
        tmp_path,
        """
taps.make(Commands(), [port(user_id=7, holder="frontend:vc1")])
before = device(one.tap)
try:
    ports.restore(Commands())
    raise AssertionError("restored")
except VcError as error:
    assert one.tap in error.item
ports.attach(Commands(), HOST, [one])
assert taps.usable(one)
assert device(one.tap) != before
""",
    )


def test_one_that_another_holder_had_is_not_taken_over_after_an_ended_run(tmp_path: Path) -> None:
    run(
        tmp_path,
        """
taps.make(Commands(), [one])
class Killed(BaseException):
    pass
def killed(commands, sections, tried):
    write(commands, sections, tried)
    raise Killed
next_holder = port(user_id=0, holder="job:9.0")
before, ovsdb.write = device(one.tap), killed
try:
    ports.attach(Commands(), HOST, [next_holder])
    raise AssertionError("attached")
except Killed:
    ovsdb.write = write
# Whoever held it has no way back onto the wire.
ports.attach(Commands(), HOST, [next_holder])
assert taps.usable(next_holder)
assert device(one.tap) != before
""",
    )
