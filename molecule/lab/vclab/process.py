# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Start processes for the lab: argv lists only; a failure names the command and its last line."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Optional

ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "LC_ALL": "C",
    "HOME": "/root",
    "DEBIAN_FRONTEND": "noninteractive",
}

# How many times as long as usual to wait: for a machine that is emulated itself.
SLOWNESS = max(1, int(os.environ.get("VC_LAB_SLOWNESS") or 1))


class LabError(Exception):
    """Something the lab cannot do; the text says what, and what to do about it."""


def run(argv: Sequence[str], check: bool = True, stdin: str = "", timeout: Optional[float] = None) -> subprocess.CompletedProcess[str]:
    """Run to the end and return it; raises LabError on a non-zero status when ``check``."""
    try:
        done = subprocess.run(
            list(argv), input=stdin, capture_output=True, text=True, errors="replace", env=environment(), timeout=timeout, check=False
        )
    except FileNotFoundError:
        raise LabError(f"{argv[0]} is not installed on this machine") from None
    except subprocess.TimeoutExpired:
        raise LabError(f"{' '.join(argv)}: no end after {timeout} s") from None
    if check and done.returncode != 0:
        raise LabError(f"{' '.join(argv)}: {last_line(done.stderr or done.stdout)}")
    return done


def run_logged(argv: Sequence[str], log: Path, variables: Optional[dict[str, str]] = None) -> None:
    """Run a long command with its output in ``log``, telling now and then how far it is; LabError with the log's last lines."""
    started = time.monotonic()
    with log.open("wb") as stream:
        process = subprocess.Popen(list(argv), stdin=subprocess.DEVNULL, stdout=stream, stderr=stream, env=variables or environment())
        while True:
            try:
                process.wait(timeout=10)
                break
            except subprocess.TimeoutExpired:
                print(f"      {log.stem}, {time.monotonic() - started:.0f} s: {last_line(tail(log))[:100]}", flush=True)
    if process.returncode != 0:
        end = "\n  ".join(tail(log).splitlines()[-12:])
        raise LabError(f"{argv[0]} failed with status {process.returncode}; the end of {log}:\n  {end}")


def tail(log: Path) -> str:
    with log.open("rb") as stream:
        stream.seek(0, 2)
        stream.seek(max(0, stream.tell() - 4000))
        return stream.read().decode(errors="replace").replace("\r", "\n")


def environment() -> dict[str, str]:
    """A fixed environment, plus what the administrator set to reach the package mirror."""
    to_mirror = ("http_proxy", "https_proxy", "no_proxy", "ssl_cert_file")
    passed = {name: value for name, value in os.environ.items() if name.lower() in to_mirror}
    return {**passed, **ENVIRONMENT}


def last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "no message"
