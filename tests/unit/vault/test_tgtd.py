# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Exports in a real tgtd, opened by QEMU's own initiator."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.vault.iscsi import Export, Exports
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.vault.lease_record import Caller
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.vault.tgtd import Tgtd, parse_targets

from tests.unit.refusal import refused
from tests.unit.vault.conftest import Daemon
from tests.unit.vault.site import Site, job


def opening(export: dict[str, Any], secret: Path, *commands: str, user: str = "", readonly: bool = True) -> list[str]:
    """The command line that opens an export with QEMU's own initiator."""
    image = {
        "driver": "raw",
        "file.driver": "iscsi",
        "file.transport": "tcp",
        "file.portal": export["portal"],
        "file.target": export["iqn"],
        "file.lun": str(export["lun"]),
        "file.user": user or export["chap_user"],
        "file.password-secret": "chap",
        "file.timeout": "5",
    }
    argv = [
        "qemu-io",
        "--object",
        f"secret,id=chap,file={secret}",
        "--image-opts",
        ",".join(f"{key}={value}" for key, value in image.items()),
    ]
    argv += ["-r"] if readonly else []
    for command in commands:
        argv += ["-c", command]
    return argv


def open_disk(
    export: dict[str, Any], secret: Path, *commands: str, user: str = "", readonly: bool = True
) -> subprocess.CompletedProcess[str]:
    argv = opening(export, secret, *commands, user=user, readonly=readonly)
    return subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False)


@pytest.fixture
def served(site: Site, daemon: Daemon) -> tuple[Site, Caller]:
    supported = subprocess.run(["qemu-img", "--help"], capture_output=True, text=True, check=False).stdout
    if "iscsi" not in supported:
        pytest.skip("QEMU has no iSCSI driver here (package qemu-block-extra)")
    site.tgtd = Tgtd(daemon.socket)
    return site, Caller("hv1", "127.0.0.1", daemon.portal)


def test_a_lease_opens_its_export_and_nothing_else_does(served: tuple[Site, Caller], tmp_path: Path) -> None:
    site, hv1 = served
    answer = site.leases.lease(hv1, {"cluster": "vc1", "nodes": ["compute0", "disk0"], "holder": job()})
    secret, other = tmp_path / "secret", tmp_path / "other"
    for node, rival in (("compute0", "disk0"), ("disk0", "compute0")):
        export = answer["nodes"][node]["export"]
        secret.write_text(export["chap_secret"])
        other.write_text(answer["nodes"][rival]["export"]["chap_secret"])
        done = open_disk(export, secret, "read -v 0 16", "length")
        assert done.returncode == 0, done.stderr
        assert "67 6f 6c 64 65 6e" in done.stdout
        assert "2 MiB" in done.stdout
        assert "write protected" in open_disk(export, secret, "write 0 512", readonly=False).stderr
        assert open_disk(export, other, "read 0 16").returncode != 0
        assert open_disk(export, other, "read 0 16", user=answer["nodes"][rival]["export"]["chap_user"]).returncode != 0
    wanted = {"compute0": {"epoch": 1, "outcome": "discarded"}, "disk0": {"epoch": 1, "outcome": "kept"}}
    site.leases.release(hv1, {"cluster": "vc1", "nodes": wanted})
    assert open_disk(export, secret, "read 0 16").returncode != 0
    assert site.tgtd.targets() == []
    assert site.tgtd.accounts() == set()


def test_another_address_does_not_get_in(served: tuple[Site, Caller], tmp_path: Path) -> None:
    site, hv1 = served
    elsewhere = Caller("hv1", "10.77.0.21", hv1.portal)
    answer = site.leases.lease(elsewhere, {"cluster": "vc1", "nodes": ["compute0"], "holder": job()})
    export = answer["nodes"]["compute0"]["export"]
    secret = tmp_path / "secret"
    secret.write_text(export["chap_secret"])
    assert open_disk(export, secret, "read 0 16").returncode != 0
    # The same holder, from the address it now has.
    moved = site.leases.lease(hv1, {"cluster": "vc1", "nodes": ["compute0"], "holder": job()})["nodes"]["compute0"]["export"]
    assert moved == export
    assert open_disk(export, secret, "read 0 16").returncode == 0


def test_exports_come_back_after_a_restart(served: tuple[Site, Caller], daemon: Daemon, tmp_path: Path) -> None:
    site, hv1 = served
    answer = site.leases.lease(hv1, {"cluster": "vc1", "nodes": ["compute0", "compute1"], "holder": job()})
    export = answer["nodes"]["compute1"]["export"]
    secret = tmp_path / "secret"
    secret.write_text(export["chap_secret"])
    daemon.stop()
    daemon.start()
    assert site.tgtd.targets() == []
    before = site.content()
    assert len(site.leases.restore_exports()["exports"]) == 2
    targets = site.tgtd.targets()
    assert open_disk(export, secret, "read 0 16").returncode == 0
    site.leases.restore_exports()
    assert site.tgtd.targets() == targets
    assert site.content() == before


def test_who_has_a_disk_open_outlives_a_restart(served: tuple[Site, Caller], daemon: Daemon, tmp_path: Path) -> None:
    site, hv1 = served
    answer = site.leases.lease(hv1, {"cluster": "vc1", "nodes": ["compute0"], "holder": job()})
    export = answer["nodes"]["compute0"]["export"]
    secret = tmp_path / "secret"
    secret.write_text(export["chap_secret"])
    argv = ["stdbuf", "-o0", *opening(export, secret, "read 0 512", "sleep 3000", "read -v 0 16")]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as reader:
        assert reader.stdout is not None
        assert b"512/512" in os.read(reader.stdout.fileno(), 100)
        daemon.stop()
        daemon.start()
        site.leases.restore_exports()
        out, err = reader.communicate(timeout=60)
    assert reader.returncode == 0, err
    assert b"67 6f 6c 64 65 6e" in out


def test_an_export_that_was_changed_is_repaired(served: tuple[Site, Caller], tmp_path: Path) -> None:
    site, _hv1 = served
    first, second = tmp_path / "a.raw", tmp_path / "b.raw"
    for path in (first, second):
        path.write_bytes(bytes(1024 * 1024))
    exports = Exports(site.tgtd)
    wanted = [Export("vc1", f"n{number}", 1, str(first), "127.0.0.1", "s" * 32) for number in range(64)]
    assert exports.ensure(wanted) == {}
    untouched = site.tgtd.targets()
    assert exports.ensure(wanted) == {}
    assert site.tgtd.targets() == untouched
    site.tgtd.delete_account("vc.vc1.n5.e1")
    site.tgtd.bind_address(untouched[7].tid, "10.0.0.1")
    site.tgtd.delete_target(untouched[9].tid, untouched[9].iqn)
    moved = [*wanted[:63], Export("vc1", "n63", 1, str(second), "127.0.0.1", "s" * 32)]
    assert exports.ensure(moved) == {}
    targets = {target.iqn: target for target in site.tgtd.targets()}
    assert len(targets) == 64
    assert all(target.readonly and target.addresses == ["127.0.0.1"] and len(target.accounts) == 1 for target in targets.values())
    assert targets["iqn.2026-11.vc:vc1:n63:e1"].path == str(second)
    exports.drop(("vc1", f"n{number}", 1) for number in range(64))
    assert site.tgtd.targets() == []


def test_one_bad_export_does_not_stop_the_others(served: tuple[Site, Caller], tmp_path: Path) -> None:
    site, _hv1 = served
    good = tmp_path / "a.raw"
    good.write_bytes(bytes(1024 * 1024))
    comma = tmp_path / "a,readonly=0"
    comma.write_bytes(bytes(1024 * 1024))
    wanted = [Export("vc1", name, 1, str(path), "127.0.0.1", "s" * 32) for name, path in (("a", tmp_path / "x"), ("b", comma), ("c", good))]
    failed = Exports(site.tgtd).ensure(wanted)
    assert sorted(failed) == ["vc1/a", "vc1/b"]
    assert [target.iqn for target in site.tgtd.targets()] == ["iqn.2026-11.vc:vc1:c:e1"]
    assert site.tgtd.accounts() == {"vc.vc1.c.e1"}


def test_secrets_are_on_no_command_line_and_in_no_listing(served: tuple[Site, Caller], daemon: Daemon) -> None:
    site, hv1 = served
    answer = site.leases.lease(hv1, {"cluster": "vc1", "nodes": ["compute0"], "holder": job()})
    secret = answer["nodes"]["compute0"]["export"]["chap_secret"]
    argv = ["tgtadm", "-C", str(daemon.control), "--lld", "iscsi", "--mode", "target", "--op", "show"]
    shown = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    assert "iqn.2026-11.vc:vc1:compute0:e1" in shown
    assert secret not in shown
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            assert secret.encode() not in path.read_bytes()
        except OSError:
            continue
    assert parse_targets(shown) == site.tgtd.targets()


def test_no_daemon() -> None:
    refused("unreachable", Tgtd("/nonexistent/socket").targets)
    assert Exports(Tgtd("/nonexistent/socket")).present() == []
    Exports(Tgtd("/nonexistent/socket")).drop([("vc1", "n", 1)])


def test_a_daemon_that_refuses(daemon: Daemon) -> None:
    tgtd = Tgtd(daemon.socket)
    tgtd.new_target(1, "iqn.2026-11.vc:vc1:n:e1")
    error = refused("backend", tgtd.new_target, 1, "iqn.2026-11.vc:vc1:m:e1")
    assert error.detail == "this target exists"
    assert refused("backend", tgtd.delete_account, "nobody").detail == "no such account"
    assert refused("backend", tgtd.delete_target, 9, "iqn").detail == "no such target"
