# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Running everything again changes nothing, to the byte; one thing broken by hand is repaired by one task."""

from __future__ import annotations

from typing import Any

import pytest

from tests.lab import snapshot
from tests.lab.host import attempt, on, play, python
from tests.lab.recap import changes, totals

# Bytes, not meaning: the database file of Open vSwitch grows with every transaction, also with one that says what was there before.
RAW = """
import glob, hashlib, json, os, subprocess
found = {}
for pattern in ("/srv/vc-vault/**", "/var/lib/vc-vault/**", "/etc/openvswitch/conf.db", "/var/lib/openvswitch/conf.db",
                "/etc/hpc-virtual-cluster/*", "/etc/slurm/**", "/usr/lib/hpc-virtual-cluster/**", "/etc/libvirt/**", "/etc/opensm/*"):
    for path in glob.glob(pattern, recursive=True):
        if os.path.isfile(path):
            state = os.stat(path)
            found[path] = [state.st_mtime_ns, state.st_mode, state.st_uid]
            if state.st_size < 1 << 26:
                found[path].append(hashlib.sha256(open(path, "rb").read()).hexdigest())
def domains(uri, *prefix):
    def virsh(*words):
        return subprocess.run([*prefix, "virsh", "-q", "-c", uri, *words], capture_output=True, text=True).stdout
    for name in virsh("list", "--all", "--name").split():
        found[uri + " " + name] = virsh("dumpxml", name)
if os.path.exists("/run/libvirt/libvirt-sock"):
    domains("qemu:///system")
for path in glob.glob("/run/vc/job/**/libvirt-sock", recursive=True):
    domains("qemu+unix:///session?socket=" + path, "setpriv", "--reuid=2001", "--regid=2001", "--clear-groups")
print(json.dumps(found))
"""


def dump() -> dict[str, Any]:
    found: dict[str, Any] = {
        f"{host} {name}": state for host in ("nas", "fe1", "hv1", "hv2", "head") for name, state in python(host, RAW).items()
    }
    found["jobs"] = sorted(on("head", "squeue", "-h", "-o", "%i %u %j %N %V").splitlines())
    return found


@pytest.mark.usefixtures("demo")
def test_a_second_run_changes_nothing() -> None:
    before = dump()
    assert before["jobs"]
    assert any("dumpxml" not in name and name.startswith("fe1 qemu:///system ") for name in before)
    assert sum("session?socket=" in name for name in before) == 2
    for playbook in ("site.yml", "comet.yml"):
        said = play(playbook).stdout
        assert changes(said) == []
        assert totals(said) == {"changed": 0, "unreachable": 0, "failed": 0}
    after = dump()
    assert {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)} == set()


@pytest.mark.usefixtures("demo")
def test_a_port_removed_by_hand_is_repaired_by_one_task() -> None:
    before = snapshot.take_quiet()
    bridge = next(name for name in on("fe1", "ovs-vsctl", "list-br").split() if name.startswith("vcb"))
    port = next(name for name in on("fe1", "ovs-vsctl", "list-ports", bridge).split() if name.startswith("v"))
    on("fe1", "ovs-vsctl", "del-port", bridge, port)
    assert attempt("fe1", "ovs-vsctl", "port-to-br", port).returncode != 0
    predicted = changes(play("comet.yml", "--check").stdout)
    assert attempt("fe1", "ovs-vsctl", "port-to-br", port).returncode != 0
    done = changes(play("comet.yml").stdout)
    assert len(done) == 1, done
    assert predicted == done
    snapshot.unchanged(before, timeout=10)
