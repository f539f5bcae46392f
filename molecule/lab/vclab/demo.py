# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""`make demo` and `make demo-down`: from a machine with nothing to a running virtual cluster, and back."""

from __future__ import annotations

import os
import queue
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from . import controller, lifecycle, preflight, ready
from .cache import locked
from .layout import CACHE, HOSTS, REPOSITORY, STATE
from .process import SLOWNESS, LabError, run

TABLE = STATE / "status.txt"
QUIET_SECONDS = 15


class Stages:
    """Numbered stages with their times; what they print goes to the terminal and to a log."""

    def __init__(self, count: int) -> None:
        self._count = count
        self.times: list[tuple[str, float]] = []

    def run(self, title: str, action: Callable[[], object]) -> None:
        started = time.monotonic()
        print(f"\n[{len(self.times) + 1}/{self._count}] {title}", flush=True)
        action()
        self.times.append((title, time.monotonic() - started))
        print(f"      done in {self.times[-1][1]:.0f} s", flush=True)

    def summary(self) -> str:
        lines = [f"  {seconds:5.0f} s  {title}" for title, seconds in self.times]
        return "\n".join([*lines, f"  {sum(seconds for _part, seconds in self.times):5.0f} s  in all"])


def play(name: str, *arguments: str, shown: bool = True) -> None:
    """Run a playbook, its output shown as it comes (or only logged); a sign of life when there is none."""
    argv, variables = controller.play_command(name, arguments)
    if sys.stdout.isatty():
        variables["ANSIBLE_FORCE_COLOR"] = "true"
    process = subprocess.Popen(
        argv, env=variables, cwd=REPOSITORY, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    lines: queue.Queue[bytes] = queue.Queue()
    stream = process.stdout
    assert stream is not None

    def read() -> None:
        for line in stream:
            lines.put(line)
        lines.put(b"")

    threading.Thread(target=read, daemon=True).start()
    started = time.monotonic()
    with (CACHE / "demo.log").open("ab") as log:
        while True:
            try:
                line = lines.get(timeout=QUIET_SECONDS)
            except queue.Empty:
                print(f"      ... {name}, {time.monotonic() - started:.0f} s, still at this task", flush=True)
                continue
            if not line:
                break
            log.write(line)
            if shown:
                sys.stdout.write(line.decode(errors="replace"))
                sys.stdout.flush()
    if process.wait() != 0:
        raise LabError(f"playbook {name} failed (its output is in {CACHE / 'demo.log'}); run 'make demo' again to go on from here")


def agreed() -> bool:
    if os.environ.get("YES") == "1":
        return True
    if not sys.stdin.isatty():
        raise LabError("nobody is there to ask: say YES=1 to go ahead")
    return input("Go ahead? [y/N] ").strip().lower() in ("y", "yes")


def up() -> int:
    """The whole demo; a second run goes through the same and changes nothing."""
    print(preflight.announcement())
    if reasons := preflight.refusals():
        raise LabError("this machine cannot run the demo:\n" + "\n".join(f"  - {reason}" for reason in reasons))
    if not agreed():
        print("Nothing has been changed.")
        return 1
    os.environ["YES"] = "1"
    (CACHE / "demo.log").unlink(missing_ok=True)
    stages = Stages(8)
    stages.run("Packages of this machine", preflight.ensure_packages)
    stages.run("Ansible in a virtual environment", lambda: controller.venv(everything=False))
    stages.run("Root file system of the hosts (built once)", lambda: ready.roots(plan.release for plan in HOSTS))
    # The next stages keep no machine busy, and need no image.
    with ThreadPoolExecutor() as beside:
        images = beside.submit(ready.images)
        stages.run("Hosts and networks", lambda: lifecycle.up([]))
        # A mirror that is away shows within seconds.
        if images.done():
            images.result()
        stages.run("playbooks/site.yml: Slurm, vault, networks, hypervisors", lambda: play("site"))
        stages.run("Guest images (built once, since stage 4)", images.result)
    stages.run("playbooks/comet.yml: virtual cluster vc1", lambda: play("comet", *patience()))
    stages.run("playbooks/status.yml", table)
    print(f"\n{TABLE.read_text()}\n{stages.summary()}\n\n{hints()}")
    return 0


def table() -> None:
    """Have the nodes listed. The vault hears of a guest that has come up a moment after whoever waited for it."""
    for _look in range(4):
        play("status", "-e", f"table={TABLE}", shown=False)
        if not {"preparing", "booting"} & set(TABLE.read_text().split()):
            break


def patience() -> list[str]:
    """What makes the playbook wait longer for guests than the modules do by themselves, where that is wanted."""
    return ["-e", f"wait_timeout={600 * SLOWNESS}"] if SLOWNESS > 1 else []


def hints() -> str:
    relative = lifecycle.SSH_CONFIG.relative_to(REPOSITORY)
    commands = [
        (f"ssh -F {relative} -t vc1 ssh compute0", "into the frontend, and on to a compute by name"),
        ("molecule/lab/lab play status", "who runs where, and for how long"),
        ("molecule/lab/lab ansible vc1 -m ping", "its nodes as an inventory: molecule/lab/lab.vc_nodes.yml"),
        ("molecule/lab/lab play terminate -e vc=vc1 -e set=sim", "end the computes; 'make demo' starts them again"),
    ]
    width = max(len(command) for command, _meaning in commands)
    lines = [f"  {command:{width}}   {meaning}" for command, meaning in commands]
    return "\n".join([f"Try next, in {REPOSITORY}:", *lines, "Take it away: make demo-down"])


def down() -> int:
    """Remove the lab; list what stays."""
    lifecycle.down([])
    print("Still there:")
    for path in sorted(CACHE.iterdir()) if CACHE.is_dir() else []:
        if not path.name.startswith("."):
            print(f"  {run(['du', '-sh', str(path)]).stdout.split()[0]:>6}  {path}")
    if preflight.INSTALLED.exists():
        print(f"  apt packages that the demo installed: {' '.join(sorted(set(preflight.INSTALLED.read_text().split())))}")
    print("'make distclean' removes the caches.")
    return 0


def distclean() -> int:
    """Remove the lab and everything it ever built."""
    lifecycle.down([])
    # Who makes tests ready leaves a builder behind.
    with locked(CACHE / ".rootfs.lock"):
        if f" {CACHE}/" in Path("/proc/self/mounts").read_text():
            raise LabError(f"something is still mounted below {CACHE}: umount it first")
        shutil.rmtree(CACHE)
    print(f"removed {CACHE}")
    return 0
