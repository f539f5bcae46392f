# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""``vc-overlay``: what a host does for its overlay networks without being asked by a job.

``vc-overlay restore`` runs at boot and after every start of ovs-vswitchd, by systemd.  Until it has run, the bridges forward nothing.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from ..command import Commands
from ..model.errors import VcError
from . import ports

_USAGE = "usage: vc-overlay restore"


def main(argv: Sequence[str]) -> int:
    """Exit status: 0 done, 1 failed, 2 wrong usage."""
    if list(argv) != ["restore"]:
        sys.stderr.write(f"{_USAGE}\n")
        return 2
    try:
        bridges = ports.restore(Commands())
    except VcError as error:
        sys.stderr.write(f"vc-overlay: {error}\n")
        return 1
    where = f"flows in place on {', '.join(bridges)}" if bridges else "no network on this host"
    sys.stdout.write(f"vc-overlay: {where}\n")
    return 0
