# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Running everything again changes nothing, to the byte; one thing broken by hand is repaired by one task."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.lab import snapshot
from tests.lab.host import attempt, on, play, python

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


def changes(recap: str) -> list[str]:
    """Every task result that says changed, with its task."""
    task, found = "", []
    for line in recap.splitlines():
        if line.startswith("TASK ["):
            task = line.split("[", 1)[1].split("]")[0]
        elif line.startswith("changed: ["):
            found.append(f"{task}: {line}")
    return found


def totals(recap: str) -> dict[str, int]:
    lines = re.findall(r"ok=\d+ .*", recap.split("PLAY RECAP", 1)[1])
    assert lines
    return {
        word: sum(int(number) for line in lines for number in re.findall(rf"{word}=(\d+)", line))
        for word in ("changed", "unreachable", "failed")
    }


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


@pytest.mark.usefixtures("demo")
def test_what_an_ended_run_had_only_written_is_put_in_force_by_the_next() -> None:
    """As if each role had been ended between its files and what makes the host go by them."""
    settings = "/etc/hpc-virtual-cluster"
    places = {"overlay_host": "hv1", "frontend_host": "fe1", "vault": "nas", "gate": "head"}
    daemons = {("nas", "tgt.service"): "ActiveEnter", ("nas", "ssh.service"): "StateChange", ("head", "ssh.service"): "StateChange"}

    def since() -> list[str]:
        asked = [(host, unit, f"--property={moment}TimestampMonotonic") for (host, unit), moment in daemons.items()]
        return [on(host, "systemctl", "show", moment, unit) for host, unit, moment in asked]

    wanted = on("fe1", "cat", f"{settings}/public-filter.xml")
    older = re.sub(r" *<rule [^>]*>\s*<arp [^>]*0\.0\.0\.0'/>\s*</rule>\n", "", wanted)
    assert older != wanted
    before, rules = since(), on("fe1", "virsh", "nwfilter-dumpxml", "vc-public")
    on("fe1", "virsh", "-q", "nwfilter-define", "/dev/stdin", stdin=older)
    assert on("fe1", "virsh", "nwfilter-dumpxml", "vc-public") != rules
    on("hv1", "nft", "delete", "element", "inet", "vc_underlay", "peers", "{ 10.88.0.22 }")
    for role, host in places.items():
        on(host, "tee", f"{settings}/{role}.in-force", stdin="of an older release")
    only = ["--limit", ",".join(places.values()), "--tags", "network,frontend,vault,gate"]
    assert changes(play("site.yml", *only).stdout)
    assert "10.88.0.22" in on("hv1", "nft", "list", "set", "inet", "vc_underlay", "peers")
    assert on("fe1", "virsh", "nwfilter-dumpxml", "vc-public") == rules
    assert not set(since()) & set(before)
