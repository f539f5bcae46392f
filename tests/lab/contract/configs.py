# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A second configuration of a host, for option ``host_config``."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator

from tests.lab.contract.station import on

# One more than the host has, so that its networks get a tunnel to it.
PEER = "10.88.0.99"
_PATH = "/var/tmp/vc-contract-host.json"


@contextlib.contextmanager
def another(host: str) -> Iterator[str]:
    """The host's own, with one peer more, in another file."""
    config = json.loads(on(host, "cat", "/etc/hpc-virtual-cluster/host.json"))
    config["overlay"]["peers"].append(PEER)
    on(host, "tee", _PATH, stdin=json.dumps(config))
    try:
        yield _PATH
    finally:
        on(host, "rm", _PATH)
