# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where this host's vault is.  Role vault writes it into a file, so that no caller has to say it and none can mean another one."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Optional

from ..model.errors import VcError
from ..model.names import shown
from . import durable
from .registry import Registry

FILE = "/etc/hpc-virtual-cluster/vault.json"
# Where there is no such file.
DEFAULT = "/var/lib/vc-vault"
_ROOT = re.compile(r"/[A-Za-z0-9_.+/-]{1,255}")


def root_of(asked: Optional[str]) -> str:
    """The directory asked for, else the one in the file.  VcError ``backend`` or ``version`` for a file that cannot be relied on."""
    if asked is not None:
        return asked
    path = Path(FILE)
    data = durable.read_json(path)
    if data is None:
        return DEFAULT
    try:
        return str(data["root"])
    except KeyError as error:
        raise durable.malformed(path, error) from None


def check_root(root: str) -> None:
    """Refuse a vault directory that no vault is in, before anything is made there: VcError ``invalid``, ``backend``, ``version``."""
    check_root_name(root)
    remedy = "mount its file system; if there was never a vault on this host, run role vault"
    if not Path(root).is_dir():
        raise VcError("backend", f"vault_root {root}", "opening the vault", "there is no such directory", remedy)
    # The role has begun a registry before it said so.
    if Path(FILE).exists() and Path(root_of(None)) == Path(root) and not Registry(root).exists():
        detail = f"{FILE} says that it is here, and there is no registry in it"
        raise VcError("backend", f"vault_root {root}", "opening the vault", detail, remedy)


def check_root_name(root: str) -> None:
    """Refuse what cannot be a vault directory on any host: VcError ``invalid``."""
    if not _ROOT.fullmatch(root) or "/.." in root:
        raise VcError(
            "invalid",
            f"vault_root {shown(root)}",
            "opening the vault",
            "it is not a plain absolute path",
            f"leave it out: role vault has said in {FILE} where the vault is",
        )
