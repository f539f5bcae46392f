# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""README's commands on a machine that has nothing but Debian 12, `git`, `make` and `python3`.

As a container it is as fast as this machine; with `--emulated` it has a kernel and a boot of its own, and takes hours.
"""

from __future__ import annotations

import os
import pathlib
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from vclab import container, machine, machine_image

from tests.lab.host import ROOT, finished

EMULATED = machine.Machine("fresh", machine_image.PLAIN, 7168, 2278, cpus=2)
CONTAINER = container.plan("plain", machine_image.PLAIN)
# An emulated machine takes about this many times as long as a real one.
SLOWNESS = 30
# How this machine reaches package mirror and Python index; paths of its own are left out, but for the certificates.
CARRIED = ("http_proxy", "https_proxy", "no_proxy", "PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_TRUSTED_HOST", "PIP_DEFAULT_TIMEOUT")
CERTIFICATES = "/root/certificates.pem"


@dataclass(frozen=True)
class Fresh:
    """The machine, with a clone of what is committed."""

    machine: machine.Machine
    slowness: int

    def run(self, command: str) -> int:
        """A shell line in the clone, its output shown as it comes: a person wants to see how far it is."""
        settings = {name: os.environ[name] for name in CARRIED if name in os.environ}
        settings |= {"YES": "1", "VC_LAB_SLOWNESS": str(self.slowness)}
        if os.environ.get("PIP_CERT"):
            settings["PIP_CERT"] = CERTIFICATES
        said = " ".join(f"{name}={shlex.quote(value)}" for name, value in settings.items())
        argv = self.machine.ssh(f"cd /root/virtual_cluster 2>/dev/null; env {said} {command}")
        return subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=sys.stdout, stderr=sys.stderr, check=False).returncode


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Fresh]:
    """After a failure it is left for whoever wants to look; the next run replaces it."""
    emulated = request.config.getoption("--emulated")
    found = Fresh(EMULATED, SLOWNESS) if emulated else Fresh(CONTAINER, 1)
    carrier = machine if emulated else container
    print(f"machine up in {carrier.start(found.machine):.0f} s", flush=True)
    bundle = tmp_path_factory.mktemp("fresh") / "head.bundle"
    finished(["git", "-C", str(ROOT), "bundle", "create", str(bundle), "HEAD"])
    machine.put(found.machine, bundle, "/root/head.bundle")
    if certificates := os.environ.get("PIP_CERT"):
        machine.put(found.machine, pathlib.Path(certificates), CERTIFICATES)
        # ansible-test hands no variables of pip's on.
        assert found.run(f"printf '[global]\\ncert = {CERTIFICATES}\\n' > /etc/pip.conf") == 0
    assert found.run("git clone -q /root/head.bundle /root/virtual_cluster") == 0
    yield found
    if not request.session.testsfailed:
        carrier.stop(found.machine)


def test_the_demo_comes_up(fresh: Fresh) -> None:
    assert fresh.run("make demo") == 0
    assert fresh.run("ssh -F .cache/lab/ssh_config vc1 ssh compute0 hostname | grep -qx compute0") == 0


def test_the_tests_pass(fresh: Fresh) -> None:
    assert fresh.run("make test") == 0


def test_the_demo_goes_away(fresh: Fresh) -> None:
    assert fresh.run("make demo-down") == 0
    assert fresh.run("ip netns list | wc -l | grep -qx 0") == 0
