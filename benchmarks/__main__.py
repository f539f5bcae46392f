# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""`make bench`: run all benchmarks and write docs/benchmarks.md.  `make bench ONLY=NAME` runs that one and leaves the others' tables."""

from __future__ import annotations

import os
import platform
import subprocess
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
RESULTS = CACHE / "results"
PAGE = ROOT / "docs" / "benchmarks.md"
ROUNDS = 5
# Of the daemons.
RELEASE = "bookworm"
BEGIN = f"""# Benchmarks

Written by `make bench`; nothing here is held by a test, because a busy machine would break it. Each table comes from one run, in which
the ways that are compared take turns; a figure is the fastest of {ROUNDS} rounds (one for loops, which take minutes).
The ratios are what counts.
"""


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


def machine() -> list[str]:
    """What it ran on."""
    cpu = next(
        (line.partition(":")[2].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")), ""
    )
    memory = int(Path("/proc/meminfo").read_text().split()[1]) / 1024 / 1024
    ansible = run([str(Path(sys.executable).parent / "ansible"), "--version"]).splitlines()[0]
    versions = subprocess.run(
        [
            "chroot",
            str(rootfs.rootfs(RELEASE)),
            "dpkg-query",
            "-W",
            "-f",
            "${Package} ${Version}, ",
            "libvirt-daemon",
            "openvswitch-switch",
            "slurmctld",
        ],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.rstrip(", ")
    return [
        "| | |",
        "|---|---|",
        f"| machine | {os.cpu_count()} CPUs ({cpu}), {memory:.0f} GiB, Linux {platform.release()} |",
        f"| software | {ansible}, Python {platform.python_version()}; daemons of Debian 12: {versions} |",
    ]


def measured(name: str) -> None:
    """Run one benchmark and keep its table."""
    load, commit = os.getloadavg()[0], run(["git", "-C", str(ROOT), "describe", "--always", "--dirty"]).strip()
    begun = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())
    with tempfile.TemporaryDirectory() as directory:
        lines = BENCHMARKS[name](Path(directory)).lines()
    lines += ["", f"Begun {begun} at commit {commit}; load of the machine {load:.1f} before, {os.getloadavg()[0]:.1f} after."]
    print("\n".join(lines), flush=True)
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / f"{name}.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


def write_page() -> None:
    known = [name for name in BENCHMARKS if (RESULTS / f"{name}.md").exists()]
    tables = [(RESULTS / f"{name}.md").read_text(encoding="utf-8") for name in known]
    tables += [f"Not measured yet: {name}.\n" for name in BENCHMARKS if name not in known]
    PAGE.write_text("\n".join([BEGIN, *machine(), "", "\n".join(tables)]), encoding="utf-8")


def main(names: Sequence[str]) -> int:
    unknown = [name for name in names if name not in BENCHMARKS]
    if unknown:
        print(f"bench: there is no benchmark {unknown[0]!r}; there are {', '.join(BENCHMARKS)}", file=sys.stderr)
        return 1
    try:
        furnish()
        for name in names or BENCHMARKS:
            print(f"{name} ...", flush=True)
            measured(name)
            write_page()
    except BenchError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
