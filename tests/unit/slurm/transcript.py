# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a real Slurm answered to the very commands that our readers run; recorded on a lab host, replayed in tests.

Record again (two minutes) when a reader asks for something else: `PYTHONPATH=.cache/collections:.:molecule/lab .cache/venv/bin/python
-m tests.unit.slurm.transcript head`, and the same with trixie.
"""

from __future__ import annotations

import json
import pathlib
import sys
import time
from collections.abc import Sequence

import pytest
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.command import Commands, Result
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.slurm import jobs

from tests.lab.host import attempt, on

FIXTURES = pathlib.Path(__file__).parent / "fixtures"
OURS = '{"vc":"vc1","set":"sim","nodes":"compute[0-1]","v":1,"images":"debian12@r1"}'
# Job name: user, and options of sbatch; @ALL@ stands for the number of Slurm's nodes.
SAMPLE = {
    "vc-vc1-sim": ("labuser", "--time=1:00:00", "--nodes=@ALL@", f"--comment={OURS}", "--wrap=sleep 600"),
    "slow": ("labuser", "--time=1", "--wrap=sleep 600"),
    "done": ("labuser", "--time=5", "--wrap=true"),
    "fails": ("labuser", "--time=5", "--wrap=exit 3"),
    "held": ("labuser", "--time=5-00:00:00", "--hold", "--wrap=true"),
    "killed": ("labuser", "--time=5", "--wrap=sleep 600"),
    "odd name|x": ("otheruser", "--time=5", "--comment=hello", "--wrap=sleep 600"),
}
ACCOUNTS = {"labuser": "physics", "otheruser": "chemistry"}


class Replay(Commands):
    """Answers as the recorded Slurm did, to nothing but what it was asked."""

    def __init__(self, release: str) -> None:
        super().__init__()
        self.said = {tuple(entry["argv"]): entry for entry in json.loads((FIXTURES / f"slurm-{release}.json").read_text())}

    def run(self, argv: Sequence[str], stdin: str = "", timeout: float = 120.0, holding: Sequence[int] = ()) -> Result:
        self.count += 1
        entry = self.said.get(tuple(argv))
        if entry is None:
            pytest.fail(f"Slurm was not asked this when it was recorded: {' '.join(argv)}")
        return Result(entry["status"], entry["out"], entry["err"])


class Recorder(Commands):
    """Runs commands on a lab host and keeps what they said."""

    def __init__(self, host: str) -> None:
        super().__init__()
        self.host = host
        self.said: list[dict[str, object]] = []

    def run(self, argv: Sequence[str], stdin: str = "", timeout: float = 120.0, holding: Sequence[int] = ()) -> Result:
        done = attempt(self.host, *argv)
        self.said.append({"argv": list(argv), "status": done.returncode, "out": done.stdout, "err": done.stderr})
        return Result(done.returncode, done.stdout, done.stderr)


def submit(host: str) -> dict[str, int]:
    nodes = on(host, "sinfo", "--noheader", "--format=%D").strip()
    found = {}
    for name, (user, *options) in SAMPLE.items():
        argv = ["sbatch", "--parsable", "--chdir=/", "--output=/dev/null", f"--account={ACCOUNTS[user]}", f"--job-name={name}", *options]
        found[name] = int(on(host, *(word.replace("@ALL@", nodes) for word in argv), user=user))
    return found


def record(host: str) -> pathlib.Path:
    ids = submit(host)
    time.sleep(5)
    for name in ("killed", "odd name|x"):
        on(host, "scancel", str(ids[name]))
    while on(host, "squeue", "--noheader", "--states=all", f"--jobs={ids['slow']}", "--format=%T").strip() != "TIMEOUT":
        time.sleep(2)
    # Accounting hears of an end a moment later.
    time.sleep(5)
    recorder = Recorder(host)
    jobs.read(recorder)
    for number in [*ids.values(), 999999]:
        jobs.look(recorder, number)
        jobs.ended(recorder, number)
    for number in ids.values():
        attempt(host, "scancel", str(number))
    listing = json.loads(str(recorder.said[0]["out"]))
    listing["jobs"] = [job for job in listing["jobs"] if job["job_id"] in ids.values()]
    recorder.said[0]["out"] = json.dumps(listing)
    release = ".".join(on(host, "scontrol", "--version").split()[1].split(".")[:2])
    path = FIXTURES / f"slurm-{release}.json"
    path.write_text(json.dumps(recorder.said, indent=1) + "\n")
    return path


if __name__ == "__main__":
    print(record(sys.argv[1]))
