# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""An image that boots in seconds, for fault injection: kernel and busybox, configured by the same seed as a real guest."""

from __future__ import annotations

import gzip
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from . import disk
from .cache import artifact, publish
from .layout import IMAGES_DIR
from .process import LabError, run

SIZE_MIB = 64
MODULES = ("virtio_pci", "virtio_blk", "virtio_net", "isofs", "button", "evdev")
APPLETS = [
    "sh",
    "mount",
    "umount",
    "ip",
    "insmod",
    "mkdir",
    "cat",
    "echo",
    "sleep",
    "poweroff",
    "ls",
    "dd",
    "sync",
    "date",
    "nc",
    "tr",
    "hostname",
    "uname",
    "cut",
    "head",
    "basename",
]

# Tokens of the seed's JSON are enough here: of each card addresses, then macaddress, then mtu.
INIT = r"""#!/bin/sh
export PATH=/bin
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev
while read -r module; do insmod "/lib/$module" 2>/dev/null; done < /modules
ip link set lo up
for disk in /dev/vd?; do
  mount -t iso9660 -o ro "$disk" /seed 2>/dev/null && [ -e /seed/meta-data ] && break
done
tokens() { tr -s '{}[],"'"'"' \t' '\n' < "$1"; }
name=; last=
for word in $(tokens /seed/meta-data); do
  case $last in local-hostname|local-hostname:) [ "$word" = : ] && continue; name=$word;; esac
  last=$word
done
[ -n "$name" ] && hostname "$name"
mac=; last=; shown=; address=
for word in $(tokens /seed/network-config); do
  [ "$word" = : ] && continue
  case $word in
    [0-9]*.[0-9]*.[0-9]*.[0-9]*/*) address=$word;;
    [0-9a-fA-F][0-9a-fA-F]:*:*:*:*:*)
      mac=$word
      for link in /sys/class/net/*; do
        if [ "$(cat "$link/address")" = "$mac" ]; then
          ip addr add "$address" dev "$(basename "$link")"; ip link set "$(basename "$link")" up; shown="$shown $address"
        fi
      done;;
  esac
  case $last in mtu|mtu:) for link in /sys/class/net/*; do
    [ "$(cat "$link/address")" = "$mac" ] && ip link set "$(basename "$link")" mtu "$word"; done;; esac
  last=$word
done
( while :; do nc -l -p 7 -e cat; done ) 2>/dev/null &
# Who of the nodes in the seed's hosts file answers, is told on the console; a line there begins with the n of an escaped newline.
reach() {
  tries=0
  while [ $tries -lt 60 ]; do
    [ "$(echo hello | nc -w 2 "$1" 7 2>/dev/null)" = hello ] && echo "REACHED $1" && return
    tries=$((tries + 1)); sleep 1
  done
}
for word in $(tr -s '"\\ ' '\n' < /seed/user-data); do
  case ${word#n} in *[!0-9.]*) ;; [0-9]*.*.*.*) [ "${address%/*}" = "${word#n}" ] || reach "${word#n}" & ;; esac
done
# Open before anybody is told that this machine is up: a press that nobody hears is lost.
event=
for device in /sys/class/input/event*; do
  [ "$(cat "$device/device/name")" = "Power Button" ] && event=$(basename "$device")
done
exec 3< "/dev/input/$event"
echo "$name login:"
echo "READY $name$shown boot_id=$(cat /proc/sys/kernel/random/boot_id)"
# The button's first event is the request to stop.
dd of=/dev/null bs=24 count=1 <&3 2>/dev/null
echo "STOPPING $name"
sync
poweroff -f
"""

ARGUMENTS = f"console=ttyS0 quiet panic=-1 net.ifnames=0 {disk.CHEAPER}"


def tiny() -> Path:
    """Path of the image (raw), built when this recipe has not been built yet; ``tiny.raw`` beside it is the same file."""
    recipe = "\n".join([str(SIZE_MIB), *MODULES, *APPLETS, INIT, ARGUMENTS, disk.BOOT])
    return publish(artifact(IMAGES_DIR, "tiny", recipe, build, ".raw"), "tiny.raw")


def build(target: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="vc-lab-tiny-") as where:
        work = Path(where)
        unpacked = work / "unpacked"
        unpacked.mkdir()
        for package in (kernel_package(), "busybox-static"):
            fetch(package, work, unpacked)
        kernel = next((unpacked / "boot").glob("vmlinuz-*"))
        initrd = work / "initrd.gz"
        make_initrd(unpacked, kernel.name.replace("vmlinuz-", ""), work / "initrd", initrd)

        def fill(root: Path) -> None:
            shutil.copyfile(kernel, root / "vmlinuz")
            shutil.copyfile(initrd, root / "initrd.gz")

        text = disk.BOOT.format(kernel="/vmlinuz", initrd="/initrd.gz", arguments=ARGUMENTS)
        disk.build(target, SIZE_MIB, "tiny", fill, lambda root: text)


def kernel_package() -> str:
    for line in run(["apt-cache", "depends", "linux-image-cloud-amd64"]).stdout.splitlines():
        if "Depends: linux-image-" in line:
            return line.split()[-1]
    raise LabError("apt knows no linux-image-cloud-amd64; run apt-get update")


def fetch(package: str, work: Path, unpacked: Path) -> None:
    downloads = work / package
    downloads.mkdir()
    # apt-get download writes to its working directory.
    run(["env", f"--chdir={downloads}", "apt-get", "download", "-q", "-o", "APT::Sandbox::User=root", package])
    run(["dpkg-deb", "-x", str(next(downloads.glob("*.deb"))), str(unpacked)])


def make_initrd(unpacked: Path, version: str, tree: Path, target: Path) -> None:
    for part in ("bin", "proc", "sys", "dev", "seed", "lib", "tmp"):
        (tree / part).mkdir(parents=True)
    shutil.copy2(unpacked / "bin/busybox", tree / "bin/busybox")
    for applet in APPLETS:
        (tree / "bin" / applet).symlink_to("busybox")
    order = list(module_order(unpacked, version))
    for module in order:
        destination = tree / "lib" / module
        destination.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(unpacked / "lib/modules" / version / module, destination)
    (tree / "modules").write_text("".join(f"{module}\n" for module in order))
    (tree / "init").write_text(INIT)
    (tree / "init").chmod(0o755)
    names = "\n".join(str(path.relative_to(tree)) for path in sorted(tree.rglob("*")))
    archive = target.with_suffix(".cpio")
    run(["cpio", "--quiet", "-o", "-H", "newc", "-D", str(tree), "-F", str(archive)], stdin=f"{names}\n")
    target.write_bytes(gzip.compress(archive.read_bytes(), 6, mtime=0))


def module_order(unpacked: Path, version: str) -> Iterator[str]:
    """Paths of the modules below the version's directory, each after what it needs; built-in ones are left out."""
    run(["depmod", "-b", str(unpacked), version])
    needs: dict[str, list[str]] = {}
    for line in (unpacked / "lib/modules" / version / "modules.dep").read_text().splitlines():
        path, _colon, rest = line.partition(":")
        needs[path] = rest.split()
    seen: set[str] = set()
    for wanted in MODULES:
        for path in needs:
            if Path(path).name.startswith(f"{wanted}.ko"):
                for module in [*reversed(needs[path]), path]:
                    if module not in seen:
                        seen.add(module)
                        yield module
