# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A frontend's files on its host.

``/var/lib/vc-frontends/<cluster>/``: ``record.json`` (which lease the rest belongs to; no secrets), ``disk.qcow2`` (the guest's changes
since the exported generation), ``seed.iso`` and ``console.log``.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Optional

from ..libvirt.domain import Export
from ..model.errors import VcError
from ..model.names import cluster_name

ROOT = Path("/var/lib/vc-frontends")
SCHEMA = 1


@dataclass(frozen=True)
class Record:
    """What the host remembers of the lease.

    Parameters
    ----------
    epoch : of the lease that disk and seed belong to
    export : ``{portal, iqn, lun, chap_user, size_mib}``
    disk_made : the disk existed once; if it is missing now, it was lost
    seed_input : digest of what the seed was made from, without the private key
    seed_file : digest of the seed itself
    """

    epoch: int
    export: Mapping[str, Any] = field(default_factory=dict)
    disk_made: bool = False
    seed_input: str = ""
    seed_file: str = ""

    def with_disk(self) -> Record:
        return replace(self, disk_made=True)

    def with_seed(self, seed_input: str, seed_file: str) -> Record:
        return replace(self, seed_input=seed_input, seed_file=seed_file)

    def libvirt_export(self, usage: str) -> Export:
        return Export.from_lease(self.export, usage)


class Files:
    """The directory of one cluster's frontend."""

    def __init__(self, cluster: str, root: Path = ROOT) -> None:
        self.directory = root / cluster_name(cluster)
        self.disk = self.directory / "disk.qcow2"
        self.seed = self.directory / "seed.iso"
        self.console = self.directory / "console.log"
        self._record = self.directory / "record.json"

    def make(self) -> None:
        """Only what libvirt's QEMU user is given by name can be reached in it."""
        self.directory.parent.mkdir(mode=0o711, exist_ok=True)
        self.directory.mkdir(mode=0o711, exist_ok=True)

    def read(self) -> Optional[Record]:
        """The record, None when there is none; VcError ``invalid`` when it cannot be understood."""
        try:
            data = json.loads(self._record.read_text())
            if data.pop("schema") != SCHEMA:
                raise ValueError("another release has written it")
            return Record(**data)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            remedy = "put the file back from a backup; it says which lease the disk beside it belongs to"
            raise VcError("invalid", str(self._record), "reading it", str(error), remedy) from None

    def write(self, record: Record) -> None:
        """Replace the record; on disk when this returns."""
        temporary = self._record.with_suffix(".new")
        with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "w") as file:
            json.dump({"schema": SCHEMA, **asdict(record)}, file, sort_keys=True)
            file.write("\n")
            file.flush()
            os.fsync(file.fileno())
        os.rename(temporary, self._record)
        _sync(self.directory)

    def put_disk(self, made: Path) -> None:
        """Give a new disk its name; on disk when this returns.  VcError ``conflict`` when there is one: that is never replaced."""
        made.chmod(0o600)
        _sync(made)
        try:
            os.link(made, self.disk)
        except FileExistsError:
            detail = "another command has just made it"
            raise VcError("conflict", str(self.disk), "making the frontend's disk", detail, "run it again") from None
        finally:
            made.unlink()
        _sync(self.directory)

    def delete(self) -> None:
        """Delete everything, the record last: while it is there, deleting can be done again."""
        for path in (self.seed, self.console, self.disk, self._record.with_suffix(".new"), self._record):
            path.unlink(missing_ok=True)
        if self.directory.is_dir():
            for path in self.directory.glob("*"):
                path.unlink()
            self.directory.rmdir()


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def file_digest(path: Path) -> str:
    """Digest of a file, empty when it is not there."""
    try:
        return digest(path.read_bytes())
    except FileNotFoundError:
        return ""
