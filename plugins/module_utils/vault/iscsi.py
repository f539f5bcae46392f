# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read-only iSCSI exports: one target per lease, one CHAP account per lease, one address that may log in."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from ..model.errors import VcError
from .tgtd import Target, Tgtd

PREFIX = "iqn.2026-11.vc:"
USER_PREFIX = "vc."
PORT = 3260
LUN = 1


@dataclass(frozen=True)
class Export:
    """What one lease exports: to whom, from which file, and what opens it."""

    cluster: str
    node: str
    epoch: int
    path: str
    address: str
    secret: str

    @property
    def item(self) -> str:
        return f"{self.cluster}/{self.node}"

    @property
    def iqn(self) -> str:
        return iqn(self.cluster, self.node, self.epoch)

    @property
    def user(self) -> str:
        return chap_user(self.cluster, self.node, self.epoch)


def iqn(cluster: str, node: str, epoch: int) -> str:
    """The name of a lease's target."""
    return f"{PREFIX}{cluster}:{node}:e{epoch}"


def chap_user(cluster: str, node: str, epoch: int) -> str:
    """The CHAP account of a lease: accounts are the daemon's, not the target's, so the name says everything."""
    return f"{USER_PREFIX}{cluster}.{node}.e{epoch}"


def new_secret() -> str:
    """A CHAP secret of 128 bits; letters and digits only, 32 of them (some initiators take no more)."""
    return secrets.token_hex(16)


class Exports:
    """The exports of this vault in a running tgtd.  Targets that are not ours are never touched."""

    def __init__(self, daemon: Tgtd) -> None:
        self._daemon = daemon

    def ensure(self, exports: Sequence[Export]) -> Mapping[str, VcError]:
        """Make what is missing and repair what differs, all in one look at the daemon.  Answers item -> what went wrong."""
        if not exports:
            return {}
        present = {target.iqn: target for target in self._daemon.targets()}
        accounts = self._daemon.accounts()
        taken = {target.tid for target in present.values()}
        failed: dict[str, VcError] = {}
        for export in exports:
            target = present.get(export.iqn)
            if target is not None and export.user in accounts and _matches(target, export):
                continue
            try:
                if target is not None:
                    self._daemon.delete_target(target.tid, target.iqn)
                if export.user in accounts:
                    self._daemon.delete_account(export.user)
                tid = next(number for number in range(1, len(taken) + 2) if number not in taken)
                taken.add(tid)
                self._make(tid, export)
            except VcError as error:
                failed[export.item] = VcError(error.code, export.item, f"exporting it: {error.tried}", error.detail, error.remedy)
        return failed

    def drop(self, leases: Iterable[tuple[str, str, int]]) -> None:
        """Remove the exports of these (cluster, node, epoch), with any session on them.  A daemon that is not running has none."""
        wanted = list(leases)
        if not wanted:
            return
        iqns = {iqn(*lease) for lease in wanted}
        users = {chap_user(*lease) for lease in wanted}
        self._remove(lambda target: target.iqn in iqns, lambda account: account in users)

    def keep_only(self, exports: Sequence[Export], spared: Iterable[str] = ()) -> list[str]:
        """Remove our targets and accounts that belong neither to these nor to a node in `spared` (cluster/node, any epoch).

        Answers the names of the targets removed.
        """
        iqns = {export.iqn for export in exports}
        users = {export.user for export in exports}
        nodes = [item.split("/") for item in spared]
        kept_iqns = tuple(f"{PREFIX}{cluster}:{node}:e" for cluster, node in nodes)
        kept_users = tuple(f"{USER_PREFIX}{cluster}.{node}.e" for cluster, node in nodes)
        return self._remove(
            lambda target: target.iqn.startswith(PREFIX) and target.iqn not in iqns and not target.iqn.startswith(kept_iqns),
            lambda account: account.startswith(USER_PREFIX) and account not in users and not account.startswith(kept_users),
        )

    def present(self) -> list[Target]:
        """Our targets in the daemon; none when it does not run."""
        try:
            return [target for target in self._daemon.targets() if target.iqn.startswith(PREFIX)]
        except VcError as error:
            if error.code == "unreachable":
                return []
            raise

    def _make(self, tid: int, export: Export) -> None:
        self._daemon.new_target(tid, export.iqn)
        try:
            self._daemon.new_disk(tid, export.iqn, export.path)
            self._daemon.new_account(export.user, export.secret)
            self._daemon.bind_account(tid, export.user)
            # Last: an empty list of addresses keeps everybody out of a target that is not finished.
            self._daemon.bind_address(tid, export.address)
        except VcError:
            self._daemon.delete_target(tid, export.iqn)
            raise

    def _remove(self, is_target: Callable[[Target], bool], is_account: Callable[[str], bool]) -> list[str]:
        try:
            targets = [target for target in self._daemon.targets() if is_target(target)]
            accounts = sorted(account for account in self._daemon.accounts() if is_account(account))
        except VcError as error:
            if error.code == "unreachable":
                return []
            raise
        for target in targets:
            self._daemon.delete_target(target.tid, target.iqn)
        for account in accounts:
            self._daemon.delete_account(account)
        return [target.iqn for target in targets]


def _matches(target: Target, export: Export) -> bool:
    return (
        target.path == export.path
        and target.readonly
        and target.accounts == [export.user]
        and target.addresses == [export.address]
        and not target.initiators
    )
