# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Disks of whole machines, for the slow proofs that a container cannot carry: Debian 12 with its own kernel, systemd and cgroups."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from . import disk, rootfs
from .cache import artifact
from .guest_image import DEMO, boot
from .layout import CACHE
from .mirror import RELEASE, apt_options, sources
from .process import run_logged


@dataclass(frozen=True)
class Kind:
    """A sort of machine; ``hosts`` gives it the packages and users of a lab host, with nothing enabled that a role enables."""

    name: str
    size_gib: int
    packages: tuple[str, ...]
    hosts: bool = False


KERNEL = ("linux-image-cloud-amd64", "initramfs-tools", "zstd")
# What README asks for, on what the installer leaves.
PLAIN = Kind("plain", 20, (*KERNEL, "openssh-server", "ca-certificates", "git", "make", "python3"))
HOST = Kind("host", 8, (*KERNEL, "libpam-systemd", *rootfs.packages(RELEASE)), hosts=True)

# QEMU's own user network is always this one.
FINISH = r"""
set -eu
root=$1
chr() { chroot "$root" "$@"; }
: > "$root/etc/fstab"
echo machine > "$root/etc/hostname"
printf '127.0.0.1 localhost\n127.0.1.1 machine\n' > "$root/etc/hosts"
printf '[Match]\nName=eth0\n[Network]\nAddress=10.0.2.15/24\nGateway=10.0.2.2\n' > "$root/etc/systemd/network/eth0.network"
rm -f "$root/etc/resolv.conf"
echo 'nameserver 10.0.2.3' > "$root/etc/resolv.conf"
@HOSTS@
for unit in systemd-networkd-wait-online.service apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer \
  e2scrub_reap.service fstrim.timer man-db.timer systemd-timesyncd.service getty@tty1.service; do
  chr systemctl mask -q "$unit"
done
chr systemctl enable -q systemd-networkd.service ssh.service serial-getty@ttyS0.service
: > "$root/etc/machine-id"
rm -rf "$root"/var/cache/apt/archives/*.deb
"""

HOSTS = r"""
chr systemctl list-unit-files --no-legend --state=enabled | awk '{print $1}' | grep -Evx '@KEPT@' | while read -r unit; do
  chr systemctl disable -q "$unit" 2>/dev/null || true
done
@USERS@
rm -f "$root/etc/munge/munge.key" "$root/etc/openvswitch/system-id.conf" "$root/etc/openvswitch/conf.db"
"""


def finish_script(kind: Kind) -> str:
    hosts = HOSTS.replace("@KEPT@", rootfs.KEPT_UNITS).replace("@USERS@", rootfs.add_users("-m")) if kind.hosts else ""
    return FINISH.replace("@HOSTS@", hosts)


def arguments(kind: Kind) -> list[str]:
    return [*rootfs.ARGUMENTS, f"--variant={'minbase' if kind.hosts else 'important'}"]


def image(kind: Kind) -> Path:
    """Path of the machine's disk (raw), built when this recipe has not been built yet."""
    recipe = "\n".join(
        [str(kind.size_gib), *arguments(kind), *kind.packages, DEMO.initrd_script, finish_script(kind), DEMO.kernel_arguments, disk.BOOT]
    )
    return artifact(CACHE / "machines", kind.name, recipe, lambda target: build(kind, target), ".raw")


def build(kind: Kind, target: Path) -> None:
    disk.build(target, kind.size_gib * 1024, "root", lambda root: install(kind, root), lambda root: boot(root, DEMO.kernel_arguments))


def install(kind: Kind, root: Path) -> None:
    begin, finish = (CACHE / "machines" / f".{kind.name}-{part}.sh" for part in ("begin", "finish"))
    begin.write_text(DEMO.initrd_script)
    finish.write_text(finish_script(kind))
    hooks = [f'--essential-hook=sh "{begin}" "$1"', f'--customize-hook=sh "{finish}" "$1"']
    argv = ["mmdebstrap", *arguments(kind), *apt_options(), f"--include={','.join(kind.packages)}", *hooks]
    run_logged([*argv, RELEASE, str(root), *sources(RELEASE)], CACHE / "machines" / f"{kind.name}.log")
    for part in (begin, finish):
        part.unlink()
