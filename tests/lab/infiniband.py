# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Looks at the lab's fabric with infiniband-diags, from any adapter's own port; knows nothing of the collection."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Iterator, Sequence

from tests.lab.host import ROOT, on, python

sys.path.insert(0, str(ROOT / "molecule" / "lab"))

from vclab import infiniband as simulated

MANAGER = simulated.SERVER.name
UNIT = f"opensm@{simulated.host_guid(simulated.SERVER)}.service"
FILE = "/etc/opensm/partitions.conf"
DROPIN = "/run/systemd/system/opensm@.service.d/zz-proof.conf"

# Everything that one look wants to know, in one process on the host.
LOOK = """
import json, subprocess, sys
tables, paths, groups, variables = json.loads(sys.argv[1])
def asked(adapter, *argv):
    seen = {**variables, "PATH": "/usr/sbin:/usr/bin"}
    environment = {**seen, "SIM_HOST": adapter} if adapter else seen
    return subprocess.run(argv, env=environment, cwd="/run", capture_output=True, text=True).stdout
def keys(guid):
    argv = ["smpquery", "-G", "pkeys", guid, "1"] if guid else ["smpquery", "-D", "pkeys", "0", "1"]
    rows = [line.partition(":")[2].split() for line in asked("", *argv).splitlines() if line.strip()[:1].isdigit() and ":" in line]
    return sorted({key for row in rows for key in row} - {"0x0000"})
def lid(*argv):
    return asked(*argv).partition("\\nLid:")[2].partition("\\n")[0].strip(".")
found = []
for adapter, target, key in paths:
    here, there = lid(adapter, "smpquery", "-D", "portinfo", "0", "1"), lid("", "smpquery", "-G", "portinfo", target, "1")
    assert here.isdigit() and there.isdigit(), (here, there)
    found.append("PathRecord dump" in asked(adapter, "saquery", "PR", "--slid", here, "--dlid", there, "--pkey", key))
told = [group in asked(adapter, "saquery", "MCMR", "--mgid", group) for adapter, group in groups]
print(json.dumps([{guid: keys(guid) for guid in tables}, found, told]))
"""
# The port of the host that looks.
OWN = ""


def node(vni: int, index: int) -> str:
    return simulated.node_guid(vni, index)


def look(
    host: str, guids: Sequence[str], paths: Sequence[tuple[str, str, str]] = (), groups: Sequence[tuple[str, str]] = ()
) -> tuple[dict[str, set[str]], list[bool], list[bool]]:
    """The pkey tables of these ports, whether there are these paths (adapter that asks, port, key), and groups (adapter, MGID)."""
    tables, found, told = python(host, LOOK, json.dumps([guids, paths, groups, simulated.environment(host)]))
    return {guid: set(keys) for guid, keys in tables.items()}, found, told


def keys(host: str, *guids: str) -> dict[str, set[str]]:
    return look(host, guids)[0]


def read() -> str:
    return on(MANAGER, "cat", FILE)


def write(text: str) -> None:
    """As an admin's editor would, and nothing else."""
    on(MANAGER, "tee", FILE, stdin=text)


def reload() -> None:
    on(MANAGER, "systemctl", "reload", UNIT)


# A package as it was before it was unpacked, with the scripts that its manager runs, in a repository of its own.
REPACK = """
import hashlib, os, shutil, subprocess, sys
name, place = sys.argv[1:]
def output(*argv):
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout
tree = place + "/tree"
os.makedirs(tree + "/DEBIAN")
for path in output("dpkg-query", "-L", name).splitlines():
    if os.path.isdir(path):
        os.makedirs(tree + path, exist_ok=True)
    elif os.path.lexists(path):
        shutil.copy2(path, tree + path, follow_symlinks=False)
for script in ("preinst", "postinst", "prerm", "postrm", "conffiles"):
    shutil.copy2("/var/lib/dpkg/info/" + name + "." + script, tree + "/DEBIAN/" + script)
fields = [line for line in output("dpkg-query", "-s", name).splitlines() if not line.startswith(("Status:", "Conffiles:", " /etc/"))]
control = "\\n".join(fields) + "\\n"
open(tree + "/DEBIAN/control", "w").write(control)
package = place + "/" + name + ".deb"
subprocess.run(["dpkg-deb", "--root-owner-group", "-b", tree, package], check=True, capture_output=True)
content = open(package, "rb").read()
told = "Filename: ./%s.deb\\nSize: %d\\nSHA256: %s\\n" % (name, len(content), hashlib.sha256(content).hexdigest())
open(place + "/Packages", "w").write(control + told)
open(place + "/proof.list", "w").write("deb [trusted=yes] file:%s ./\\n" % place)
alone = ["-o", "Dir::Etc::SourceList=/dev/null", "-o", "Dir::Etc::SourceParts=" + place, "-o", "APT::Get::List-Cleanup=0"]
subprocess.run(["apt-get", "-q", *alone, "update"], check=True, capture_output=True)
print("null")
"""
REPOSITORY = "/var/tmp/vc-proof-packages"
# On which port each OpenSM started, and how many default partitions its file had then.
STARTS = f"{REPOSITORY}/starts"
NOTE_STARTS = f"[Service]\nExecStartPre=/bin/sh -c 'echo %i $$(cat {FILE} | grep -c ^Default=0x7fff) >> {STARTS}'\n"


def starts() -> set[str]:
    return set(on(MANAGER, "cat", STARTS).splitlines())


@contextlib.contextmanager
def not_installed() -> Iterator[None]:
    """A host that has never had OpenSM, and whose package manager can get it; every start of it is noted."""
    place, source = FILE.rpartition("/")[0], "/etc/apt/sources.list.d/vc-proof.list"
    python(MANAGER, REPACK, "opensm", REPOSITORY)
    on(MANAGER, "cp", f"{REPOSITORY}/proof.list", source)
    on(MANAGER, "systemctl", "stop", "opensm.service", UNIT)
    on(MANAGER, "dpkg", "--purge", "opensm")
    on(MANAGER, "mv", place, f"{REPOSITORY}/etc")
    on(MANAGER, "sh", "-c", "rm -f /etc/systemd/system/opensm*.d/vc-[pr]*.conf; systemctl daemon-reload")
    try:
        with settings(NOTE_STARTS):
            yield
    finally:
        on(MANAGER, "apt-get", "-qy", "install", "opensm")
        on(MANAGER, "sh", "-c", f"rm -rf {place} && mv {REPOSITORY}/etc {place} && systemctl start {UNIT} && systemctl reload {UNIT}")
        on(MANAGER, "sh", "-c", f"rm -r {source} {REPOSITORY} /var/lib/apt/lists/*vc-proof*")


def reload_is(command: str) -> contextlib.AbstractContextManager[None]:
    """OpenSM's unit does this instead of having it read its file."""
    return settings(f"[Service]\nExecReload=\nExecReload={command}\n")


@contextlib.contextmanager
def settings(text: str) -> Iterator[None]:
    """OpenSM's unit has these settings besides."""
    script = f"mkdir -p {DROPIN.rpartition('/')[0]} && cat > {DROPIN} && systemctl daemon-reload"
    on(MANAGER, "sh", "-c", script, stdin=text)
    try:
        yield
    finally:
        on(MANAGER, "sh", "-c", f"rm {DROPIN} && systemctl daemon-reload")
