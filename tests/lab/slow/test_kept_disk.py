# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whoever pulls the plug as soon as a frontend is up finds it as it was, and so does whoever pulls it from its host."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.lab import in_process, vault
from tests.lab.guest import ssh
from tests.lab.host import KEYS, python
from tests.lab.virtual_cluster import FRONTEND_HOST, VirtualCluster, lone_frontend, power_cycled

NAME, ADDRESS = "unplugged", "10.79.0.109"
UP_SECONDS = 300
# Kills QEMU at the line of the console that says that the node is up: what the guest had not written by then is lost.
PULL = """
import json, os, signal, sys, time
console, pid, seconds = sys.argv[1], sys.argv[2], float(sys.argv[3])
end = time.monotonic() + seconds
while time.monotonic() < end:
    text = open(console, errors="replace").read() if os.path.exists(console) else ""
    if " is up after " in text:
        os.kill(int(open(pid).read()), signal.SIGKILL)
        break
    time.sleep(0.02)
print(json.dumps(text[-2000:]))
"""
# What the first start has left, by whether it is older than the kernel that runs now.
LOOK = """
import json, os
booted = next(int(line.split()[1]) for line in open("/proc/stat") if line.startswith("btime "))
def kept(path):
    seen = os.stat(path)
    return seen.st_size > 0 and seen.st_mtime < booted
cloud = "/var/lib/cloud/instance/"
paths = ["/etc/ssh/ssh_host_ed25519_key", cloud + "sem/config_ssh", cloud + "sem/config_scripts_user", cloud + "scripts/runcmd"]
print(json.dumps({path: kept(path) for path in paths}))
"""


@pytest.fixture
def unplugged(demo: None) -> Iterator[VirtualCluster]:
    keys = [(KEYS / "labuser_ed25519.pub").read_text(encoding="ascii").strip()]
    public = {"bridge": "br-public", "address": f"{ADDRESS}/24"}
    more = {"memory": "448MiB", "source": {"image": "debian12"}, "public": public}
    with lone_frontend(NAME, "10.19.0.0/24", keys, **more) as cluster:
        yield cluster


def started(cluster: dict[str, Any], **options: Any) -> dict[str, Any]:
    answer = in_process.answers(FRONTEND_HOST, "vc_frontend", [{"cluster": cluster, **options}])[0]
    assert not answer.get("failed"), answer
    return answer


def test_a_frontend_that_has_just_said_that_it_is_up_has_written_its_first_start(unplugged: VirtualCluster) -> None:
    console, pid = f"/var/lib/vc-frontends/{NAME}/console.log", f"/run/libvirt/qemu/{NAME}.frontend.pid"
    started(unplugged.resolved, wait=False)
    said = python(FRONTEND_HOST, PULL, console, pid, str(UP_SECONDS), timeout=UP_SECONDS + 30)
    assert " is up after " in said
    assert started(unplugged.resolved, wait_timeout=UP_SECONDS)["changed"]
    found = json.loads(ssh("python3 -", stdin=LOOK, frontend=ADDRESS))
    assert found == dict.fromkeys(found, True)


def test_the_demo_s_frontend_comes_back_when_its_host_had_lost_power(demo: None) -> None:
    boot = "cat /proc/sys/kernel/random/boot_id"
    before = ssh(boot)
    power_cycled(FRONTEND_HOST)
    assert started(vault.resolved("vc1"), wait_timeout=UP_SECONDS)["actions"] == []
    assert ssh(boot) != before
