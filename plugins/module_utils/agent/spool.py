# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What ended nodes have left behind: root's spool, one entry per lease, until the vault has been told."""

from __future__ import annotations

import contextlib
import json
import os
import re
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Union

from ..model.errors import VcError
from ..model.names import cluster_name, node_name, shown
from .places import Places
from .record import NodeRecord, write_json
from .removal import check_taken, take_file

SCHEMA = 1
OVERLAY = "overlay.qcow2"
_META = "meta.json"
_NAME = re.compile(r"([a-z0-9-]+)\.([a-z0-9-]+)\.(?:[1-9][0-9]{0,17}|0\.[0-9]{1,10}\.[0-9]{1,10})")


@dataclass(frozen=True)
class Entry:
    """One ended node.

    Parameters
    ----------
    cluster, node, epoch : its lease; epoch 0 when the helper died before it learned it
    outcome : ``kept`` (the overlay is in the entry and has to go home) or ``discarded`` (nothing to bring home)
    job_id, restart_count, uid, boot_id : the job that had it
    tap : its tap when that could not be taken down yet, else ""
    unclean : True when processes of the job could not be ended yet
    released : True when the vault knows; the entry stays only for its overlay
    reason : why an overlay was not trusted, else ""
    """

    cluster: str
    node: str
    epoch: int
    outcome: str
    job_id: int
    restart_count: int
    uid: int
    boot_id: str
    tap: str = ""
    unclean: bool = False
    released: bool = False
    reason: str = ""

    @property
    def name(self) -> str:
        return _name(self)


def _name(of: Union[Entry, NodeRecord]) -> str:
    # Several jobs may have died before they learned their epoch of one node.
    job = "" if of.epoch else f".{of.job_id}.{of.restart_count}"
    return f"{of.cluster}.{of.node}.{of.epoch}{job}"


def entry_name(text: str) -> str:
    """An entry's name as it comes from a unit's; VcError ``invalid`` for anything else."""
    matched = _NAME.fullmatch(text)
    if matched is None:
        remedy = "see ls /var/lib/vc-scratch/spool"
        detail = "it is neither CLUSTER.NODE.EPOCH nor CLUSTER.NODE.0.JOB.RESTART"
        raise VcError("invalid", shown(text), "reading it as a spool entry", detail, remedy)
    cluster_name(matched.group(1))
    node_name(matched.group(2))
    return text


class Spool:
    """The spool of one host."""

    def __init__(self, places: Places) -> None:
        self._places = places

    def admit(self, record: NodeRecord, tap: str, unclean: bool) -> Entry:
        """Make the entry of an ended node and move its overlay into it.  Doing it again, also half done, gives the same entry.

        Raises OSError, and leaves the overlay to be taken by the next attempt, when it cannot tell what there is.
        """
        directory = self._places.spool / _name(record)
        directory.mkdir(mode=0o700, exist_ok=True)
        kept, reason = False, ""
        if record.persistent and not unclean:
            overlay = directory / OVERLAY
            reason = "missing"
            if not os.path.lexists(overlay):
                reason = take_file(self._places.overlay_directory(record.job_id), record.overlay, record.uid, overlay)
            # Taken by an attempt that was killed, or at this moment by the flush unit that one has left behind.
            if reason == "missing" and os.path.lexists(overlay):
                reason = check_taken(overlay, record.uid)
            kept = not reason and overlay.exists()
            if reason == "missing":
                # Its guest never started: there is nothing that the vault does not have.
                reason = ""
            elif reason and os.path.lexists(overlay):
                self._set_aside(record, overlay)
        entry = Entry(
            cluster=record.cluster,
            node=record.node,
            epoch=record.epoch,
            outcome="kept" if kept or (record.persistent and unclean) else "discarded",
            job_id=record.job_id,
            restart_count=record.restart_count,
            uid=record.uid,
            boot_id=record.boot_id,
            tap=tap,
            unclean=unclean,
            reason=reason,
        )
        self.write(entry)
        return entry

    def write(self, entry: Entry) -> None:
        write_json(self._places.spool / entry.name / _META, {"schema": SCHEMA, **asdict(entry)}, lasting=True)

    def read(self, name: str) -> Entry:
        """The entry with this name; VcError ``unknown`` when there is none."""
        try:
            data = json.loads((self._places.spool / entry_name(name) / _META).read_text())
            return Entry(**{key: data[key] for key in Entry.__dataclass_fields__})
        except (OSError, ValueError, KeyError, TypeError):
            detail = "there is no such complete entry"
            raise VcError("unknown", name, "reading this spool entry", detail, "nothing to do if it has gone") from None

    def age(self, entry: Entry) -> float:
        """Seconds since the entry was made or finished; in either direction, for a clock that was set back."""
        return abs(time.time() - os.stat(self._places.spool / entry.name / _META).st_mtime)

    def names(self) -> list[str]:
        """Entries in the spool, complete or not."""
        try:
            return sorted(name for name in os.listdir(self._places.spool) if _NAME.fullmatch(name))
        except FileNotFoundError:
            return []

    def entries(self) -> list[Entry]:
        """All complete entries."""
        found = []
        for name in self.names():
            with contextlib.suppress(VcError):
                found.append(self.read(name))
        return found

    def holds_up(self, job_id: int) -> bool:
        """Whether an overlay of this job may still be where its guest wrote it: processes of the job could not be ended yet."""
        return any(entry.unclean and entry.job_id == job_id for entry in self.entries())

    def pending(self) -> list[str]:
        """Names of the entries that the vault does not know about yet."""
        return [entry.name for entry in self.entries() if not entry.released]

    def remove(self, entry: Entry) -> None:
        directory = self._places.spool / entry.name
        with contextlib.suppress(FileNotFoundError):
            for path in directory.iterdir():
                path.unlink()
            directory.rmdir()

    def orphan(self, entry: Entry) -> Path:
        """Keep an entry that the vault refuses, for an admin to look at; never deleted by us."""
        target = self._free(entry.name)
        os.rename(self._places.spool / entry.name, target)
        return target

    def _set_aside(self, record: NodeRecord, overlay: Path) -> None:
        directory = self._free(_name(record))
        directory.mkdir(mode=0o700)
        os.rename(overlay, directory / OVERLAY)

    def _free(self, name: str) -> Path:
        target, count = self._places.orphans / name, 0
        while target.exists():
            count += 1
            target = self._places.orphans / f"{name}.{count}"
        return target
