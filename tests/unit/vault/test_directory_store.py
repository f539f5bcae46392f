# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Images and disks as files: whole or not there, never changed, never what they are not."""

from __future__ import annotations

import os
import shutil
import signal
import struct
import subprocess
import time
from pathlib import Path

import pytest
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.vault import qcow2, source_file
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.vault.store import find_golden

from tests.unit.refusal import refused
from tests.unit.vault.site import MIB, Site

needs_qemu_img = pytest.mark.skipif(shutil.which("qemu-img") is None, reason="no qemu-img on this machine")


def qemu_img(*argv: str) -> None:
    subprocess.run(["qemu-img", *argv], check=True, stdout=subprocess.DEVNULL)


def test_import_raw(tmp_path: Path) -> None:
    site = Site(tmp_path)
    golden = site.store.import_golden("debian12", 1, str(site.image(size=2 * MIB + 5)), "raw")
    assert (golden.ref, golden.size_mib) == ("debian12@r1", 3)
    path = Path(site.store.golden_path(golden))
    assert path.stat().st_size == 3 * MIB
    assert path.stat().st_mode & 0o777 == 0o400
    assert golden.sha256 == source_file.sha256_of(str(path)) != golden.source_sha256
    assert golden.source_sha256 == source_file.sha256_of(str(site.source))
    assert site.store.goldens() == {"debian12": {1: golden}}
    assert os.listdir(site.root / "store" / "new") == []
    refused("conflict", site.store.import_golden, "debian12", 1, str(site.source), "raw")


@needs_qemu_img
def test_import_qcow2(tmp_path: Path) -> None:
    site = Site(tmp_path)
    raw, source = site.image(size=4 * MIB), tmp_path / "a.qcow2"
    qemu_img("convert", "-f", "raw", "-O", "qcow2", str(raw), str(source))
    golden = site.store.import_golden("debian12", 1, str(source), "qcow2")
    assert Path(site.store.golden_path(golden)).read_bytes() == raw.read_bytes()
    assert golden.size_mib == 4
    refused("invalid", site.store.import_golden, "other", 1, str(source), "raw")
    refused("invalid", site.store.import_golden, "other", 1, str(raw), "qcow2")


@needs_qemu_img
def test_a_header_that_points_elsewhere_is_refused(tmp_path: Path) -> None:
    site = Site(tmp_path)
    secret = tmp_path / "secret"
    secret.write_bytes(b"root's" + bytes(MIB))
    for name, options in (
        ("backing", ["-b", str(secret), "-F", "raw"]),
        ("json_backing", ["-u", "-b", f'json:{{"driver":"raw","file":{{"driver":"file","filename":"{secret}"}}}}', "-F", "raw"]),
        ("data_file", ["-o", f"data_file={tmp_path / 'data'}"]),
    ):
        source = tmp_path / name
        qemu_img("create", "-q", "-f", "qcow2", *options, str(source), "1M")
        refused("invalid", site.store.import_golden, "debian12", 1, str(source), "qcow2")
    assert site.content() == {}


def test_headers_made_by_hand(tmp_path: Path) -> None:
    path = tmp_path / "a"

    def header(version: int = 3, features: int = 0, size: int = MIB, crypt: int = 0, extension: bytes = b"") -> None:
        fixed = struct.pack(">4sIQIIQI", b"QFI\xfb", version, 0, 0, 16, size, crypt).ljust(72, b"\0")
        path.write_bytes(fixed + struct.pack(">Q", features) + bytes(20) + struct.pack(">I", 104) + extension + bytes(64))

    header()
    assert qcow2.virtual_size(path) == MIB
    header(version=2)
    assert qcow2.virtual_size(path) == MIB
    data_file = struct.pack(">II", 0x44415441, 8) + b"/etc/pas"
    for broken in ({"version": 1}, {"version": 4}, {"features": 4}, {"size": 0}, {"crypt": 2}, {"extension": data_file}):
        header(**broken)  # type: ignore[arg-type]
        refused("invalid", qcow2.virtual_size, path)
    for content in (b"", b"QFI\xfb", b"QFI\xfb" + bytes(90), bytes(200)):
        path.write_bytes(content)
        refused("invalid", qcow2.virtual_size, path)


def test_sources_that_are_none(tmp_path: Path) -> None:
    site = Site(tmp_path)
    (tmp_path / "empty").touch()
    os.mkfifo(tmp_path / "fifo")
    for source, code in (("relative", "invalid"), ("/a\nb", "invalid"), ("/missing", "unknown")):
        refused(code, site.store.import_golden, "a", 1, source, "raw")
    for name in ("empty", "fifo", "."):
        refused("invalid", site.store.import_golden, "a", 1, str(tmp_path / name), "raw")
    assert site.content() == {}


def test_disks_are_clones_that_grow(site: Site) -> None:
    golden = find_golden(site.store.goldens(), "debian12", "testing")
    disk = site.store.make_disk("vc1", "disk0", golden, 5)
    path = Path(site.store.disk_path(disk))
    assert (disk.generation, disk.disk_mib, disk.image) == (1, 5, "debian12@r1")
    assert path.read_bytes()[: 2 * MIB] == Path(site.store.golden_path(golden)).read_bytes()
    assert path.stat().st_size == 5 * MIB
    assert path.stat().st_blocks * 512 < MIB
    assert path.stat().st_mode & 0o777 == 0o400
    refused("conflict", site.store.make_disk, "vc1", "disk0", golden, 5)
    grown = site.store.grow_disk(disk, 7)
    assert grown.disk_mib == 7
    assert site.store.disks()["vc1"]["disk0"] == grown == site.store.grow_disk(grown, 3)
    assert site.store.make_disk("vc1", "disk1", golden, 0).disk_mib == 2
    site.store.remove_disk(grown)
    assert list(site.store.disks()["vc1"]) == ["disk1"]
    assert os.listdir(site.root / "store" / "new") == []


def test_a_file_that_changes_under_the_import(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site = Site(tmp_path)
    source = str(site.image())
    real = source_file.sha256_of

    def touching(path: str) -> str:
        os.utime(source)
        return real(path)

    monkeypatch.setattr(source_file, "sha256_of", touching)
    refused("conflict", site.store.import_golden, "debian12", 1, source, "raw")
    assert site.store.goldens() == {}
    assert site.content() == {}


def test_killed_in_the_middle_of_an_import(tmp_path: Path) -> None:
    site = Site(tmp_path)
    source = site.image(size=64 * MIB)
    for delay in range(0, 200, 20):
        child = os.fork()
        if child == 0:
            for revision in range(1, 1000):
                site.store.import_golden("debian12", revision, str(source), "raw")
            os._exit(0)
        time.sleep(delay / 1000)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        for golden in site.store.goldens().get("debian12", {}).values():
            assert Path(site.store.golden_path(golden)).stat().st_size == 64 * MIB
            site.store.remove_golden(golden)
    # What they left is removed once it is old; nobody's that is being made.
    for left in (site.root / "store" / "new").iterdir():
        os.utime(left, (0, 0))
    site.store.import_golden("debian12", 1, str(source), "raw")
    assert os.listdir(site.root / "store" / "new") == []


def test_no_room_is_reported(site: Site) -> None:
    golden = find_golden(site.store.goldens(), "debian12", "testing")
    Path(site.store.golden_path(golden)).unlink()
    error = refused("backend", site.store.make_disk, "vc1", "disk0", golden, 0)
    assert "cloning debian12@r1" in error.tried
    assert site.store.disks() == {}
