# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab and the demo's playbooks, in a process of their own: they mostly wait, and other tests can run meanwhile."""

from __future__ import annotations

import pathlib
import subprocess
import sys
import tempfile

from tests.lab.host import LAB, ROOT, Failed, finished, play


def hosts_up() -> None:
    """The emulated hosts, up."""
    done = finished([str(LAB), "up"], timeout=1500)
    if done.returncode != 0:
        raise Failed(f"lab up: {done.stdout}{done.stderr}")


def demo_up() -> None:
    """Hosts, and the two playbooks of `make demo` on them, whatever they looked like before."""
    hosts_up()
    play("site.yml", timeout=1500)
    play("comet.yml", timeout=1500)


class BringingUp:
    """A run of `demo_up` that has begun."""

    def __init__(self) -> None:
        self._said = pathlib.Path(tempfile.mkdtemp(prefix="vc-proof-")) / "bringing-up.log"
        with self._said.open("w", encoding="utf-8") as stream:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.lab.bringing_up"], cwd=ROOT, stdin=subprocess.DEVNULL, stdout=stream, stderr=stream
            )

    def finish(self) -> None:
        """Wait for its end; Failed with all it said unless it ended well."""
        if self._process.wait() != 0:
            raise Failed(self._said.read_text(encoding="utf-8")[-16000:])

    def stop(self) -> None:
        """End it when nobody waits for it any more."""
        if self._process.poll() is None:
            self._process.terminate()
            self._process.wait()


if __name__ == "__main__":
    demo_up()
