# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Guests from outside: a shell in those of the demo, and what runs them on a host."""

from __future__ import annotations

import shlex

from tests.lab.host import KEYS, Failed, finished

FRONTEND = "10.79.0.101"
# For a host's Python.
QEMUS = """
import glob, json, os, re
found = []
for entry in glob.glob("/proc/[0-9]*"):
    try:
        command = open(entry + "/cmdline", "rb").read().split(b"\\0")
        if os.path.basename(command[0]).startswith(b"qemu-system"):
            status = open(entry + "/status").read()
            words = [word.decode(errors="replace") for word in command]
            uids = re.search(r"Uid:\\s+(\\d+)\\s+(\\d+)", status).groups()
            cgroup = open(entry + "/cgroup").read().strip()
            found.append({"pid": int(entry[6:]), "uids": uids, "command": words, "cgroup": cgroup})
    except (FileNotFoundError, ProcessLookupError):
        pass
print(json.dumps(found))
"""


def ssh(command: str, node: str = "", stdin: str = "", timeout: float = 60, frontend: str = FRONTEND) -> str:
    """A command on the frontend as root, with the owner's key; or from there, by name and with the cluster's own key, on a compute."""
    options = [
        "-i",
        str(KEYS / "labuser_ed25519"),
        "-o",
        "BatchMode=yes",
        "-o",
        "StrictHostKeyChecking=no",
        "-o",
        "UserKnownHostsFile=/dev/null",
    ]
    options += ["-o", "LogLevel=ERROR", "-o", "IdentitiesOnly=yes", "-o", "ConnectTimeout=10"]
    there = f"ssh -o BatchMode=yes {node} {shlex.quote(command)}" if node else command
    done = finished(["ssh", *options, f"root@{frontend}", there], stdin=stdin, timeout=timeout)
    if done.returncode != 0:
        raise Failed(f"ssh {node or 'frontend'} {command}: exit {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout
