# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How sources are reached, what is sent to a frontend host, and that no name chosen by somebody leads into a group of somebody else."""

from __future__ import annotations

import itertools
import json
import pathlib
import shlex
import subprocess
import sys

import pytest
from ansible_collections.hpc.virtual_cluster.plugins.module_utils import host_config
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.inventory import reader, source
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.inventory.hosts import cluster_group, computeset_group
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.model.errors import VcError
from hypothesis import given
from hypothesis import strategies as st

NAMES = st.from_regex(r"[a-z](?:[a-z0-9-]{0,8}[a-z0-9])?", fullmatch=True)

# As much of libvirt's Python binding as the reader asks for.
LIBVIRT = """
class libvirtError(Exception): pass
VIR_DOMAIN_XML_INACTIVE = 2
VIR_DOMAIN_RUNNING, VIR_DOMAIN_BLOCKED, VIR_DOMAIN_PAUSED = 1, 2, 3
VIR_DOMAIN_SHUTDOWN, VIR_DOMAIN_CRASHED, VIR_DOMAIN_PMSUSPENDED = 4, 6, 7
VIR_DOMAIN_SHUTOFF_CRASHED = 3
class Domain:
    def __init__(self, name, mark): self._name, self._mark = name, mark
    def XMLDesc(self, flags): return "<domain><metadata>" + self._mark + "</metadata></domain>"
    def name(self): return self._name
    def state(self): return [1, 1]
    def autostart(self): return 1
class Connection:
    def listAllDomains(self):
        mark = '<v:node xmlns:v="https://hpc-virtual-cluster.example/node/1" cluster="vc1" node="frontend"/>'
        return [Domain("vc1.frontend", mark), Domain("foreign", "")]
    def close(self): pass
def registerErrorHandler(handler, context): pass
def open(uri):
    if FAILS: raise libvirtError("Failed to connect socket")
    return Connection()
"""


def frontend_host(directory: pathlib.Path, fails: bool) -> subprocess.CompletedProcess[str]:
    (directory / "libvirt.py").write_text(f"FAILS = {fails}\n{LIBVIRT}", encoding="utf-8")
    (directory / "libvirt_qemu.py").touch()
    program = f"import sys; sys.path.insert(0, {str(directory)!r})\n{reader.frontend_reader()}"
    program = program.replace(host_config.PATH, str(directory / "host.json"))
    return subprocess.run([sys.executable, "-I", "-"], input=program, capture_output=True, text=True, check=False)


def test_the_reader_needs_nothing_on_the_frontend_host_but_libvirt(tmp_path: pathlib.Path) -> None:
    done = frontend_host(tmp_path, fails=False)
    assert done.stderr == ""
    found = {"cluster": "vc1", "node": "frontend", "domain": "vc1.frontend", "state": "running", "autostart": True, "host": ""}
    assert json.loads(done.stdout) == {"frontends": [found]}


def test_the_reader_says_what_leases_call_the_host(tmp_path: pathlib.Path) -> None:
    about = {"schema": 1, "name": "fe1", "accelerator": "tcg", "vault": {"address": "192.0.2.1", "user": "root"}}
    (tmp_path / "host.json").write_text(json.dumps(about), encoding="utf-8")
    assert json.loads(frontend_host(tmp_path, fails=False).stdout)["frontends"][0]["host"] == "fe1"


def test_the_reader_says_why_it_failed(tmp_path: pathlib.Path) -> None:
    done = frontend_host(tmp_path, fails=True)
    assert done.returncode == 1
    assert "connecting to libvirt failed: Failed to connect socket" in done.stderr.splitlines()[-1]


def test_ssh_is_told_everything_in_words_of_its_own(tmp_path: pathlib.Path) -> None:
    given_ = {
        "host": "nas",
        "user": "$(id)",
        "port": 2222,
        "private_key_file": "a key",
        "known_hosts_file": "~/known",
        "command": ["a b", ";id"],
    }
    (vault,) = source.parse({"vault": {**given_, "ssh_args": ["-4"]}}, str(tmp_path))
    argv = vault.argv()
    assert argv[-2:] == ["nas", "'a b' ';id'"]
    assert argv[-3] == "--"
    assert argv[argv.index("-i") + 1] == str(tmp_path / "a key")
    assert argv[argv.index("-l") + 1] == "$(id)"
    assert f"UserKnownHostsFile={pathlib.Path('~/known').expanduser()}" in argv
    assert {"-4", "2222", "BatchMode=yes", "StrictHostKeyChecking=yes"} <= set(argv)


def test_defaults_leave_it_to_ssh() -> None:
    vault, slurm, libvirt = source.parse({"vault": {"host": "nas"}, "slurm": {"host": "login1"}, "libvirt": [{"host": "fe1"}]}, "/")
    assert vault.argv()[-2:] == ["nas", "/usr/lib/hpc-virtual-cluster/bin/vc-vault status"]
    assert slurm.argv()[-2:] == ["login1", "squeue --json --states=all"]
    assert shlex.split(libvirt.argv()[-1]) == ["/usr/bin/python3", "-I", "-"]
    assert not {"-i", "-l", "-p"} & set(vault.argv())


def test_an_ssh_that_fails_is_named_with_the_way_to_try_it(tmp_path: pathlib.Path) -> None:
    (vault,) = source.parse({"vault": {"host": "127.0.0.1", "port": 1, "ssh_args": ["-F", "none"]}}, str(tmp_path))
    with pytest.raises(VcError) as caught:
        source.read([vault], 20)
    assert (caught.value.code, caught.value.item) == ("unreachable", "source vault (127.0.0.1)")
    assert "refused" in caught.value.detail
    assert "run by hand: ssh -T" in caught.value.remedy


@given(NAMES, NAMES, NAMES, NAMES)
def test_group_names_are_nobody_elses(one: str, other: str, computeset: str, another: str) -> None:
    groups = {("cluster", name): cluster_group(name) for name in (one, other)}
    sets = itertools.product((one, other), (computeset, another))
    groups |= {("set", *pair): computeset_group(*pair) for pair in sets}
    assert len(set(groups.values())) == len(groups)
    assert all(group.isidentifier() for group in groups.values())


def test_group_names_that_are_close() -> None:
    assert cluster_group("my-vc") == "my_vc"
    assert computeset_group("vc1", "sim") == "vc1__sim"
    pairs = [("a", "b-c"), ("a-b", "c"), ("a", "b--c"), ("a--b", "c"), ("a-d", "b"), ("a", "d-b")]
    groups = [computeset_group(*pair) for pair in pairs] + [cluster_group(name) for name in ("a-b", "a--b", "a---b", "a-d-b", "a-b-c")]
    assert len(set(groups)) == len(groups)
    assert [cluster_group(name) for name in ("all", "ungrouped", "vc-nodes", "vc-state-off", "vc-role-compute")] == [
        "_all",
        "_ungrouped",
        "_vc_nodes",
        "_vc_state_off",
        "_vc_role_compute",
    ]
