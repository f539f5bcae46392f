# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""``vc-flush CLUSTER.NODE.EPOCH`` tells the vault that a node has ended; ``vc-flush recover`` does what an interrupted host left undone,
``vc-flush reap`` what no epilog was called for, ``vc-flush tidy`` deletes what was discarded.

The epilog starts one unit ``vc-flush@CLUSTER.NODE.EPOCH`` per node.  An exit status other than 0 means: try again later (systemd does).
"""

# A program of its own, not a module: what it prints is its output.
# pylint: disable=ansible-bad-function

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from ..command import Commands
from ..host_config import load
from ..model.errors import VcError
from ..overlay.ports import detach
from ..vault.client import VaultClient
from .epilog import empty_trash, own_taps, settle, start_flush, start_tidying, told
from .host import Vault
from .journal import Journal
from .mounts import detach_below
from .places import Places
from .processes import JobProcesses
from .reap import reap
from .record import NodeRecord, Records
from .removal import discard
from .spool import Entry, Spool, entry_name

_KILL_SECONDS = 60.0
_TRASH_SECONDS = 600.0
# A request for a lease may reach the vault for as long as the client waits (120 s) after the helper has died.
_IN_FLIGHT_SECONDS = 150.0


class Flush:
    """Gives ended nodes back.

    Parameters
    ----------
    places, commands, vault, journal : the host and what it talks to
    """

    def __init__(self, places: Places, commands: Commands, vault: Vault, journal: Journal) -> None:
        self._places = places
        self._commands = commands
        self._vault = vault
        self._journal = journal
        self._spool = Spool(places)

    def give_back(self, name: str) -> None:
        """Tell the vault about one entry; VcError when that has to be tried again."""
        entry = self._spool.read(name)
        if entry.released:
            return
        entry = self._finish(entry)
        if entry.epoch == 0:
            entry = self._learn_epoch(entry)
            if entry.epoch == 0:
                if self._spool.age(entry) < _IN_FLIGHT_SECONDS:
                    detail, remedy = "its helper has ended, and its request may still be on its way", "nothing: it is asked again"
                    raise VcError("timeout", f"{entry.cluster}/{entry.node}", "asking the vault whether it is leased", detail, remedy)
                self._spool.remove(replace(entry, epoch=0))
                self._journal.say(f"{entry.cluster}/{entry.node}: job {entry.job_id} never got its lease")
                return
        try:
            self._release(entry)
        except VcError as error:
            # Nothing else is final: a vault whose file system is not mounted knows of no lease either.
            if error.code != "stale_epoch":
                raise
            self._refused(name, entry, error)
            return
        if entry.outcome == "kept":
            self._spool.write(replace(entry, released=True))
            self._journal.say(f"{entry.cluster}/{entry.node}: given back, its changes stay in the spool of this host (epoch {entry.epoch})")
        else:
            self._drop(name)
            self._journal.say(f"{entry.cluster}/{entry.node}: given back (epoch {entry.epoch})")

    def _finish(self, entry: Entry) -> Entry:
        """What the epilog could not do: the lease is not given back while a guest might still run or reach the network."""
        taps = own_taps(Records(self._places), [entry])
        if entry.unclean:
            left = JobProcesses(self._places, entry.job_id, entry.uid).kill_all(taps, _KILL_SECONDS)
            if left:
                detail = f"processes {left} are still there"
                raise VcError("in_use", entry.name, "ending what is left of its job", detail, "reboot this host")
        if taps:
            detach(self._commands, sorted(taps))
        if entry.unclean:
            record = _record_of(entry)
            entry = self._spool.admit(record, tap="", unclean=False)
            if entry.reason:
                self._journal.warn(f"{entry.cluster}/{entry.node}: the overlay of job {entry.job_id} is not trusted: {entry.reason}")
            self._discard_overlays(entry.job_id)
        elif entry.tap:
            entry = replace(entry, tap="")
            self._spool.write(entry)
        return entry

    def _discard_overlays(self, job_id: int) -> None:
        """The directory goes when all nodes of the job have what is theirs, also those that no epilog has put away yet."""
        records = Records(self._places)
        # In this order: a node's record is removed after its entry was written.
        if records.nodes(job_id) or records.doubtful(job_id) or self._spool.holds_up(job_id):
            return
        # The job may be back already, with a directory of that name.
        if job_id not in self._jobs("*.json"):
            discard(self._places.overlay_directory(job_id), self._places.scratch / "trash")

    def _learn_epoch(self, entry: Entry) -> Entry:
        """The helper died between asking for the lease and noting the answer: whether there is one, the vault knows."""
        status = self._vault.call("status", {"cluster": entry.cluster})
        return replace(entry, epoch=held_epoch(status, entry))

    def _release(self, entry: Entry) -> None:
        nodes = {entry.node: {"epoch": entry.epoch, "outcome": entry.outcome}}
        answer = self._vault.call("release", {"cluster": entry.cluster, "nodes": nodes})
        result = answer["nodes"].get(entry.node, {})
        if not result.get("ok"):
            raise VcError.from_dict(result.get("error", {}))

    def _refused(self, name: str, entry: Entry, error: VcError) -> None:
        if entry.outcome == "kept":
            target = self._spool.orphan(self._spool.read(name))
            self._journal.warn(f"{error}. Its overlay is kept in {target}")
        else:
            self._drop(name)
            self._journal.warn(str(error))

    def _drop(self, name: str) -> None:
        self._spool.remove(self._spool.read(name))

    def _jobs(self, pattern: str) -> set[int]:
        return {int(path.name.split(".")[0]) for path in self._places.records.glob(pattern)}

    def recover(self) -> list[str]:
        """At boot: jobs whose epilog will never run, then everything the vault does not know yet.  The entries to be given back."""
        records, boot_id = Records(self._places), self._places.boot_id()
        # In this order: a job that comes meanwhile has its record before it has anything else.
        nodes = records.all_nodes()
        directories = [path for path in self._places.overlays.iterdir() if path.name.isdecimal()] if self._places.overlays.is_dir() else []
        living = self._jobs("*.json")
        for job_id in sorted({node.job_id for node in nodes if node.boot_id != boot_id or node.job_id not in living}):
            self._settle(job_id)
        # An epilog that is at work, or could not finish, has not put everything away yet.
        kept = living | self._jobs("*.ending") | {node.job_id for node in records.all_nodes()}
        kept |= {entry.job_id for entry in self._spool.entries() if entry.unclean}
        for path in directories:
            if int(path.name) in kept:
                continue
            if records.doubtful(int(path.name)):
                self._journal.warn(f"{path}: what is noted about its nodes in {self._places.lasting} cannot be read, so it stays")
                continue
            try:
                detach_below(path)
                discard(path, self._places.scratch / "trash")
            except OSError as error:
                self._journal.warn(f"{path}: {error}; the next recovery goes on with it")
        return self._spool.pending()

    def tidy(self) -> list[str]:
        """Delete what was discarded; there may then be room for what could not be put away.  The entries to be given back."""
        if not empty_trash(self._places, _TRASH_SECONDS):
            self._journal.warn("not everything that was discarded could be deleted; the next epilog goes on with it")
        pending = self.recover()
        empty_trash(self._places, _TRASH_SECONDS)
        return pending

    def _settle(self, job_id: int) -> None:
        try:
            settle(self._places, self._commands, self._journal, job_id)
        except Exception as error:  # whatever it is, it is this job's alone
            self._journal.warn(f"job {job_id}: {told(error)}; the next recovery goes on with it")


def held_epoch(status: Mapping[str, Any], entry: Entry) -> int:
    """The epoch under which a job holds a node, from the vault's status; 0 when it holds none."""
    lease = status.get("clusters", {}).get(entry.cluster, {}).get("leases", {}).get(entry.node, {})
    holder = lease.get("holder") or {}
    if (holder.get("job_id"), holder.get("restart_count"), holder.get("boot_id")) == (entry.job_id, entry.restart_count, entry.boot_id):
        return int(lease["epoch"])
    return 0


def main(argv: Sequence[str]) -> int:
    """``vc-flush ENTRY``, ``vc-flush recover``, ``vc-flush reap`` or ``vc-flush tidy``."""
    journal = Journal("vc-flush")
    if len(argv) != 1:
        print("usage: vc-flush CLUSTER.NODE.EPOCH | recover | reap | tidy", file=sys.stderr)
        return 2
    places, commands = Places(), Commands()
    try:
        places.make()
        config = load()
        flush = Flush(places, commands, VaultClient(commands, config), journal)
        if argv[0] == "recover":
            start_flush(commands, flush.recover())
            # Not here: what boots after this would wait for what a tenant has left.
            start_tidying(commands)
            return 0
        if argv[0] == "tidy":
            start_flush(commands, flush.tidy())
            return 0
        if argv[0] == "reap":
            try:
                reap(places, commands, journal)
            finally:
                # Also those whose epilog or recovery was killed before it came to this.
                start_flush(commands, Spool(places).pending())
            return 0
        name = entry_name(argv[0])
        if name not in Spool(places).names():
            return 0
        flush.give_back(name)
    except (VcError, OSError) as error:
        journal.warn(str(error))
        return 1
    return 0


def _record_of(entry: Entry) -> NodeRecord:
    return NodeRecord(
        job_id=entry.job_id,
        restart_count=entry.restart_count,
        uid=entry.uid,
        boot_id=entry.boot_id,
        cluster=entry.cluster,
        node=entry.node,
        epoch=entry.epoch,
        tap=entry.tap,
        persistent=entry.outcome == "kept",
    )
