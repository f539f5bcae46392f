# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether this machine can carry the lab, and what the demo is going to do to it."""

from __future__ import annotations

import os
import platform
import shutil
from pathlib import Path

from . import fabric
from .layout import CACHE, HOSTS, REPOSITORY, SEGMENTS
from .process import LabError, run, run_logged

# What the lab itself needs on the machine; all of it is Debian's.
PACKAGES = [
    "systemd-container",
    "mmdebstrap",
    "debian-archive-keyring",
    "ca-certificates",
    "iproute2",
    "openssh-client",
    "python3-venv",
    "procps",
    "e2fsprogs",
    "fdisk",
    "extlinux",
    "syslinux-common",
    "cpio",
    "kmod",
]
INSTALLED = CACHE / "installed-packages"
DISK_COLD_MIB, DISK_WARM_MIB, MEMORY_MIB = 7000, 3000, 4500


def missing_packages() -> list[str]:
    listing = run(["dpkg-query", "-W", "-f", "${db:Status-Abbrev} ${Package}\n"]).stdout
    installed = {line.split()[1] for line in listing.splitlines() if line.startswith("ii")}
    return [package for package in PACKAGES if package not in installed]


def refusals() -> list[str]:
    """Why the demo cannot run here, one reason each with its remedy; empty when it can."""
    if os.geteuid() != 0:
        return ["it needs root (namespaces, mounts, cgroups): run it as root"]
    reasons = []
    release = dict(line.split("=", 1) for line in Path("/etc/os-release").read_text().splitlines() if "=" in line)
    if (release.get("ID", ""), release.get("VERSION_ID", "").strip('"')) != ("debian", "12") or platform.machine() != "x86_64":
        reasons.append(f"it is made for Debian 12 on x86_64; this is {release.get('PRETTY_NAME', 'unknown')} on {platform.machine()}")
    if running := fabric.foreign_owner():
        reasons.append(f"a lab of another work tree is up: make -C {running} demo-down")
    elif shutil.which("ip"):
        reasons.extend(f"address clash: {clash}; free the range" for clash in fabric.address_clashes())
    reasons.extend(short_of())
    CACHE.mkdir(exist_ok=True)
    if run(["stat", "-f", "-c", "%T", str(CACHE)]).stdout.strip() in ("overlayfs", "nfs", "fuseblk"):
        reasons.append(f"{CACHE} is on a file system that cannot carry overlays: clone onto a local disk (ext4, xfs, btrfs)")
    if run(["unshare", "--propagation", "unchanged", "--mount", "--net", "--pid", "--fork", "true"], check=False).returncode != 0:
        reasons.append("this machine does not let root make namespaces: a container without privileges cannot carry the lab")
    return reasons


def short_of() -> list[str]:
    reasons = []
    warm = is_warm()
    disk, wanted = shutil.disk_usage(REPOSITORY).free // 2**20, DISK_WARM_MIB if warm else DISK_COLD_MIB
    if disk < wanted:
        reasons.append(f"too little disk below {REPOSITORY}: {disk} MiB free, {wanted} needed")
    meminfo = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    memory = int(meminfo["MemAvailable"].split()[0]) // 1024
    if memory < MEMORY_MIB and not fabric.owner():
        reasons.append(f"too little memory: {memory} MiB available, {MEMORY_MIB} needed")
    return reasons


def is_warm() -> bool:
    """Whether what takes most of the time and the space has been built here before."""
    return any(CACHE.glob("rootfs-*")) and any((CACHE / "images").glob("debian12-*"))


def announcement() -> str:
    """What the demo installs, touches and needs."""
    missing = missing_packages()
    legs = ", ".join(f"{segment.leg} {segment.leg_address}/{segment.network.split('/')[1]}" for segment in SEGMENTS if segment.leg)
    inner = ", ".join(segment.network for segment in SEGMENTS if not segment.leg)
    return f"""This brings up {len(HOSTS)} emulated hosts ({", ".join(plan.name for plan in HOSTS)}) and a virtual cluster on them.

  installs   apt packages of this machine: {" ".join(missing) or "none, all are there"}
             everything else goes below {CACHE}
  touches    network namespaces vc-*; links {legs};
             only inside namespaces: {inner} and the virtual cluster's own network
             mounts below {CACHE / "lab"}, cgroups vc-lab-*.scope, /run/vc-lab,
             fs.inotify.max_user_instances (raised while the lab is up)
  needs      {DISK_COLD_MIB} MiB of disk ({DISK_WARM_MIB} once built), {MEMORY_MIB} MiB of memory, root, a Debian mirror and a Python index
  removes    'make demo-down' takes everything away but the caches and the apt packages; 'make distclean' the caches
"""


def ensure_packages() -> list[str]:
    """Install what is missing, when YES=1 allows it; returns it, and notes it for demo-down to list."""
    missing = missing_packages()
    if not missing and is_warm():
        return []
    if missing and os.environ.get("YES") != "1":
        raise LabError(f"these packages are missing: {' '.join(missing)}; say YES=1 to have them installed")
    CACHE.mkdir(exist_ok=True)
    log = CACHE / "apt.log"
    run_logged(["apt-get", "update", "-q"], log)
    if missing:
        run_logged(["apt-get", "install", "-y", "-q", "--no-install-recommends", *missing], log)
        if still := missing_packages():
            raise LabError(f"apt did not install {' '.join(still)}; see {log}")
        with INSTALLED.open("a") as stream:
            stream.write("".join(f"{package}\n" for package in missing))
    return missing
