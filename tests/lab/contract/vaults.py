# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A second vault on the vault's host, for option ``vault_root``."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

from tests.lab import census
from tests.lab.contract.station import on, told
from tests.lab.virtual_cluster import VAULT_HOST

# Where the dumps look as well: a vault would be there if nobody had been told of another place.
PLACE = census.VAULTS[1]


@contextlib.contextmanager
def another(module: str, present: Mapping[str, Any], absent: Mapping[str, Any]) -> Iterator[None]:
    """It has had the object once, so that it has the directories that stay."""
    on(VAULT_HOST, "mkdir", "-m", "700", PLACE)
    try:
        told(VAULT_HOST, module, present)
        told(VAULT_HOST, module, absent)
        yield
    finally:
        on(VAULT_HOST, "rm", "-r", PLACE)
