# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The one place that starts a process: argv lists, C locale, a fixed PATH, an error that says what was run."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Optional

from .model.errors import VcError

# Slurm prologs and socket-activated helpers start with no PATH at all.
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True)
class Result:
    """What a finished process left: exit status, stdout, stderr (both text)."""

    status: int
    out: str
    err: str

    @property
    def last_line(self) -> str:
        """The line a person would look at first: the last one of stderr, else of stdout."""
        for text in (self.err, self.out):
            lines = [line.strip() for line in text.splitlines() if line.strip()]
            if lines:
                return lines[-1]
        return f"exit status {self.status}"


class Commands:
    """Runs commands and counts them; tests read ``count`` to hold a batch to its promise."""

    def __init__(self, env: Optional[Mapping[str, str]] = None) -> None:
        self._env = {"PATH": PATH, "LC_ALL": "C", "LANGUAGE": "C", **(env or {})}
        self.count = 0

    def run(self, argv: Sequence[str], stdin: str = "", timeout: float = 120.0, holding: Sequence[int] = ()) -> Result:
        """Run to the end and return whatever it says, also on failure.

        Parameters
        ----------
        holding : descriptors that the command inherits: a lock on one of them holds until it ends, also when we are killed first

        Raises VcError ``backend`` when the program is missing and ``timeout`` when it outlives `timeout` seconds.
        """
        self.count += 1
        try:
            # Not a module's run_command: agent and helper have no AnsibleModule.
            done = subprocess.run(  # pylint: disable=ansible-bad-function
                list(argv),
                input=stdin,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=timeout,
                env=self._env,
                check=False,
                pass_fds=tuple(holding),
            )
        except FileNotFoundError:
            raise VcError("backend", argv[0], "starting it", "no such program", f"install the package that provides {argv[0]}") from None
        except subprocess.TimeoutExpired:
            raise VcError("timeout", argv[0], " ".join(argv), f"no answer within {timeout:g} s", "look at that service's log") from None
        return Result(done.returncode, done.stdout, done.stderr)

    def must(
        self,
        argv: Sequence[str],
        item: str,
        tried: str,
        remedy: str = "",
        stdin: str = "",
        timeout: float = 120.0,
        holding: Sequence[int] = (),
    ) -> str:
        """Run; return stdout, or raise VcError ``backend`` with the last line it printed."""
        result = self.run(argv, stdin=stdin, timeout=timeout, holding=holding)
        if result.status != 0:
            raise VcError("backend", item, tried, result.last_line, remedy or f"run `{' '.join(argv)}` by hand to see more")
        return result.out
