# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab's command line."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence

from . import controller, demo, host, lifecycle, preflight, ready
from .layout import CACHE, DEBIAN13, EVERY_HOST, HOSTS, REPOSITORY, host_plan
from .process import ENVIRONMENT, LabError, run

PROGRAM = REPOSITORY / "molecule" / "lab" / "lab"


def status() -> int:
    """One line per host: name, state, addresses, failed units."""
    for plan in EVERY_HOST:
        state = host.state(plan.name)
        if plan == DEBIAN13 and state == "absent":
            continue
        failed = ""
        if state == "degraded":
            listing = run([*host.enter(plan.name), "systemctl", "list-units", "--failed", "--plain", "--no-legend"]).stdout
            failed = "failed: " + " ".join(line.split()[0] for line in listing.splitlines())
        print(f"{plan.name:6} {state:10} {plan.address:12} {plan.underlay or '-':12} {failed}".rstrip())
    return 0


def images(names: Sequence[str]) -> int:
    for name in names or list(ready.IMAGES):
        print(ready.image(name))
    return 0


def execute(name: str, command: Sequence[str]) -> int:
    host.execute(host_plan(name).name, command or ["/bin/bash", "-l"])
    return 0


def ssh(name: str, command: Sequence[str]) -> int:
    variables = {**ENVIRONMENT, "TERM": os.environ.get("TERM", "dumb")}
    os.execvpe("ssh", ["ssh", "-F", str(lifecycle.SSH_CONFIG), host_plan(name).name, *command], variables)


def parser() -> argparse.ArgumentParser:
    words = argparse.ArgumentParser(prog="lab", description="The emulated hosts of hpc.virtual_cluster.")
    verbs = words.add_subparsers(dest="verb", required=True)
    up, down = verbs.add_parser("up", help="bring networks and hosts up"), verbs.add_parser("down", help="remove them")
    for sub in (up, down):
        sub.add_argument("--hosts", nargs="+", default=[], metavar="HOST", help="only these")
    up.add_argument("--bare", action="store_true", help="with nothing but what an installer leaves; new hosts only")
    verbs.add_parser("crash", help="pull the plug of hosts, keep their disks").add_argument("hosts", nargs="+", metavar="HOST")
    verbs.add_parser("images", help="build the guest images").add_argument("names", nargs="*", metavar="IMAGE")
    verbs.add_parser("status", help="show the hosts")
    for verb, text in (("exec", "run a command as root in a host, past PAM"), ("ssh", "log in to a host as root")):
        sub = verbs.add_parser(verb, help=text)
        sub.add_argument("host", metavar="HOST")
        sub.add_argument("command", nargs=argparse.REMAINDER, metavar="CMD")
    play = verbs.add_parser("play", help="run a playbook of the collection on the lab")
    play.add_argument("playbook", metavar="NAME")
    play.add_argument("arguments", nargs=argparse.REMAINDER, metavar="ARG")
    nodes = verbs.add_parser("ansible", help="run a module on nodes of its virtual clusters, such as: vc1 -m ping")
    nodes.add_argument("arguments", nargs=argparse.REMAINDER, metavar="ARG")
    verbs.add_parser("venv", help="make the virtual environment of tests and linters")
    verbs.add_parser("roots", help="build the root file systems of the hosts")
    verbs.add_parser("ready", help="make what tests begin with, packages and virtual environment; root file systems go on being built")
    for verb, text in (("demo", "make demo"), ("demo-down", "make demo-down"), ("distclean", "make distclean")):
        verbs.add_parser(verb, help=text)
    return words


def roots() -> int:
    ready.roots(plan.release for plan in HOSTS)
    return 0


def make_ready() -> int:
    """Tests are collected while the root file systems are built; who brings up the lab waits for them, and builds what failed again."""
    preflight.ensure_packages()
    CACHE.mkdir(exist_ok=True)
    with (CACHE / "roots.log").open("wb") as log:
        subprocess.Popen([PROGRAM, "roots"], stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
    controller.venv(everything=True)
    return 0


def dispatch(given: argparse.Namespace) -> int:
    if given.verb == "demo":
        return demo.up()
    if given.verb == "venv":
        # Who only lints needs neither root nor the lab's packages, but for the one that makes virtual environments.
        if os.geteuid() == 0 and preflight.missing_packages():
            preflight.ensure_packages()
        print(controller.venv(everything=True))
        return 0
    if given.verb == "play":
        return controller.play(given.playbook, given.arguments)
    if given.verb == "ansible":
        return controller.ansible(given.arguments)
    if os.geteuid() != 0:
        raise LabError("the lab needs root: namespaces, mounts and cgroups")
    if given.verb == "up":
        lifecycle.up(given.hosts, given.bare)
        ready.images()
        return 0
    if given.verb in ("down", "crash"):
        {"down": lifecycle.down, "crash": lifecycle.crash}[given.verb](given.hosts)
        return 0
    if given.verb in ("ready", "roots"):
        return {"ready": make_ready, "roots": roots}[given.verb]()
    if given.verb == "images":
        return images(given.names)
    if given.verb in ("exec", "ssh"):
        return {"exec": execute, "ssh": ssh}[given.verb](given.host, given.command)
    return {"status": status, "demo-down": demo.down, "distclean": demo.distclean}[given.verb]()


def main(argv: Sequence[str]) -> int:
    try:
        return dispatch(parser().parse_args(argv))
    except LabError as error:
        print(f"lab: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("lab: interrupted; run it again to go on", file=sys.stderr)
        return 130
