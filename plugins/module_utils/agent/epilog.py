# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Slurm's epilog on a hypervisor (``vc-epilog``): nothing of the job stays, and what its guests wrote goes into root's spool.

Always exits 0, in bounded time, without the network; running it again, also after it was killed anywhere, gives the same result.
The vault is told by the flush units that it starts.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Optional, Union

from ..command import Commands
from ..model.errors import VcError
from ..overlay.ports import detach
from .journal import Journal
from .mounts import detach_below
from .places import Places
from .processes import JobProcesses
from .record import NodeRecord, Records
from .removal import discard, empty
from .spool import Entry, Spool

# A node stays in COMPLETING for as long as this takes.
_LOCK_SECONDS = 25.0
_KILL_SECONDS = 15.0
_REMOVE_SECONDS = 10.0


def settle(places: Places, commands: Commands, journal: Journal, job_id: int) -> list[Entry]:
    """End everything of a job on this host; the spool entries that the vault has to be told about.

    Raises VcError ``backend`` when a node could not be put away, after all others were; its records stay for the next attempt.
    """
    records, spool = Records(places), Spool(places)
    jobs = records.of_job(job_id)
    for job in jobs:
        records.withdraw(job)
    entries: list[Entry] = []
    with contextlib.ExitStack() as locks:
        # The helper may still be preparing; whoever asks it from now on is refused.
        for job in jobs:
            locks.enter_context(records.lock(job, _LOCK_SECONDS))
        nodes = records.nodes(job_id)
        users = {job.uid for job in jobs} | {node.uid for node in nodes}
        taps = own_taps(records, nodes)
        unclean = False
        # First: what is mounted there hides what the job's processes hold.
        _detach_mounts(places, job_id)
        for uid in sorted(users):
            left = JobProcesses(places, job_id, uid).kill_all(taps, _KILL_SECONDS)
            if left:
                unclean = True
                journal.warn(f"job {job_id}: processes {left} cannot be ended; their nodes stay leased until they are gone")
        # What they have mounted until then.
        for directory in _detach_mounts(places, job_id):
            journal.warn(f"{directory}: something is mounted there that cannot be taken away from here; as root: vc-flush recover")
        stuck = _detach(commands, journal, taps)
        keep = unclean or records.doubtful(job_id)
        if not (keep or spool.holds_up(job_id) or any(node.persistent for node in nodes)):
            # First: they may be what has filled the disk on which the entries have to be written.
            _discard(places, job_id, journal)
        failures: dict[str, OSError] = {}
        for node in nodes:
            try:
                entry = spool.admit(node, tap=node.tap if node.tap in stuck else "", unclean=unclean)
            except OSError as error:
                failures[f"{node.cluster}/{node.node}"] = error
                continue
            if entry.reason:
                journal.warn(f"{node.cluster}/{node.node}: the overlay that job {job_id} left is not trusted: {entry.reason}")
            entries.append(entry)
            records.remove_node(node)
        # What still runs may still be writing into its overlay, and an attempt that was killed may have left some to their flush units.
        keep = keep or bool(failures) or spool.holds_up(job_id)
        _discard(places, job_id, journal, but=places.overlay_directory(job_id) if keep else None)
        if failures:
            first = next(iter(failures.values()))
            remedy = f"make room in {places.scratch}; vc-flush recover goes on with it"
            raise VcError("backend", ", ".join(failures), f"putting away what job {job_id} left", first.strerror or str(first), remedy)
        for job in jobs:
            records.remove(job)
    return entries


def own_taps(records: Records, nodes: Sequence[Union[NodeRecord, Entry]]) -> set[str]:
    """The taps of these nodes that are theirs still: a later job may have been given the same node, and so the same tap."""
    ours = {(node.job_id, node.restart_count) for node in nodes}
    others = {other.tap for other in records.all_nodes() if (other.job_id, other.restart_count) not in ours}
    return {node.tap for node in nodes if node.tap} - others


def _detach_mounts(places: Places, job_id: int) -> list[Path]:
    """The directories of the job on which something is mounted still."""
    return [directory for directory, _trash in places.trashes(job_id) if not detach_below(directory)]


def _discard(places: Places, job_id: int, journal: Journal, but: Optional[Path] = None) -> None:
    for directory, trash in places.trashes(job_id):
        if directory == but:
            continue
        try:
            discard(directory, trash)
        except OSError as error:
            journal.warn(f"{directory}: {error}; vc-flush recover removes it")


def start_flush(commands: Commands, names: list[str]) -> None:
    """Start one unit per entry, all in one call, and do not wait for them."""
    if names:
        commands.must(
            ["systemctl", "--no-block", "start", *(f"vc-flush@{name}.service" for name in names)],
            names[0],
            "starting its flush unit",
            "vc-flush recover does the same",
            timeout=15,
        )


def start_recovery(commands: Commands) -> None:
    """Have everything that is still to be done here done soon, and do not wait for it."""
    argv = ["systemctl", "--no-block", "start", "vc-recover.service"]
    commands.must(argv, "vc-recover.service", "starting it", "run vc-flush recover", timeout=15)


def start_tidying(commands: Commands) -> None:
    """Have what was discarded deleted, however long it takes, and do not wait for it."""
    argv = ["systemctl", "--no-block", "start", "vc-tidy.service"]
    commands.must(argv, "vc-tidy.service", "starting it", "run vc-flush tidy", timeout=15)


def empty_trash(places: Places, seconds: float) -> bool:
    """Delete discarded directories for at most `seconds`; True when all is gone."""
    until = time.monotonic() + seconds
    gone = True
    for trash in (places.run / "trash", places.scratch / "trash"):
        # What could not be taken away where these came from.
        detach_below(trash)
        gone = empty(trash, max(0.5, until - time.monotonic())) and gone
    return gone


def main(_argv: Sequence[str]) -> int:
    """Exit status 0, always: a failing epilog would drain the node, and whatever is left is in the spool."""
    text = os.environ.get("SLURM_JOB_ID", "")
    if not text.isdecimal():
        return 0
    job_id, places, commands, journal = int(text), Places(), Commands(), Journal("vc-epilog")
    try:
        # Most jobs of a site are not ours.
        if not _concerns(places, job_id):
            return 0
        entries = _settle_with_room(places, commands, journal, job_id)
        # Also those of an epilog that was killed just before it came to this.
        start_flush(commands, Spool(places).pending())
        if not empty_trash(places, _REMOVE_SECONDS):
            journal.warn(f"job {job_id}: its directories are not deleted yet; vc-tidy goes on with them")
            start_tidying(commands)
        journal.say(f"job {job_id}: cleaned, {len(entries)} nodes to be given back")
    except Exception as error:  # whatever it is, the node must not be drained for it
        journal.warn(f"job {job_id}: {told(error)}; vc-flush recover goes on with it")
        with contextlib.suppress(VcError):
            start_recovery(commands)
    return 0


def told(error: Exception) -> str:
    """What to say of an error; of one that nobody has foreseen also its kind."""
    return str(error) if isinstance(error, (VcError, OSError)) else f"{type(error).__name__}: {error}"


def _settle_with_room(places: Places, commands: Commands, journal: Journal, job_id: int) -> list[Entry]:
    try:
        return settle(places, commands, journal, job_id)
    except (VcError, OSError) as error:
        journal.warn(f"job {job_id}: {error}; once more after the trash is emptied")
        empty_trash(places, _REMOVE_SECONDS)
        return settle(places, commands, journal, job_id)


def _concerns(places: Places, job_id: int) -> bool:
    # First the records: nobody but root can put anything in front of them.
    if any(places.records.glob(f"{job_id}.*")):
        return True
    try:
        return places.job_directory(job_id).exists() or places.overlay_directory(job_id).exists()
    except OSError:
        # A user's file system is mounted on it, which root may not even look at.
        return True


def _detach(commands: Commands, journal: Journal, taps: set[str]) -> set[str]:
    """Take ports down; those that are to be taken down later because that failed."""
    if not taps:
        return set()
    try:
        detach(commands, sorted(taps))
    except VcError as error:
        journal.warn(f"taps {', '.join(sorted(taps))}: {error}; the flush unit tries again")
        return taps
    return set()
