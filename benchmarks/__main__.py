# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""`make bench`: run all benchmarks and write docs/benchmarks.md.  `make bench ONLY=NAME` runs that one and leaves the other tables."""

from __future__ import annotations

import os
import platform
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "molecule" / "lab"))

from vclab import rootfs
from vclab.controller import link_collection

from benchmarks import converge, inventory, partitions, tunnels
from benchmarks.measure import BenchError, run
from benchmarks.room import COLLECTIONS, PACKAGES, Room
from benchmarks.table import Table

ROOT = Path(__file__).resolve().parent.parent
CACHE = ROOT / ".cache" / "bench"
PAGE = ROOT / "docs" / "benchmarks.md"
ROUNDS = 5
# Of the daemons.
RELEASE = "bookworm"
BEGIN = f"""# Benchmarks

Written by `make bench`; no figure here is held by a test, because a busy machine would break it. Each table comes from one run, in which
the ways that are compared take turns; a figure is the fastest of {ROUNDS} rounds. Loops, which take minutes,
have one round, after the others. The ratios are what counts.
"""
HEADING = "## "


def in_room(measure: Callable[[Room, int], Table]) -> Callable[[Path], Table]:
    """A benchmark that needs a host; each has its own, fresh one."""

    def measured(directory: Path) -> Table:
        with Room(rootfs.rootfs(RELEASE), directory / "room") as room:
            return measure(room, ROUNDS)

    return measured


BENCHMARKS: dict[str, Callable[[Path], Table]] = {
    "converge": in_room(converge.measure),
    "tunnels": in_room(tunnels.measure),
    "inventory": lambda directory: inventory.measure(directory, ROUNDS),
    "partitions": lambda directory: partitions.measure(directory, ROUNDS),
}


def furnish() -> None:
    """Get what only benchmarks need, once."""
    link_collection()
    done = CACHE / "furnished"
    wanted = (ROOT / "benchmarks" / "requirements.txt").read_text(encoding="utf-8")
    if done.exists() and done.read_text(encoding="utf-8") == wanted:
        return
    pins = dict(line.split("==") for line in wanted.splitlines() if "==" in line)
    pip = [sys.executable, "-m", "pip", "-q", "--disable-pip-version-check"]
    with tempfile.TemporaryDirectory() as directory:
        run([*pip, "download", "--no-deps", "--dest", directory, f"ansible=={pins['ansible']}"])
        (wheel,) = Path(directory).glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(
                COLLECTIONS, [name for name in archive.namelist() if name.startswith("ansible_collections/community/libvirt/")]
            )
    run([*pip, "install", "--no-deps", "--upgrade", "--target", str(PACKAGES), f"lxml=={pins['lxml']}"])
    done.write_text(wanted, encoding="utf-8")


def machine() -> str:
    """What it ran on, and with what."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    cpu = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    memory = int(Path("/proc/meminfo").read_text(encoding="utf-8").split()[1]) / 1024 / 1024
    ansible = run([str(Path(sys.executable).parent / "ansible"), "--version"]).splitlines()[0]
    shown = ["dpkg-query", "-W", "-f", "${Package} ${Version}, ", "libvirt-daemon", "openvswitch-switch", "slurmctld"]
    daemons = run(["chroot", str(rootfs.rootfs(RELEASE)), *shown]).rstrip(", ")
    return (
        f"{os.cpu_count()} CPUs ({cpu}), {memory:.0f} GiB, Linux {platform.release()}; {ansible}, Python {platform.python_version()}; "
        f"daemons of Debian 12: {daemons}"
    )


def measured(name: str) -> str:
    """Run one benchmark; its part of the page."""
    load, commit = os.getloadavg()[0], run(["git", "-C", str(ROOT), "describe", "--always", "--dirty"]).strip()
    begun = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())
    with tempfile.TemporaryDirectory() as directory:
        lines = BENCHMARKS[name](Path(directory)).lines()
    lines += ["", f"Begun {begun} at commit {commit}; load of the machine {load:.1f} before, {os.getloadavg()[0]:.1f} after. {machine()}."]
    print("\n".join(lines), flush=True)
    return "\n".join(lines)


def parts_of_the_page() -> dict[str, str]:
    """The page's tables by their titles."""
    if not PAGE.exists():
        return {}
    _begin, *parts = PAGE.read_text(encoding="utf-8").split(f"\n{HEADING}")
    return {part.partition("\n")[0]: HEADING + part.rstrip("\n") for part in parts}


def keep(part: str) -> None:
    """Put a table in the place of its last one, or at the end."""
    parts = parts_of_the_page()
    parts[part.partition("\n")[0].removeprefix(HEADING)] = part
    PAGE.write_text("\n".join([BEGIN, *(f"{text}\n" for text in parts.values())]).rstrip("\n") + "\n", encoding="utf-8")


def main(names: Sequence[str]) -> int:
    unknown = [name for name in names if name not in BENCHMARKS]
    if unknown:
        print(f"bench: there is no benchmark {unknown[0]!r}; there are {', '.join(BENCHMARKS)}", file=sys.stderr)
        return 1
    try:
        furnish()
        for name in names or BENCHMARKS:
            print(f"{name} ...", flush=True)
            keep(measured(name))
    except BenchError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
