# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The root file system below the lab's hosts, one for each Debian release: every package the roles ask for, nothing enabled.

There is a bare one as well: what an installer leaves, and the roles' packages in apt's cache, because the hosts reach no mirror.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from .cache import artifact
from .layout import CACHE, USERS
from .mirror import apt_options, sources
from .process import run_logged

# What an installer leaves, and what the proofs look with.
LEFT = [
    "systemd",
    "systemd-sysv",
    "dbus",
    "udev",
    "openssh-server",
    "sudo",
    "python3",
    "python3-apt",
    "ca-certificates",
    "iproute2",
    "iputils-ping",
    "procps",
    "less",
    "tcpdump",
]
# What the roles ask for.
ASKED = [
    "ethtool",
    "iptables",
    "kmod",
    "nftables",
    "munge",
    "slurmctld",
    "slurmd",
    "slurmdbd",
    "slurm-client",
    "slurm-wlm-basic-plugins",
    "slurm-wlm-mysql-plugin",
    "mariadb-server",
    "openvswitch-switch",
    "qemu-system-x86",
    "qemu-utils",
    "qemu-block-extra",
    "libvirt-daemon-system",
    "libvirt-clients",
    "libvirt-daemon-driver-qemu",
    "python3-libvirt",
    "tgt",
]
# What only the host of the subnet manager asks for, and the fabric that is simulated for it.
FABRIC_PACKAGES = ["opensm", "infiniband-diags"]
SIMULATOR = ["ibsim-utils"]
# What only the vault's second store asks for.
STORE_PACKAGES = ["zfs-fuse"]

# Debian 13 is there for the hypervisors' side alone, so what only other hosts ask for must not be there by chance.
CHANGES = {
    "bookworm": ([], FABRIC_PACKAGES + STORE_PACKAGES),
    "trixie": (["libvirt-daemon-system"], ["libvirt-daemon", "libvirt-daemon-driver-secret"]),
}

# What stays enabled; everything else waits for a role to enable it.
KEPT_UNITS = r"ssh\.service|systemd-.*|dbus.*|getty.*|remote-fs\.target|autovt@.*"

FINISH = r"""
set -eu
root=$1
chr() { chroot "$root" "$@"; }

# pam_systemd makes every login wait for logind, 120 s when it cannot answer.
rm -f "$root/usr/share/pam-configs/systemd"
chr pam-auth-update --package
! grep -rq pam_systemd "$root/etc/pam.d"

chr systemctl list-unit-files --no-legend --state=enabled | awk '{print $1}' | grep -Evx '@KEPT@' | while read -r unit; do
  chr systemctl disable -q "$unit" 2>/dev/null || true
done
for unit in console-getty.service systemd-timesyncd.service systemd-networkd.service systemd-resolved.service apt-daily.timer \
  apt-daily-upgrade.timer systemd-tmpfiles-clean.timer e2scrub_all.timer fstrim.timer dpkg-db-backup.timer; do
  chr systemctl mask -q "$unit"
done

# A bind of the outer node would keep its mode; a guest's tap must open for its user.
printf 'd /dev/net 0755 root root -\nc! /dev/net/tun 0666 root root - 10:200\n' > "$root/etc/tmpfiles.d/vc-lab.conf"

@USERS@
# Each host has its own; a shared one would hide a role that forgets to make it.
rm -f "$root"/etc/ssh/ssh_host_* "$root/etc/munge/munge.key" "$root/etc/openvswitch/system-id.conf" \
  "$root/etc/openvswitch/conf.db" "$root/var/lib/dbus/machine-id"
: > "$root/etc/machine-id"
printf 'PermitRootLogin prohibit-password\nUseDNS no\n' > "$root/etc/ssh/sshd_config.d/vc-lab.conf"
@CACHE@
rm -f "$root/etc/resolv.conf"
"""
EMPTY_CACHE = 'rm -rf "$root"/var/cache/apt/archives/*.deb "$root"/var/cache/apt/*.bin "$root"/var/lib/apt/lists/*'
# Without what is there already, which apt would not fetch.
# mmdebstrap must be told to leave it.
KEEP_CACHE = ["--skip=cleanup/apt"]
FILLED_CACHE = "chr apt-get -qq -y --download-only --option Apt::Keep-Downloaded-Packages=true install @PACKAGES@"

ARGUMENTS = [
    "--mode=root",
    "--variant=minbase",
    "--format=directory",
    '--aptopt=Apt::Install-Recommends "false"',
    '--aptopt=Acquire::Languages "none"',
    "--dpkgopt=path-exclude=/usr/share/man/*",
    "--dpkgopt=path-exclude=/usr/share/locale/*",
    "--dpkgopt=path-exclude=/usr/share/doc/*",
]


def add_users(home: str) -> str:
    return "\n".join(f"chr useradd {home} -d /home/{name} -u {uid} -U -s /bin/bash {name}" for name, uid in USERS.items())


def finish_script(cache: str) -> str:
    return FINISH.replace("@KEPT@", KEPT_UNITS).replace("@USERS@", add_users("-M")).replace("@CACHE@", cache)


def asked(release: str) -> list[str]:
    without, besides = CHANGES[release]
    return [package for package in ASKED if package not in without] + besides


def packages(release: str) -> list[str]:
    """What a host has that is there to be a site's."""
    return [*LEFT, *(SIMULATOR if release == "bookworm" else []), *asked(release)]


def rootfs(release: str, bare: bool = False) -> Path:
    """Path of the release's ready root file system; built by mmdebstrap when this recipe has not been built yet."""
    there = [*LEFT, *SIMULATOR] if bare else packages(release)
    arguments = [*ARGUMENTS, *(KEEP_CACHE if bare else [])]
    script = finish_script(FILLED_CACHE.replace("@PACKAGES@", " ".join(asked(release))) if bare else EMPTY_CACHE)
    name = name_of(release, bare)
    recipe = "\n".join([*arguments, *there, script])
    return artifact(CACHE, name, recipe, lambda target: build(release, name, [*arguments, f"--include={','.join(there)}"], script, target))


def name_of(release: str, bare: bool) -> str:
    return ("bare" if bare else "rootfs") if release == "bookworm" else f"{release}-{'bare' if bare else 'rootfs'}"


def build(release: str, name: str, arguments: Sequence[str], script: str, target: Path) -> None:
    hook = CACHE / f".{name}-finish.sh"
    hook.write_text(script)
    argv = ["mmdebstrap", *arguments, *apt_options(), f'--customize-hook=sh "{hook}" "$1"']
    run_logged([*argv, release, str(target), *sources(release)], CACHE / f"{name}.log")
    hook.unlink()
