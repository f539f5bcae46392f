# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which store a vault has: ``<root>/store.json``, written by the role.  Without the file it is a directory."""

from __future__ import annotations

from pathlib import Path

from ..command import Commands
from ..model.errors import VcError
from ..model.names import shown
from . import durable, zfs
from .directory_store import DirectoryStore
from .store import Store
from .zfs_store import ZfsStore

KINDS = ("directory", "zfs")


def open_store(commands: Commands, root: str) -> Store:
    """The store of the vault under this root.  VcError ``invalid`` for a choice that is none, ``conflict`` when it would hide disks."""
    path = Path(root) / "store.json"
    plain = DirectoryStore(commands, root)
    data = durable.read_json(path)
    kind = "directory" if data is None else data.get("store")
    if kind == "directory":
        return plain
    if data is None or kind != "zfs":
        remedy = f"use one of {', '.join(KINDS)} as vault_store of role vault"
        raise VcError("invalid", f"{path}: store {shown(kind)}", "opening the store", "there is no such store", remedy)
    dataset = zfs.dataset_name(data.get("dataset"))
    if plain.filled():
        detail = f"{plain.path} has images or disks, which are not in {dataset}"
        remedy = "set vault_store: directory again, or remove them with image_vault first and import the images again"
        raise VcError("conflict", str(path), "opening the store", detail, remedy)
    return ZfsStore(commands, dataset)
