# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bootable raw disks: one ext4 partition with extlinux, filled by the caller, sparse where nothing is."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

from .process import LabError, run

MBR = Path("/usr/lib/syslinux/mbr/mbr.bin")

# What saves an emulating QEMU work, for machines that nobody depends on. norandmaps: a library is translated anew for every address that it
# is seen at. mitigations, audit: more instructions in each system call. tsc: a watch on the clock. The rest: tests of itself, names of
# probes, and the keys of signed modules, which the kernel takes apart before its first process.
CHEAPER = (
    "mitigations=off audit=0 norandmaps tsc=reliable cryptomgr.notests"
    " initcall_blacklist=init_kprobe_trace,load_system_certificate_list,crypto_kdf108_init"
)

FIRST_SECTOR = 2048

BOOT = """SERIAL 0 115200
DEFAULT linux
LABEL linux
 LINUX {kernel}
 INITRD {initrd}
 APPEND {arguments}
"""


def build(target: Path, size_mib: int, label: str, fill: Callable[[Path], None], boot: Callable[[Path], str]) -> None:
    """Write a disk to ``target``; ``fill`` gets the mounted file system, ``boot`` then returns extlinux's configuration."""
    if not MBR.exists():
        raise LabError(f"{MBR} is missing: install syslinux-common and extlinux")
    with target.open("wb") as stream:
        stream.truncate(size_mib * 1024 * 1024)
    run(["sfdisk", "-q", str(target)], stdin=f"start={FIRST_SECTOR}, type=83, bootable\n")
    loop = run(["losetup", "--find", "--show", "--offset", str(FIRST_SECTOR * 512), str(target)]).stdout.strip()
    try:
        # extlinux 6.03 reads neither of these two features.
        run(["mkfs.ext4", "-q", "-O", "^64bit,^metadata_csum", "-L", label, loop])
        with tempfile.TemporaryDirectory(prefix="vc-lab-disk-") as where:
            mount = Path(where)
            run(["mount", loop, str(mount)])
            try:
                fill(mount)
                loader = mount / "boot/extlinux"
                loader.mkdir(parents=True, exist_ok=True)
                (loader / "extlinux.conf").write_text(boot(mount))
                run(["extlinux", "--install", str(loader)])
                run(["fstrim", str(mount)], check=False)
            finally:
                run(["umount", str(mount)])
    finally:
        run(["losetup", "--detach", loop])
    with target.open("r+b") as stream:
        stream.write(MBR.read_bytes()[:440])
