# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the roles leave on hosts survives the death of what it leans on, and lets nobody past it."""

from __future__ import annotations

import json
import re

import pytest

from tests.lab.host import attempt, on
from tests.lab.virtual_cluster import awaited

BRIDGE = "vcb10001"
SEND = "import socket, sys; socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', (sys.argv[1], 4789))"


def flows(host: str) -> set[str]:
    """Matches and actions on vc1's bridge, without counters and ages."""
    dumped = attempt(host, "ovs-ofctl", "--no-stats", "--no-names", "dump-flows", BRIDGE).stdout
    return {line.strip() for line in dumped.splitlines() if "actions=" in line}


def targets() -> dict[str, bool]:
    """The vault's targets and whether somebody is logged in."""
    shown = on("nas", "tgtadm", "--mode", "target", "--op", "show")
    parts = re.split(r"(?m)^Target \d+: ", shown)[1:]
    return {part.split("\n", 1)[0].strip(): "Connection:" in part for part in parts}


@pytest.mark.usefixtures("demo")
def test_only_root_sends_vxlan() -> None:
    refused = attempt("hv1", "/usr/bin/python3", "-c", SEND, "10.88.0.22", user="labuser")
    assert refused.returncode != 0
    assert "Operation not permitted" in refused.stderr
    on("hv1", "/usr/bin/python3", "-c", SEND, "10.88.0.22")
    assert attempt("hv1", "/usr/bin/python3", "-c", SEND.replace("4789", "4790"), "10.88.0.22", user="labuser").returncode == 0


@pytest.mark.parametrize(
    "end",
    [
        ["systemctl", "restart", "openvswitch-switch.service"],
        ["sh", "-c", "kill -SEGV $(cat /run/openvswitch/ovs-vswitchd.pid)"],
        ["sh", "-c", "kill -KILL $(cat /run/openvswitch/ovs-vswitchd.pid)"],
    ],
    ids=["restart", "crash", "kill"],
)
@pytest.mark.usefixtures("demo")
def test_flows_come_back_with_open_vswitch(end: list[str]) -> None:
    before = flows("hv2")
    assert len(before) > 1
    daemon = on("hv2", "cat", "/run/openvswitch/ovs-vswitchd.pid")
    on("hv2", *end)
    awaited(lambda: attempt("hv2", "cat", "/run/openvswitch/ovs-vswitchd.pid").stdout not in ("", daemon), "another ovs-vswitchd")
    awaited(lambda: flows("hv2") == before, f"the flows of {BRIDGE} as before")
    awaited(lambda: "10.88.0.22" in on("hv2", "ip", "-4", "address", "show", "dev", "br-phy", "up"), "the tunnels' address")


@pytest.mark.usefixtures("demo")
def test_exports_come_back_with_the_target_daemon() -> None:
    before = {name for name, used in targets().items() if used}
    assert before
    on("nas", "systemctl", "restart", "tgt.service")
    assert before <= set(targets())
    awaited(lambda: before <= {name for name, used in targets().items() if used}, "every guest's session as before", timeout=90)


def test_the_target_daemon_waits_for_the_vaults_file_system() -> None:
    assert on("nas", "systemctl", "show", "--property=RequiresMountsFor", "--value", "tgt.service").split() == ["/srv/vc-vault"]


@pytest.mark.usefixtures("demo")
def test_a_hosts_key_opens_one_command_and_nothing_else() -> None:
    ssh = ["ssh", "-F", "none", "-o", "BatchMode=yes", "-o", "UserKnownHostsFile=/etc/hpc-virtual-cluster/known_hosts"]
    login = [*ssh, "-i", "/etc/hpc-virtual-cluster/vault_key", "root@10.77.0.12"]
    answer = json.loads(on("hv1", *login, "cat /etc/shadow", stdin="{}"))
    assert answer["ok"] is False
    forwarded = attempt("hv1", *ssh, "-i", "/etc/hpc-virtual-cluster/vault_key", "-W", "127.0.0.1:22", "root@10.77.0.12")
    assert "SSH-2.0" not in forwarded.stdout


@pytest.mark.usefixtures("demo")
def test_the_key_of_one_host_is_worth_nothing_on_another() -> None:
    key = on("hv1", "cat", "/etc/hpc-virtual-cluster/vault_key")
    options = "-F none -o BatchMode=yes -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null"
    script = f"umask 077; cat > /run/stolen; ssh {options} -i /run/stolen root@10.77.0.12 true; status=$?; rm /run/stolen; exit $status"
    stolen = attempt("head", "sh", "-c", script, stdin=key)
    assert stolen.returncode != 0
    assert "Permission denied" in stolen.stderr


@pytest.mark.usefixtures("demo")
def test_the_probe_says_tcg_at_once_where_there_is_no_device() -> None:
    assert json.loads(on("hv1", "cat", "/etc/hpc-virtual-cluster/host.json"))["accelerator"] == "tcg"
    found = json.loads(on("hv1", "/usr/lib/hpc-virtual-cluster/bin/vc-probe"))
    assert (found["accelerator"], found["changed"]) == ("tcg", False)


@pytest.mark.usefixtures("demo")
def test_programs_are_compiled_where_they_are() -> None:
    """Else each start compiles all that it imports."""
    for host in ("nas", "fe1", "hv1"):
        sources, compiled = (on(host, "find", "/usr/lib/hpc-virtual-cluster", "-name", name).split() for name in ("*.py", "*.pyc"))
        assert sources
        assert len(compiled) == len(sources)
