# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Root's own notes about a job: who it belongs to (by the prolog) and what was made for it (by the root helper).

Everything that root later undoes on behalf of a job is undone from these notes, never from anything that the job's user can write.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Optional

from .. import filelock
from ..model.errors import VcError
from .places import Places

SCHEMA = 1
# Beside the nodes' notes, whose names end in .json.
_REFUSED = "refused"


@dataclass(frozen=True)
class JobRecord:
    """A job that claims to be part of a virtual cluster.  The claim is the user's; the vault decides about it.

    Parameters
    ----------
    job_id, restart_count : Slurm's
    uid, user, account : whose job it is
    cluster : what its comment claims
    boot_id : of this host when the job came
    slurm_node : what Slurm calls this host; "" in a record of an earlier release
    """

    job_id: int
    restart_count: int
    uid: int
    user: str
    account: str
    cluster: str
    boot_id: str
    slurm_node: str = ""

    @property
    def stem(self) -> str:
        return f"{self.job_id}.{self.restart_count}"


@dataclass(frozen=True)
class NodeRecord:
    """One node that the root helper prepared for a job, or was about to.

    Parameters
    ----------
    job_id, restart_count, uid, boot_id, cluster : of the job
    node : the node's name
    epoch : of its lease; 0 while it is not known whether the vault gave one
    vni, tap : its network; 0 and "" before the lease
    persistent : whether its overlay has to be brought home
    """

    job_id: int
    restart_count: int
    uid: int
    boot_id: str
    cluster: str
    node: str
    epoch: int = 0
    vni: int = 0
    tap: str = ""
    persistent: bool = False

    @property
    def overlay(self) -> str:
        """File name of its overlay in the job's scratch directory."""
        return f"{self.node}.qcow2"

    def leased(self, epoch: int, vni: int, tap: str, persistent: bool) -> NodeRecord:
        return replace(self, epoch=epoch, vni=vni, tap=tap, persistent=persistent)


def write_json(path: Path, data: Mapping[str, Any], mode: int = 0o600, lasting: bool = False) -> None:
    """Replace a file as a whole; with `lasting` it is on disk when this returns."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, mode)
    try:
        with os.fdopen(handle, "w") as file:
            os.fchmod(file.fileno(), mode)
            json.dump(data, file, sort_keys=True)
            file.write("\n")
            if lasting:
                file.flush()
                os.fsync(file.fileno())
        os.rename(temporary, path)
    except OSError:
        # The file system may be full: what is of no use does not stay on it.
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    if lasting:
        directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)


class Records:
    """The notes of one host."""

    def __init__(self, places: Places) -> None:
        self._places = places

    def add(self, record: JobRecord) -> None:
        """Write a job's record; readable by everybody, so that a user can see what his host thinks of his job."""
        self.directory(record).mkdir(mode=0o700, exist_ok=True)
        write_json(self._places.records / f"{record.stem}.json", {"schema": SCHEMA, **asdict(record)}, mode=0o644)

    def find(self, job_id: int, restart_count: int) -> JobRecord:
        """The record of a job that may still get something; VcError ``unknown`` when it has none (any more)."""
        record = self._read(self._places.records / f"{job_id}.{restart_count}.json")
        if record is None:
            remedy = "start nodes with vc_computeset; a job without a virtual cluster in its comment gets nothing"
            detail = "this host's prolog has not seen it, or it is ending"
            raise VcError("unknown", f"job {job_id}", "looking up its record", detail, remedy)
        return record

    def has_job_of(self, uid: int) -> bool:
        """Whether a user has a job here that may still get something."""
        found = (self._read(path) for path in self._places.records.glob("*.json"))
        return any(record is not None and record.uid == uid for record in found)

    def of_job(self, job_id: int) -> list[JobRecord]:
        """All records of a job, withdrawn ones included."""
        return self.all_jobs(f"{job_id}.*")

    def all_jobs(self, pattern: str = "*") -> list[JobRecord]:
        """All records of this boot, withdrawn ones included."""
        paths = (path for path in sorted(self._places.records.glob(pattern)) if path.suffix in {".json", ".ending"})
        return [record for record in map(self._read, paths) if record is not None]

    def age(self, record: JobRecord) -> float:
        """Seconds since the job came; without end when its record has just gone."""
        for suffix in (".json", ".ending"):
            with contextlib.suppress(FileNotFoundError):
                return time.time() - (self._places.records / f"{record.stem}{suffix}").stat().st_mtime
        return float("inf")

    def withdraw(self, record: JobRecord) -> None:
        """From now on the helper refuses this job."""
        with contextlib.suppress(FileNotFoundError):
            os.rename(self._places.records / f"{record.stem}.json", self._places.records / f"{record.stem}.ending")

    def directory(self, record: JobRecord) -> Path:
        return self._places.records / f"{record.stem}.d"

    @contextlib.contextmanager
    def lock(self, record: JobRecord, seconds: float) -> Iterator[bool]:
        """Hold the job's lock, waiting at most `seconds`; yields whether it was got.

        Locks are taken on directories that only root can open: anybody who can open a file can lock it.
        """
        try:
            handle = os.open(self.directory(record), os.O_RDONLY | os.O_DIRECTORY)
        except FileNotFoundError:
            yield False
            return
        try:
            yield filelock.acquire(handle, seconds)
        finally:
            os.close(handle)

    def add_node(self, record: NodeRecord) -> None:
        """Write a node's record, twice: where it belongs, and on disk for the case that the host goes down."""
        data = {"schema": SCHEMA, **asdict(record)}
        write_json(self._lasting(record), data, lasting=True)
        write_json(self._places.records / f"{record.job_id}.{record.restart_count}.d" / f"{record.node}.json", data)

    def note_refusal(self, record: JobRecord, error: VcError) -> None:
        """Keep in mind that the vault wants nothing of this job."""
        write_json(self.directory(record) / _REFUSED, {"schema": SCHEMA, "error": error.to_dict()})

    def refusal(self, record: JobRecord, seconds: float) -> Optional[VcError]:
        """What the vault refused this job with, if that was less than so many seconds ago."""
        path = self.directory(record) / _REFUSED
        data = _load(path)
        with contextlib.suppress(OSError):
            if data is not None and abs(time.time() - path.stat().st_mtime) < seconds:
                return VcError.from_dict(data["error"])
        return None

    def node(self, job: JobRecord, node: str) -> Optional[NodeRecord]:
        return _node(self.directory(job) / f"{node}.json")

    def nodes(self, job_id: int) -> list[NodeRecord]:
        """All node records of a job."""
        return [record for record in self.all_nodes() if record.job_id == job_id]

    def all_nodes(self) -> list[NodeRecord]:
        """All node records of this host, also those of an earlier boot."""
        records = [_node(path) for path in sorted(self._places.lasting.glob("*.json")) if not path.name.startswith(".")]
        return [record for record in records if record is not None]

    def doubtful(self, job_id: int) -> bool:
        """Whether there is a note about a node of this job that cannot be understood: nobody knows then what the node has left."""
        return any(_node(path) is None for path in self._places.lasting.glob(f"{job_id}.*.json"))

    def remove_node(self, record: NodeRecord) -> None:
        volatile = self._places.records / f"{record.job_id}.{record.restart_count}.d" / f"{record.node}.json"
        for path in (volatile, self._lasting(record)):
            with contextlib.suppress(FileNotFoundError):
                path.unlink()

    def remove(self, record: JobRecord) -> None:
        """Forget a job; its directory first, so that a record says truly whether there is anything left to undo."""
        directory = self.directory(record)
        with contextlib.suppress(FileNotFoundError):
            # A helper that was killed leaves the directory in which it was making a seed.
            shutil.rmtree(directory)
        for suffix in (".json", ".ending"):
            with contextlib.suppress(FileNotFoundError):
                (self._places.records / f"{record.stem}{suffix}").unlink()

    def _lasting(self, record: NodeRecord) -> Path:
        return self._places.lasting / f"{record.job_id}.{record.restart_count}.{record.node}.json"

    def _read(self, path: Path) -> Optional[JobRecord]:
        data = _load(path)
        if data is None:
            return None
        try:
            return JobRecord(**{key: data[key] for key in JobRecord.__dataclass_fields__ if key in data or key != "slurm_node"})
        except KeyError:
            return None


def _node(path: Path) -> Optional[NodeRecord]:
    data = _load(path)
    if data is None:
        return None
    try:
        return NodeRecord(**{key: data[key] for key in NodeRecord.__dataclass_fields__})
    except KeyError:
        return None


def _load(path: Path) -> Optional[dict[str, Any]]:
    try:
        data = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    return data if isinstance(data, dict) and data.get("schema") == SCHEMA else None
