# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The trials of several modules at the same time, as far as none sees the other's writing."""

from __future__ import annotations

import contextlib
import threading
import traceback
from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor

from tests.lab.contract import documented, table
from tests.lab.contract.record import Record
from tests.lab.contract.subject import Contract, Trial
from tests.lab.contract.trial import Course

# One after the other: what looks at the vault, and what has clusters registered there on its way. A module that is not named runs alone.
STAGES = (
    ("image_vault", "vc_cluster", "vc_frontend", "ib_partition"),
    ("ovs_vxlan", "vc_computeset", "vc_power"),
)


def run(modules: Collection[str]) -> dict[str, Record]:
    staged = {module for stage in STAGES for module in stage}
    stages = [*STAGES, *((module,) for module in table.ROWS if module not in staged)]
    backends = Backends()
    records: dict[str, Record] = {}
    for stage in stages:
        wanted = [module for module in stage if module in modules]
        with ThreadPoolExecutor(len(stage)) as pool:
            records.update(zip(wanted, pool.map(lambda module: tried(module, backends), wanted)))
    return records


class Backends:
    """Each is looked at by one trial at a time, from before it begins until it has tidied up."""

    def __init__(self) -> None:
        self._one = threading.Condition()
        self._taken: set[tuple[str, str]] = set()

    @contextlib.contextmanager
    def taken(self, contract: Contract, trial: Trial) -> Iterator[None]:
        wanted = {(host, backend) for host, backends in contract.looked_at(trial).items() for backend in backends}
        with self._one:
            self._one.wait_for(lambda: not wanted & self._taken)
            self._taken |= wanted
        try:
            yield
        finally:
            with self._one:
                self._taken -= wanted
                self._one.notify_all()


def tried(module: str, backends: Backends) -> Record:
    """All trials of a module, and what only their sum shows."""
    record, row, returned = Record(module), table.contract(module), documented.Returned(module)
    for trial in row.trials:
        try:
            with backends.taken(row, trial):
                Course(module, row, trial, record, returned).run()
        except Exception:
            record.broken = f"{trial.name}: {traceback.format_exc()}"
            return record
    lists = documented.lists(module)
    unheard = lists - record.repeated - {path for trial in row.trials for path in trial.repeatable}
    if lists:
        record.hold("duplicates", "all lists", *(f"no row repeats an entry of {path}" for path in sorted(unheard)))
    record.hold("returned", "all answers", *(f"{key} is documented, and no answer had it" for key in returned.never_seen()))
    return record
