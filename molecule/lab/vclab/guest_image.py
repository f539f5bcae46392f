# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Golden images: Debian 12 with its own kernel, ssh and unmodified cloud-init; the demo's, and one for sites."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from . import disk
from .cache import artifact, publish
from .layout import CACHE, IMAGES_DIR
from .mirror import RELEASE, apt_options, sources
from .process import run_logged

SIZE_MIB = 1280

PACKAGES = [
    "linux-image-cloud-amd64,initramfs-tools,zstd",
    "systemd-sysv,udev,dbus,kmod",
    "cloud-init,cloud-guest-utils,fdisk,sudo",
    "openssh-server,qemu-guest-agent",
    "iproute2,iputils-ping,netcat-openbsd,netbase",
]

# Before the kernel is unpacked, so that its first initrd is the small one: three modules, and no udev of its own to wait for.
INITRD = r"""
set -eu
mkdir -p "$1/etc/initramfs-tools/conf.d" "$1/etc/initramfs-tools/hooks" "$1/etc/modprobe.d"
printf 'MODULES=list\nCOMPRESS=zstd\n' > "$1/etc/initramfs-tools/conf.d/golden"
printf 'virtio_pci\nvirtio_blk\next4\n' > "$1/etc/initramfs-tools/modules"
cat > "$1/etc/initramfs-tools/hooks/golden" <<'END'
#!/bin/sh
[ "$1" != prereqs ] || exit 0
rm -f "$DESTDIR"/scripts/*/udev
END
chmod 0755 "$1/etc/initramfs-tools/hooks/golden"
cat > "$1/etc/modprobe.d/golden.conf" <<'END'
@BLACKLIST@
END
"""

# Hardware that an emulated machine shows and nobody needs in a lab; of processors, what costs it more than it saves.
BLACKLIST = [
    "kvm_amd", "kvm_intel", "kvm", "powernow_k8", "acpi_cpufreq", "aesni_intel", "ghash_clmulni_intel", "sha512_ssse3", "crct10dif_pclmul",
    "crc32_pclmul", "ata_piix", "ata_generic", "libata", "floppy", "psmouse", "pcspkr", "i2c_piix4", "parport_pc", "serio_raw", "sg", "drm",
]  # fmt: skip

# A golden image decides how its cloud-init is configured; cloud-init itself is Debian's. Nothing is in its middle stage, so that an image
# may do without: each stage starts a Python that reads some hundred modules, which are six of an emulated boot's sixty seconds.
CLOUD_CFG = """datasource_list: [NoCloud]
disable_root: false
preserve_hostname: false
ssh_genkeytypes: [ed25519]
system_info:
  distro: debian
  network:
    renderers: [networkd]
  default_user:
    name: debian
    lock_passwd: true
    sudo: ["ALL=(ALL) NOPASSWD:ALL"]
    shell: /bin/bash
cloud_init_modules: [bootcmd, write-files, growpart, resizefs, set_hostname, update_etc_hosts, users-groups, ssh]
cloud_config_modules: []
cloud_final_modules: [set-passwords, runcmd, scripts-user, final-message]
"""

FINISH = r"""
set -eu
root=$1
chr() { chroot "$root" "$@"; }
# The kernel mounts / read-write; a line here would make the boot wait for udev and fsck.
: > "$root/etc/fstab"
cp "$2" "$root/etc/cloud/cloud.cfg.d/99-golden.cfg"
chr systemctl enable -q systemd-networkd.service ssh.service qemu-guest-agent.service
# A node's addresses are given, and a card without a cable must not keep it from booting.
chr systemctl mask -q systemd-networkd-wait-online.service
@CHEAPER@
rm -f "$root"/etc/ssh/ssh_host_* "$root/var/lib/dbus/machine-id" "$root/etc/resolv.conf"
: > "$root/etc/machine-id"
echo golden > "$root/etc/hostname"
rm -rf "$root"/var/lib/apt/lists/* "$root"/var/cache/apt/*.bin "$root"/var/cache/apt/archives/*.deb "$root"/var/log/*.log
"""

# What an emulated machine would spend seconds on, and nobody looks at in a lab.
CHEAPER = r"""
echo 'KexAlgorithms -sntrup761*' > "$root/etc/ssh/sshd_config.d/golden.conf"
for unit in cloud-config.service \
  apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer e2scrub_reap.service fstrim.timer \
  systemd-timesyncd.service systemd-pstore.service systemd-network-generator.service \
  systemd-binfmt.service systemd-update-utmp.service systemd-update-utmp-runlevel.service getty@tty1.service \
  dev-hugepages.mount dev-mqueue.mount sys-kernel-debug.mount sys-kernel-tracing.mount sys-kernel-config.mount \
  sys-fs-fuse-connections.mount modprobe@configfs.service modprobe@fuse.service modprobe@drm.service modprobe@loop.service \
  modprobe@dm_mod.service modprobe@efi_pstore.service; do
  chr systemctl mask -q "$unit"
done
"""

KERNEL_ARGUMENTS = "root=/dev/vda1 rw console=ttyS0 net.ifnames=0 quiet random.trust_cpu=on systemd.show_status=1"

ARGUMENTS = [
    "--mode=root",
    "--variant=minbase",
    "--format=directory",
    '--aptopt=Apt::Install-Recommends "false"',
    '--aptopt=Acquire::Languages "none"',
    "--dpkgopt=path-exclude=/usr/share/man/*",
    "--dpkgopt=path-exclude=/usr/share/doc/*",
    "--dpkgopt=path-exclude=/usr/share/locale/*",
    "--dpkgopt=path-exclude=/usr/share/i18n/*",
]


@dataclass(frozen=True)
class Image:
    """One of them; a ``cheap`` one is for emulated guests that nobody depends on."""

    name: str
    cheap: bool

    @property
    def kernel_arguments(self) -> str:
        return f"{KERNEL_ARGUMENTS} {disk.CHEAPER}" if self.cheap else KERNEL_ARGUMENTS

    @property
    def initrd_script(self) -> str:
        return INITRD.replace("@BLACKLIST@", "\n".join(f"blacklist {module}" for module in BLACKLIST) if self.cheap else "")

    @property
    def finish_script(self) -> str:
        return FINISH.replace("@CHEAPER@", CHEAPER if self.cheap else "")

    def path(self) -> Path:
        """Where it is (raw), built when this recipe has not been built yet; ``<name>.raw`` beside it is the same file."""
        parts = [*PACKAGES, self.initrd_script, CLOUD_CFG, self.finish_script, self.kernel_arguments, disk.BOOT, *ARGUMENTS]
        recipe = "\n".join([str(SIZE_MIB), *parts])
        return publish(artifact(IMAGES_DIR, self.name, recipe, self._build, ".raw"), f"{self.name}.raw")

    def _build(self, target: Path) -> None:
        disk.build(target, SIZE_MIB, "root", lambda root: install(self, root), lambda root: boot(root, self.kernel_arguments))


DEMO = Image("debian12", cheap=True)
SITE = Image("site-debian12", cheap=False)


def install(image: Image, root: Path) -> None:
    log = CACHE / f"{image.name}.log"
    begin, finish, cloud = (CACHE / f".{image.name}-{part}" for part in ("begin.sh", "finish.sh", "cloud.cfg"))
    begin.write_text(image.initrd_script)
    finish.write_text(image.finish_script)
    cloud.write_text(CLOUD_CFG)
    hooks = [f'--essential-hook=sh "{begin}" "$1"', f'--customize-hook=sh "{finish}" "$1" "{cloud}"']
    run_logged(
        ["mmdebstrap", *ARGUMENTS, *apt_options(), f"--include={','.join(PACKAGES)}", *hooks, RELEASE, str(root), *sources(RELEASE)], log
    )
    for part in (begin, finish, cloud):
        part.unlink()


def boot(root: Path, arguments: str) -> str:
    """extlinux's configuration for the newest kernel."""
    kernel = sorted((root / "boot").glob("vmlinuz-*"))[-1].name
    initrd = kernel.replace("vmlinuz-", "initrd.img-")
    return disk.BOOT.format(kernel=f"/boot/{kernel}", initrd=f"/boot/{initrd}", arguments=arguments)
