# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs on a host: what a backend holds, to the byte, as name -> content.  Two equal dumps mean that nothing was written in between.

A name that begins with ``mtime`` tells that a file was written again with what it had; all others tell what is there.
Knows nothing of the collection on purpose, like the census that it stands on.
"""

from __future__ import annotations

import contextlib
import glob
import hashlib
import importlib
import json
import os
import re
import stat
import subprocess
import time
from collections.abc import Iterable

# Beside this file in the tree, in the same interpreter on the host.
try:
    import census
except ImportError:
    from tests.lab import census

# Below this size a file is read; a disk is known by its size and the time of its last write.
SMALL = 1 << 20
# What Slurm counts and measures while nobody changes anything.
VOLATILE = re.compile(r"\b(Reason|EligibleTime|AccrueTime|LastSchedEval|Scheduler|StartTime|EndTime|RunTime|SubmitTime|Deadline)=\S*")


def files(*roots: str, without: str = "") -> dict[str, str]:
    """Every file and directory: kind, mode, owner, content; and when it was written last."""
    found: dict[str, str] = {}
    for root in roots:
        for place, directories, names in os.walk(root):
            for path in [place, *(f"{place}/{name}" for name in [*names, *(entry for entry in directories if os.path.islink(entry))])]:
                if without and re.search(without, path):
                    continue
                try:
                    seen = os.lstat(path)
                    content = f"{seen.st_size} bytes" if stat.S_ISREG(seen.st_mode) else ""
                    if content and seen.st_size < SMALL:
                        with open(path, "rb") as stream:
                            content = hashlib.sha256(stream.read()).hexdigest()
                except FileNotFoundError:
                    continue
                found[path] = f"{stat.filemode(seen.st_mode)} uid {seen.st_uid} {content}"
                found[f"mtime {path}"] = str(seen.st_mtime_ns)
    return found


def numbered(lines: Iterable[str]) -> dict[str, str]:
    """Lines as names; the same line may come more than once."""
    found: dict[str, str] = {}
    for line in lines:
        found[line] = str(int(found.get(line, "0")) + 1)
    return found


def vault() -> dict[str, str]:
    """The registry, its claims, leases and secrets; the store; what the target daemon serves."""
    return {**files(*census.VAULTS), **numbered(census.targets())}


# What Open vSwitch keeps of what it was told; the rest of a row is what it measures.
COLUMNS = {
    "Bridge": "name,datapath_type,fail_mode,external_ids,other_config,ports",
    "Port": "name,tag,protected,external_ids,other_config,interfaces",
    "Interface": "name,type,options,external_ids,mtu_request",
}


def flows(bridge: str) -> list[str]:
    """None of a bridge that is not served, such as one with a datapath that is not there; a daemon that is busy is asked again."""
    for _look in range(5):
        said = subprocess.run(["ovs-ofctl", "--no-stats", "dump-flows", bridge], capture_output=True, text=True, timeout=30, check=False)
        if said.returncode == 0:
            return said.stdout.splitlines()
        time.sleep(0.2)
    if "is not a bridge or a socket" in said.stderr:
        return []
    # Nothing said would be no flows, and so a change that nobody has made.
    raise RuntimeError(f"the flows of {bridge}: {said.stderr}")


def overlay() -> dict[str, str]:
    """Open vSwitch's rows and flows, the kernel's links and the packet filter."""
    sections = [word for table, columns in COLUMNS.items() for word in ("--", f"--columns={columns}", "list", table)]
    text = census.output("ovs-vsctl", "--timeout=5", "--format=json", *sections)
    tables = [json.loads(line)["data"] for line in text.splitlines()]
    found = numbered(f"{name} {json.dumps(row)}" for name, rows in zip(COLUMNS, tables) for row in rows)
    for row in tables[0]:
        found.update(numbered(f"{row[0]} flow {flow}" for flow in flows(row[0])))
    filters = (line.strip() for line in census.output("nft", "--stateless", "list", "ruleset").splitlines())
    return {**found, **numbered([*census.links(), *filters])}


STATES = {1: "running", 3: "paused", 4: "in shutdown", 5: "shut off", 6: "crashed"}


def frontends() -> dict[str, str]:
    """Domains of the system libvirt, what it keeps of them, and the frontends' files; a running guest writes its disk and console."""
    found = files("/etc/libvirt/qemu", "/etc/libvirt/secrets")
    found.update(files("/var/lib/vc-frontends", without=r"/(disk\.qcow2|console\.log)$"))
    # Only on these hosts; virsh would be two processes for each domain.
    libvirt = importlib.import_module("libvirt")
    host = libvirt.openReadOnly("qemu:///system")
    for domain in host.listAllDomains():
        name = domain.name()
        found[f"domain {name}"] = domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)
        found[f"state {name}"] = STATES[domain.state()[0]]
        found[f"autostart {name}"] = str(domain.autostart())
    host.close()
    return found


def guests() -> dict[str, str]:
    """Computes whose QEMU runs on this host, and whether the kernel has stopped it, by the job that they are in."""
    found = {}
    for path in glob.glob("/run/vc/job/*/x/libvirt/qemu/run/*.pid"):
        with contextlib.suppress(FileNotFoundError, ValueError):
            with open(path, encoding="utf-8") as stream:
                pid = int(stream.read())
            with open(f"/proc/{pid}/stat", encoding="utf-8") as stream:
                found[path] = "stopped" if stream.read().rpartition(")")[2].split()[0] == "T" else "running"
    return found


def jobs() -> dict[str, str]:
    """Jobs that have not ended, as the controller shows them, with their scripts, and how many there ever were."""
    found = {}
    for number in re.findall(r"NEXT_JOB_ID\s*=\s*(\d+)", census.output("scontrol", "show", "config")):
        found["counter of jobs"] = number
    for line in census.output("scontrol", "--all", "--oneliner", "show", "job").splitlines():
        state = re.findall(r"JobState=(\S+)", line)
        if state and not census.ended(state[0]):
            job = line.split()[0]
            found[job] = VOLATILE.sub("", line)
            if "BatchFlag=1" in line:
                found[f"script of {job}"] = census.output("scontrol", "write", "batch_script", job.partition("=")[2], "-")
    return found


# Ports of a network that no vault has given out, the subnet manager's own, and a hypervisor's.
PORTS = ["0x0200271600000000", "0x0200271600000001", "0x0200271600000002", "0x0200271600000003", "0x0002c903000000a1", "0x0002c90300000151"]
MANAGER = f"opensm@{PORTS[4]}.service"


def fabric() -> dict[str, str]:
    """OpenSM's files, the pkey tables of some ports, and the groups of two of them, in the words of other people's programs."""
    found = files("/etc/opensm")
    pid = census.output("systemctl", "show", "--property=MainPID", "--value", MANAGER).strip()
    with open(f"/proc/{pid}/environ", encoding="utf-8") as stream:
        simulated = [entry for entry in stream.read().split("\0") if "SIM" in entry or entry.startswith("LD_PRELOAD=")]
    groups = [f"ff12:401b:{pkey}::ffff:ffff" for pkey in ("8501", "8502")]
    argvs = [["smpquery", "-G", "pkeys", guid, "1"] for guid in PORTS]
    argvs += [["env", "SIM_HOST=v10006n0", "saquery", "MCMR", "--mgid", group] for group in groups]
    # All at once: they mostly wait for the simulator.
    running = [subprocess.Popen(["env", *simulated, *argv], stdout=subprocess.PIPE, text=True, cwd="/run") for argv in argvs]
    answers = [process.communicate()[0] for process in running]
    for guid, table in zip(PORTS, answers):
        for line in table.splitlines():
            for key in set(line.partition(":")[2].split()) - {"0x0000"}:
                found[f"port {guid} key {key}"] = ""
    return {**found, **{f"group {group}": "" for group, told in zip(groups, answers[len(PORTS) :]) if group in told}}


DUMPS = {"vault": vault, "overlay": overlay, "frontends": frontends, "jobs": jobs, "fabric": fabric, "guests": guests}

if __name__ == "__main__":
    print(json.dumps({name: take() for name, take in DUMPS.items()}))
