# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""README's commands on a machine that has nothing but Debian 12, `git`, `make` and `python3`; hours, under an emulator."""

from __future__ import annotations

import os
import pathlib
import shlex
import subprocess
import sys
from collections.abc import Iterator

import pytest
from vclab import machine, machine_image

from tests.lab.host import ROOT, finished

FRESH = machine.Machine("fresh", machine_image.PLAIN, 7168, 2278, cpus=2)
# An emulated machine takes about this many times as long as a real one.
SLOWNESS = 30
# How this machine reaches package mirror and Python index; paths of its own are left out, but for the certificates.
CARRIED = ("http_proxy", "https_proxy", "no_proxy", "PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_TRUSTED_HOST", "PIP_DEFAULT_TIMEOUT")
CERTIFICATES = "/root/certificates.pem"


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[None]:
    """The machine, with a clone of what is committed. After a failure it is left for whoever wants to look; the next run replaces it."""
    booted = machine.start(FRESH)
    print(f"machine up in {booted:.0f} s", flush=True)
    bundle = tmp_path_factory.mktemp("fresh") / "head.bundle"
    finished(["git", "-C", str(ROOT), "bundle", "create", str(bundle), "HEAD"])
    machine.put(FRESH, bundle, "/root/head.bundle")
    if certificates := os.environ.get("PIP_CERT"):
        machine.put(FRESH, pathlib.Path(certificates), CERTIFICATES)
    assert run("git clone -q /root/head.bundle /root/virtual_cluster") == 0
    yield
    if not request.session.testsfailed:
        machine.stop(FRESH)


def run(command: str) -> int:
    """A shell line in the clone, its output shown as it comes: a person wants to see how far it is."""
    settings = {name: os.environ[name] for name in CARRIED if name in os.environ}
    settings |= {"YES": "1", "VC_LAB_SLOWNESS": str(SLOWNESS)}
    if os.environ.get("PIP_CERT"):
        settings["PIP_CERT"] = CERTIFICATES
    said = " ".join(f"{name}={shlex.quote(value)}" for name, value in settings.items())
    place = "/root/virtual_cluster"
    line = f"cd {place} 2>/dev/null; env {said} {command}"
    return subprocess.run(FRESH.ssh(line), stdin=subprocess.DEVNULL, stdout=sys.stdout, stderr=sys.stderr, check=False).returncode


@pytest.mark.usefixtures("fresh")
def test_the_demo_comes_up() -> None:
    assert run("make demo") == 0
    assert run("ssh -F .cache/lab/ssh_config vc1 ssh compute0 hostname | grep -qx compute0") == 0


@pytest.mark.usefixtures("fresh")
def test_the_tests_pass() -> None:
    assert run("make test") == 0


@pytest.mark.usefixtures("fresh")
def test_the_demo_goes_away() -> None:
    assert run("make demo-down") == 0
    assert run("ip netns list | wc -l | grep -qx 0") == 0
