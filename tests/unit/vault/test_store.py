# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Images, disks, snapshots and ISOs in every kind of store: whole or not there, never changed, never what they are not."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import struct
import subprocess
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.model.errors import VcError
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.vault import qcow2, source_file
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.vault.store import Golden, find_golden

from tests.unit.refusal import refused
from tests.unit.vault.site import MIB, Site, before_the_first_copy

needs_qemu_img = pytest.mark.skipif(shutil.which("qemu-img") is None, reason="no qemu-img on this machine")


def qemu_img(*argv: str) -> None:
    subprocess.run(["qemu-img", *argv], check=True, stdout=subprocess.DEVNULL)


def test_import_raw(empty_site: Site) -> None:
    site = empty_site
    golden = site.store.import_golden("debian12", 1, str(site.image(size=2 * MIB + 5)), "raw")
    assert (golden.ref, golden.size_mib) == ("debian12@r1", 3)
    path = Path(site.store.golden_path(golden))
    assert path.stat().st_size == 3 * MIB
    assert path.stat().st_mode & 0o777 == 0o400
    assert golden.sha256 == source_file.sha256_of(str(path)) != golden.source_sha256
    assert golden.source_sha256 == source_file.sha256_of(str(site.source))
    assert site.store.goldens() == {"debian12": {1: golden}}
    assert left_behind(site) == []
    refused("conflict", site.store.import_golden, "debian12", 1, str(site.source), "raw")


@needs_qemu_img
def test_import_qcow2(empty_site: Site, tmp_path: Path) -> None:
    site = empty_site
    raw, source = site.image(size=4 * MIB), tmp_path / "a.qcow2"
    qemu_img("convert", "-f", "raw", "-O", "qcow2", str(raw), str(source))
    golden = site.store.import_golden("debian12", 1, str(source), "qcow2")
    assert Path(site.store.golden_path(golden)).read_bytes() == raw.read_bytes()
    assert golden.size_mib == 4
    refused("invalid", site.store.import_golden, "other", 1, str(source), "raw")
    refused("invalid", site.store.import_golden, "other", 1, str(raw), "qcow2")


@needs_qemu_img
def test_a_header_that_points_elsewhere_is_refused(empty_site: Site, tmp_path: Path) -> None:
    site = empty_site
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


@needs_qemu_img
def test_a_header_that_is_exchanged_after_it_was_looked_at_is_refused(
    empty_site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With size, inode and time as before, so that nothing but the copy itself tells."""
    site, source, harmful = empty_site, tmp_path / "a.qcow2", tmp_path / "harmful"
    secret = tmp_path / "secret"
    secret.write_bytes(b"root's" + bytes(MIB))
    qemu_img("create", "-q", "-f", "qcow2", str(source), "1M")
    qemu_img("create", "-q", "-f", "qcow2", "-b", str(secret), "-F", "raw", str(harmful), "1M")
    assert source.stat().st_size <= harmful.stat().st_size
    os.truncate(source, harmful.stat().st_size)

    def exchange() -> None:
        was = source.stat()
        source.write_bytes(harmful.read_bytes())
        os.utime(source, ns=(was.st_atime_ns, was.st_mtime_ns))

    before_the_first_copy(monkeypatch, exchange)
    refused("invalid", site.store.import_golden, "debian12", 1, str(source), "qcow2")
    assert site.content() == {}


def test_headers_made_by_hand(tmp_path: Path) -> None:
    path = tmp_path / "a"

    def header(version: int = 3, features: int = 0, size: int = MIB, crypt: int = 0, extension: bytes = b"") -> None:
        fixed = struct.pack(">4sIQIIQI", b"QFI\xfb", version, 0, 0, 16, size, crypt).ljust(72, b"\0")
        path.write_bytes(fixed + struct.pack(">Q", features) + bytes(20) + struct.pack(">I", 104) + extension + bytes(64))

    def size() -> int:
        with path.open("rb") as stream:
            return qcow2.virtual_size(stream, str(path))

    header()
    assert size() == MIB
    header(version=2)
    assert size() == MIB
    data_file = struct.pack(">II", 0x44415441, 8) + b"/etc/pas"
    for broken in ({"version": 1}, {"version": 4}, {"features": 4}, {"size": 0}, {"crypt": 2}, {"extension": data_file}):
        header(**broken)
        refused("invalid", size)
    for content in (b"", b"QFI\xfb", b"QFI\xfb" + bytes(90), bytes(200)):
        path.write_bytes(content)
        refused("invalid", size)


def test_sources_that_are_none(empty_site: Site, tmp_path: Path) -> None:
    site = empty_site
    (tmp_path / "empty").touch()
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "link").symlink_to("/etc/passwd")
    for source, code in (("relative", "invalid"), ("/a\nb", "invalid"), ("/missing", "unknown")):
        refused(code, site.store.import_golden, "a", 1, source, "raw")
    for name in ("empty", "fifo", ".", "link"):
        refused("invalid", site.store.import_golden, "a", 1, str(tmp_path / name), "raw")
    assert site.content() == {}


def test_disks_are_clones_that_grow(any_site: Site) -> None:
    store = any_site.store
    golden = find_golden(store.goldens(), "debian12", "testing")
    disk = store.make_disk("vc1", "disk0", golden, 5)
    assert (disk.generation, disk.disk_mib, disk.image, disk.pristine) == (1, 5, "debian12@r1", True)
    path = Path(store.disk_path(disk))
    assert path.read_bytes()[: 2 * MIB] == Path(store.golden_path(golden)).read_bytes()
    assert path.stat().st_size <= 5 * MIB
    assert path.stat().st_blocks * 512 < MIB
    assert path.stat().st_mode & 0o777 == 0o400
    refused("conflict", store.make_disk, "vc1", "disk0", golden, 5)
    grown = store.grow_disk(disk, 7)
    assert grown.disk_mib == 7
    assert store.disks()["vc1"]["disk0"] == grown == store.grow_disk(grown, 3)
    assert store.make_disk("vc1", "disk1", golden, 0).disk_mib == 2
    store.remove_disk(grown)
    assert list(store.disks()["vc1"]) == ["disk1"]
    store.tidy("vc1")
    assert list(store.disks()["vc1"]) == ["disk1"]
    store.remove_disk(store.disks()["vc1"]["disk1"])
    store.tidy("vc1")
    assert store.disks() == {}
    assert left_behind(any_site) == []
    store.remove_golden(golden)
    assert any_site.store.goldens() == {}
    assert not [name for name in any_site.content() if "registry" not in name]


def test_generations(any_site: Site) -> None:
    """The newest one counts, whoever wrote it; the one that a lease names is served as long as it is there."""
    store = any_site.store
    first = store.make_disk("vc1", "disk0", find_golden(store.goldens(), "debian12", "testing"), 0)
    next_generation(any_site, "disk0", b"brought home")
    second = store.disks()["vc1"]["disk0"]
    assert second == replace(first, generation=2)
    assert not second.pristine
    assert Path(store.disk_path(second)).read_bytes().startswith(b"brought home")
    assert Path(store.disk_path(first)).read_bytes().startswith(b"golden")
    grown = store.grow_disk(second, 9)
    assert store.disks()["vc1"]["disk0"] == grown == replace(second, disk_mib=9)
    store.remove_disk(grown)
    assert store.disks() == {}
    assert left_behind(any_site) == []


def test_one_is_read_as_all_are(any_site: Site) -> None:
    store = any_site.store
    golden = find_golden(store.goldens(), "debian12", "testing")
    disks = [store.make_disk("vc1", node, golden, 0) for node in ("disk0", "disk1")]
    for disk in disks:
        for name in ("one", "two"):
            store.take_snapshot(disk, name)
    next_generation(any_site, "disk0", b"brought home")
    assert store.revisions("debian12") == store.goldens()["debian12"]
    for node in ("disk0", "disk1"):
        assert store.disk("vc1", node) == store.disks()["vc1"][node]
        assert store.snapshots_of("vc1", node) == store.snapshots()["vc1"][node]
    assert store.revisions("nosuch") == store.snapshots_of("vc1", "disk") == store.snapshots_of("vc2", "disk0") == {}
    assert store.disk("vc1", "disk") is store.disk("vc2", "disk0") is None


def test_snapshots_keep_a_generation(any_site: Site) -> None:
    store = any_site.store
    first = store.make_disk("vc1", "disk0", find_golden(store.goldens(), "debian12", "testing"), 3)
    kept = store.take_snapshot(first, "before")
    assert (kept.item, kept.generation, kept.disk_mib, kept.image) == ("vc1/disk0@before", 1, 3, "debian12@r1")
    refused("conflict", store.take_snapshot, first, "before")
    # Not when the disk grows, either.
    store.grow_disk(first, 4)
    assert store.snapshots()["vc1"]["disk0"]["before"] == kept
    next_generation(any_site, "disk0", b"brought home")
    store.grow_disk(store.disks()["vc1"]["disk0"], 8)
    second = store.take_snapshot(store.disks()["vc1"]["disk0"], "after")
    assert (second.generation, second.disk_mib) == (2, 8)
    assert store.snapshots() == {"vc1": {"disk0": {"before": kept, "after": second}}}
    for snapshot in (kept, second):
        store.remove_snapshot(snapshot)
    assert store.snapshots() == {}
    assert store.disks()["vc1"]["disk0"].generation == 2
    assert left_behind(any_site) == []


def test_isos(empty_site: Site, tmp_path: Path) -> None:
    store, source = empty_site.store, tmp_path / "a.iso"
    source.write_bytes(b"CD001" * 999)
    whole = source_file.sha256_of(str(source))
    iso = store.import_iso("debian-12.iso", str(source), "")
    assert (iso.name, iso.size, iso.sha256) == ("debian-12.iso", 5 * 999, whole)
    assert store.isos() == {"debian-12.iso": iso}
    stored = [path for path in empty_site.root.rglob("*.iso") if path.is_file()]
    assert [path.read_bytes() for path in stored] == [source.read_bytes()]
    refused("conflict", store.import_iso, "debian-12.iso", str(source), "")
    refused("invalid", store.import_iso, "other.iso", str(source), "0" * 64)
    assert store.import_iso("other.iso", str(source), whole).sha256 == whole
    link = tmp_path / "link.iso"
    link.symlink_to(source)
    os.mkfifo(tmp_path / "fifo")
    for place in (link, tmp_path / "fifo", tmp_path):
        refused("invalid", store.import_iso, "third.iso", str(place), "")
    refused("unknown", store.import_iso, "third.iso", str(tmp_path / "nosuch"), "")
    store.remove_iso(iso)
    assert list(store.isos()) == ["other.iso"]
    assert left_behind(empty_site) == []


def test_a_file_that_changes_under_the_import(empty_site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site = empty_site
    source = str(site.image())
    before_the_first_copy(monkeypatch, lambda: os.utime(source))
    refused("conflict", site.store.import_golden, "debian12", 1, source, "raw")
    assert site.store.goldens() == {}
    assert site.content() == {}


def test_killed_in_the_middle(empty_site: Site, tmp_path: Path) -> None:
    """Whatever is killed when: what is there is whole, and running it again ends where it would have ended."""
    store, source, medium = empty_site.store, empty_site.image(size=64 * MIB), tmp_path / "a.iso"
    medium.write_bytes(bytes(8 * MIB))
    whole = source_file.sha256_of(str(source))
    for delay in range(0, 400, 80):
        killed_after(delay / 1000, lambda: endless(empty_site, source, medium))
        goldens = store.goldens().get("debian12", {})
        for golden in goldens.values():
            assert source_file.sha256_of(store.golden_path(golden)) == whole
        for disk in store.disks().get("vc1", {}).values():
            assert source_file.sha256_of(store.disk_path(disk)) == whole
        again = imported(empty_site, source)
        assert source_file.sha256_of(store.golden_path(again)) == whole
        for node in ("disk1", "disk2", "disk3"):
            if node not in store.disks().get("vc1", {}):
                store.make_disk("vc1", node, again, 0)
            for snapshot in store.snapshots().get("vc1", {}).get(node, {}).values():
                store.remove_snapshot(snapshot)
            store.remove_disk(store.disks()["vc1"][node])
        for golden in store.goldens()["debian12"].values():
            store.remove_golden(golden)
        for iso in store.isos().values():
            assert iso.size == 8 * MIB
            store.remove_iso(iso)
    # What they left is removed once it is old; nobody's that is being made.
    for left in left_behind(empty_site):
        os.utime(left, (0, 0))
    store.import_golden("debian12", 1, str(source), "raw")
    store.import_iso("a.iso", str(medium), "")
    assert left_behind(empty_site) == []


def imported(site: Site, source: Path) -> Golden:
    """One revision more.  The last step of a command that was killed may still come: then it says so, and is run again."""
    for _attempt in range(3):
        with contextlib.suppress(VcError):
            revision = max(site.store.goldens().get("debian12", {}), default=0) + 1
            return site.store.import_golden("debian12", revision, str(source), "raw")
    raise AssertionError("refused three times")


def endless(site: Site, source: Path, medium: Path) -> None:
    for revision in range(1, 1000):
        golden = site.store.import_golden("debian12", revision, str(source), "raw")
        disk = site.store.make_disk("vc1", f"disk{revision}", golden, 0)
        site.store.take_snapshot(disk, "kept")
        site.store.import_iso(f"{revision}.iso", str(medium), "")
        if revision % 3 == 0:
            site.store.remove_snapshot(site.store.snapshots()["vc1"][disk.node]["kept"])
            site.store.remove_disk(disk)
            site.store.remove_golden(golden)


def killed_after(seconds: float, work: Callable[[], None]) -> None:
    child = os.fork()
    if child == 0:
        work()
        os._exit(0)
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


def left_behind(site: Site) -> list[Path]:
    """What is being made, or was left by somebody who was killed."""
    places = [site.root / "store" / "new", site.root / "zfs" / "isos" / ".new"]
    return [path for place in places if place.is_dir() for path in place.iterdir()]


def next_generation(site: Site, node: str, content: bytes) -> None:
    """What bringing changes home has to end with: a generation more, and the same number where the store keeps it."""
    if site.dataset:
        head = f"{site.dataset}/disks/vc1/{node}"
        place = f"{site.root}/zfs/disks/vc1/{node}"
        for argv in (["set", "canmount=noauto", head], ["mount", head]):
            site.commands.must(["zfs", *argv], node, "testing")
        write_at_start(Path(place) / "disk.raw", content)
        for argv in (["unmount", head], ["set", "canmount=off", head], ["snapshot", "-o", "hpc.vc:generation=2", f"{head}@gen2"]):
            site.commands.must(["zfs", *argv], node, "testing")
        return
    place = f"{site.root}/store/disks/vc1/{node}"
    shutil.copy(f"{place}/gen1.raw", f"{place}/gen2.raw")
    write_at_start(Path(place) / "gen2.raw", content)
    meta = json.loads(Path(f"{place}/meta.json").read_text(encoding="utf-8"))
    Path(f"{place}/meta.json").write_text(json.dumps({**meta, "generation": 2}), encoding="utf-8")


def write_at_start(path: Path, content: bytes) -> None:
    with path.open("r+b") as stream:
        stream.write(content)


def test_no_room_is_reported(site: Site) -> None:
    golden = find_golden(site.store.goldens(), "debian12", "testing")
    Path(site.store.golden_path(golden)).unlink()
    error = refused("backend", site.store.make_disk, "vc1", "disk0", golden, 0)
    assert "cloning debian12@r1" in error.tried
    assert site.store.disks() == {}
