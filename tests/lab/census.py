# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs on a host (fed to its /usr/bin/python3): everything a virtual cluster could leave behind, as sorted lines by category.

Knows nothing of the collection on purpose: what our own code would list, our own code could forget.
"""

from __future__ import annotations

import glob
import json
import os
import re
import stat
import subprocess
import sys
from collections.abc import Iterable, Iterator

# Places below /run that live with the machine (device database, journal, units, log-ins), and the proofs' own.
MACHINE_RUN = (
    "/run/udev",
    "/run/vc-proof-modules",
    "/run/systemd",
    "/run/log",
    "/run/user",
    "/run/utmp",
    "/run/credentials",
    # Of the first log-in since the machine booted.
    "/run/motd.dynamic",
    "/run/sudo",
    "/run/blkid",
    "/run/host",
    # Locks stay for whoever waits for them.
    "/run/vc/frontend.",
)
# From OpenSSH 9.8 on sshd has a program of its own for them.
LOGIN = re.compile(r"sshd(-session)?: \S+( |@)(?!.*listener)")
ANSIBLE = re.compile(r"ansible[-_.]|/\.ansible/")


# Where the vault is in the lab, and where it would be if somebody had not been told.
VAULTS = ("/srv/vc-vault", "/var/lib/vc-vault")
# A timer's look for a moment, now and then.
REAP = "vc-flush reap"
REAP_UNIT = "vc-reap.service"
# The system's own, which ends when nobody has asked for two minutes and is back with the next question.
LIBVIRTD = "/usr/sbin/libvirtd --timeout 120"
LIBVIRTD_PIDS = re.compile(r"/run/(libvirtd|libvirt/[a-z]+/driver)\.pid$")


def output(*argv: str) -> str:
    """Stdout of a command; empty where the program or its daemon is not there, which is a fact about the host like any other."""
    try:
        done = subprocess.run(argv, capture_output=True, text=True, errors="replace", timeout=30, check=False)
    except (FileNotFoundError, PermissionError):
        return ""
    return done.stdout if done.returncode == 0 else ""


def processes() -> Iterator[str]:
    """Owner and command line of all but this census and log-in sessions (the controller's kept connections)."""
    seen: dict[int, tuple[int, int, str]] = {}
    for entry in glob.glob("/proc/[0-9]*"):
        try:
            pid = int(entry[6:])
            with open(f"{entry}/stat", encoding="utf-8", errors="replace") as stream:
                fields = stream.read().rpartition(")")[2].split()
            with open(f"{entry}/cmdline", "rb") as binary:
                command = binary.read().replace(b"\0", b" ").decode("utf-8", "replace").strip()
            if fields[0] != "Z" and command:
                seen[pid] = (int(fields[1]), os.stat(entry).st_uid, command)
        except (FileNotFoundError, ProcessLookupError):
            continue

    def passing(pid: int) -> bool:
        if seen[pid][2] == LIBVIRTD:
            return True
        while pid in seen:
            command = seen[pid][2]
            if pid == os.getpid() or LOGIN.match(command) or ANSIBLE.search(command) or REAP in command:
                return True
            pid = seen[pid][0]
        return False

    for pid, (parent, uid, command) in seen.items():
        if (
            parent != os.getpid()
            and not passing(pid)
            and not re.match(r"(/usr)?/lib/(systemd/systemd-(udevd|hostnamed|timedated|machined)|polkit-1/polkitd )|\(", command)
        ):
            yield f"uid {uid}: {re.sub(r'[0-9]+ of [0-9-]+ startups', 'startups', command)[:300]}"


def mounts() -> Iterator[str]:
    with open("/proc/self/mountinfo", encoding="utf-8") as stream:
        for line in stream:
            left, right = line.split(" - ")
            place = left.split()[4]
            if not place.startswith(MACHINE_RUN):
                yield f"{place} {' '.join(right.split()[:2])}"


def links() -> Iterator[str]:
    for link in json.loads(output("ip", "-json", "-details", "link") or "[]"):
        kind = link.get("linkinfo", {}).get("info_kind", "-")
        yield f"{link['ifname']} {kind} mtu {link['mtu']} master {link.get('master', '-')}"
    for link in json.loads(output("ip", "-json", "address") or "[]"):
        for address in link["addr_info"]:
            if address.get("scope") == "global":
                yield f"{link['ifname']} {address['local']}/{address['prefixlen']}"


def ovsdb() -> Iterator[str]:
    """Rows by their meaning (row ids and what the daemon measures left out), then the flows of every bridge."""
    if not os.path.exists("/run/openvswitch/db.sock"):
        return
    columns = {
        "Bridge": "name,datapath_type,fail_mode,external_ids,other_config",
        "Port": "name,tag,protected,external_ids,other_config",
        "Interface": "name,type,options,external_ids,mtu_request",
    }
    for table, names in columns.items():
        answer = output("ovs-vsctl", "--timeout=5", "--format=json", f"--columns={names}", "list", table)
        for row in json.loads(answer)["data"] if answer else []:
            yield f"{table} {json.dumps(row, sort_keys=True)}"
    for bridge in output("ovs-vsctl", "--timeout=5", "list-br").split():
        for port in output("ovs-vsctl", "--timeout=5", "list-ports", bridge).split():
            yield f"{bridge} has port {port}"
        for flow in output("ovs-ofctl", "--no-stats", "--names", "dump-flows", bridge).splitlines():
            yield f"{bridge} flow {flow.strip()}"


def targets() -> Iterator[str]:
    """iSCSI targets with their stores, accounts and connected initiators; numbers that the daemon gives out are left out."""
    target = ""
    for line in output("tgtadm", "--lld", "iscsi", "--mode", "target", "--op", "show").splitlines():
        words = line.strip()
        if line.startswith("Target "):
            target = words.split(": ", 1)[1]
            yield f"target {target}"
        elif words.startswith(("Backing store path:", "Initiator:", "Readonly:")) or (line.startswith("        ") and ":" not in words):
            yield f"target {target}: {words}"


def tree(root: str, without: tuple[str, ...] = ()) -> Iterator[str]:
    for place, directories, files in os.walk(root):
        directories[:] = [name for name in directories if not f"{place}/{name}".startswith(without or ("\0",))]
        for name in directories + files:
            path = f"{place}/{name}"
            try:
                seen = os.lstat(path)
            except FileNotFoundError:
                continue
            if not path.startswith(without or ("\0",)) and not ANSIBLE.search(path):
                yield f"{path} {stat.filemode(seen.st_mode)} uid {seen.st_uid}"


# What systemd keeps for itself (such as the slice of a template unit), and what D-Bus or a socket starts when somebody asks.
PASSING_CGROUPS = re.compile(
    r"/user\.slice|/(session|run)-[^/]*\.scope|@\.service|systemd-(hostnamed|timedated|machined)"
    r"|/(polkit|libvirtd)\.service$|/machine\.slice$|/system-[^/]*\.slice$"
)


def cgroups() -> Iterator[str]:
    for place, _, _ in os.walk("/sys/fs/cgroup"):  # pylint: disable=disallowed-name
        if not PASSING_CGROUPS.search(place) and not place.endswith(REAP_UNIT):
            yield place


def units() -> Iterator[str]:
    for line in output("systemctl", "list-units", "--all", "--plain", "--no-legend", "--no-pager").splitlines():
        name, _, state = (line.split() + ["", "", ""])[:3]  # pylint: disable=disallowed-name
        if name == REAP_UNIT and state != "failed":
            continue
        if state == "failed" or re.match(r"vc-", name) or name.startswith("run-") and name.endswith(".service"):
            yield f"{name} {state}"


def registry() -> Iterator[str]:
    """What the vault holds: which files, and what the records say.  A lease that nobody holds is no leak: it counts epochs."""
    for root in VAULTS:
        leases = f"{root}/registry/leases"
        yield from tree(root, (leases,))
        for path in glob.glob(f"{root}/**/*.json", recursive=True):
            try:
                with open(path, encoding="utf-8") as stream:
                    record = json.load(stream, object_hook=without_counters)
                if not path.startswith(leases) or record["holder"] is not None:
                    yield f"{path} says {json.dumps(record, sort_keys=True)}"
            except (FileNotFoundError, ValueError, KeyError) as error:
                yield f"{path} unreadable: {type(error).__name__}"


def without_counters(record: dict[str, object]) -> dict[str, object]:
    return {key: value for key, value in record.items() if not re.search("epoch|secret|password", key)}


def slurm() -> Iterator[str]:
    """What the controller says, on its own host: elsewhere it would be the same, and a query waits long where it is not up."""
    if not output("pgrep", "-x", "slurmctld"):
        return
    yield from (f"node {line}" for line in output("sinfo", "-h", "-N", "-o", "%N %T %E").splitlines())
    yield from (
        f"job {line}" for line in output("squeue", "-h", "-a", "-t", "all", "-S", "i", "-o", "%i %u %j %T").splitlines() if not ended(line)
    )


def ended(line: str) -> bool:
    """Slurm shows a finished job for some minutes more."""
    return line.split()[-1] in {
        "CANCELLED",
        "COMPLETED",
        "FAILED",
        "TIMEOUT",
        "NODE_FAIL",
        "OUT_OF_MEMORY",
        "PREEMPTED",
        "BOOT_FAIL",
        "DEADLINE",
    }


CATEGORIES = {
    "processes": processes,
    "mounts": mounts,
    "links": links,
    "ovsdb": ovsdb,
    "targets": targets,
    "run": lambda: (line for line in tree("/run", MACHINE_RUN) if not LIBVIRTD_PIDS.match(line.split()[0])),
    "shm": lambda: tree("/dev/shm"),
    "tmp": lambda: (line for root in ("/tmp", "/var/tmp") for line in tree(root, ("/tmp/systemd-", "/var/tmp/systemd-"))),
    "scratch": lambda: tree("/var/lib/vc-scratch"),
    "nftables": lambda: (line.strip() for line in output("nft", "--stateless", "list", "ruleset").splitlines()),
    "cgroups": cgroups,
    "units": units,
    "domains": lambda: output("virsh", "-q", "-c", "qemu:///system", "list", "--all", "--name").split(),
    "registry": registry,
    "slurm": slurm,
}


def census() -> dict[str, list[str]]:
    def lines(source: Iterable[str]) -> list[str]:
        return sorted(source)

    return {name: lines(take()) for name, take in CATEGORIES.items()}


if __name__ == "__main__":
    json.dump(census(), sys.stdout)
