# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One node's lease as it is kept, and who may take it.  Pure: no files, no clock.

Epochs of a node only grow, and an epoch is given to one holder only: whatever carries an older one comes from the past.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Optional

from ..model import names
from ..model.errors import VcError
from ..model.states import NodeState, node_state

KINDS = ("job", "frontend")
OUTCOMES = ("discarded", "kept")
# What a host may say of a node whose lease it holds; the other states follow from leases and jobs themselves.
REPORTED = frozenset(
    {NodeState.PREPARING, NodeState.BOOTING, NodeState.RUNNING, NodeState.SUSPENDED, NodeState.STOPPING, NodeState.CRASHED, NodeState.OFF}
)
_BOOT_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_NUMBERS = frozenset({"epoch", "generation", "size_mib", "job_id", "restart_count"})
_TEXTS = frozenset({"state_since", "image", "kind", "host", "user", "account", "boot_id", "address", "portal", "since"})
_TRIED = "reading the lease request"
_REMEDY = "use the same release on the host and on the vault"


@dataclass(frozen=True)
class Caller:
    """The host that asks, as sshd and the forced command tell it.

    Parameters
    ----------
    host : name in the forced command
    address : the address it came from; the only one that may use its exports
    portal : ``address:port`` at which it reaches the target daemon
    kinds : of holders that the host may speak for
    """

    host: str
    address: str
    portal: str
    kinds: tuple[str, ...] = KINDS


@dataclass(frozen=True)
class Holder:
    """Who holds a lease.  ``job_id`` and ``restart_count`` are 0 for a frontend; ``since`` is UTC, ISO 8601."""

    kind: str
    host: str
    job_id: int
    restart_count: int
    user: str
    account: str
    boot_id: str
    address: str
    portal: str
    since: str

    @classmethod
    def from_request(cls, data: Any, caller: Caller, since: str) -> Holder:
        """What the caller says of itself, joined with what the vault knows of the caller.  VcError ``invalid``."""
        if not isinstance(data, Mapping):
            raise VcError("invalid", "holder", _TRIED, "it is not a mapping", _REMEDY)
        kind = data.get("kind")
        if kind not in KINDS:
            raise VcError(
                "invalid", "holder.kind", _TRIED, f"{names.shown(kind)} is not a kind of holder", f"use one of {', '.join(KINDS)}"
            )
        if kind not in caller.kinds:
            detail = f"this host's key is for {' and '.join(caller.kinds) or 'no'} leases, not for one of a {kind}"
            raise VcError("forbidden", "holder.kind", _TRIED, detail, "run role vault when the host's groups have changed")
        boot_id = data.get("boot_id")
        if not isinstance(boot_id, str) or not _BOOT_ID.fullmatch(boot_id):
            raise VcError(
                "invalid", "holder.boot_id", _TRIED, f"{names.shown(boot_id)} is not a boot id", "pass /proc/sys/kernel/random/boot_id"
            )
        is_job = kind == "job"
        return cls(
            kind=str(kind),
            host=caller.host,
            job_id=_count(data, "job_id", 1) if is_job else 0,
            restart_count=_count(data, "restart_count", 0) if is_job else 0,
            user=names.user_name(data.get("user")) if is_job else "",
            # Slurm compares accounts without case.
            account=names.account_name(str(data.get("account")).lower()) if is_job else "",
            boot_id=boot_id,
            address=caller.address,
            portal=caller.portal,
            since=since,
        )

    @property
    def identity(self) -> tuple[Any, ...]:
        """Equal for two requests of the same holder.

        A frontend is a persistent domain of its host: it outlives a reboot, so the boot does not count for it.
        """
        return (self.kind, self.host) if self.kind == "frontend" else (self.kind, self.host, self.job_id, self.restart_count, self.boot_id)

    def __str__(self) -> str:
        who = f"job {self.job_id} of {self.user}" if self.kind == "job" else "the frontend's domain"
        return f"{who} on {self.host} since {self.since}"


@dataclass(frozen=True)
class Lease:
    """A node's lease.

    Parameters
    ----------
    epoch : of the present holder, or the last one given out; 0 before the first
    state, state_since : what the host reported last; ``off`` when free, ``flushing`` when given back with changes still in the host's spool
    holder : None when free
    generation : of the exported disk; 0 for an ephemeral node
    image : the golden revision under the node, e.g. ``debian12@r1``
    size_mib : size the node's disk has for the guest
    released : ``{host, outcome}`` of the epoch's release; makes a repeated release harmless
    broken : the last break: ``{epoch, reason, at, holder}``
    """

    cluster: str
    node: str
    epoch: int = 0
    state: str = NodeState.OFF.value
    state_since: str = ""
    holder: Optional[Holder] = None
    generation: int = 0
    image: str = ""
    size_mib: int = 0
    released: Optional[Mapping[str, str]] = None
    broken: Optional[Mapping[str, Any]] = None

    @property
    def item(self) -> str:
        return f"{self.cluster}/{self.node}"

    @property
    def exported(self) -> bool:
        """Whether the holder still needs the export."""
        return self.holder is not None and self.state != NodeState.FLUSHING.value

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Lease:
        holder = data["holder"]
        fields = {key: data[key] for key in cls.__dataclass_fields__ if key != "holder"}
        lease = cls(**fields, holder=None if holder is None else Holder(**holder))
        for record in (lease, lease.holder):
            for key, value in () if record is None else record.__dict__.items():
                if (
                    key in _NUMBERS
                    and (isinstance(value, bool) or not isinstance(value, int))
                    or key in _TEXTS
                    and not isinstance(value, str)
                ):
                    raise TypeError(f"{key} is {names.shown(value)}")
        return replace(
            lease, cluster=names.cluster_name(lease.cluster), node=names.node_name(lease.node), state=node_state(lease.state).value
        )

    def to_dict(self) -> dict[str, Any]:
        data = {key: getattr(self, key) for key in self.__dataclass_fields__}
        return {**data, "holder": None if self.holder is None else dict(self.holder.__dict__)}

    def public(self) -> dict[str, Any]:
        """What may be shown: everything but addresses of exports."""
        data = self.to_dict()
        if self.holder is not None:
            data["holder"] = {key: value for key, value in data["holder"].items() if key not in {"address", "portal"}}
        return data


def take(lease: Lease, holder: Holder, epoch_floor: int, now: str) -> Lease:
    """The lease after this holder asked for it; the same object when it holds it already.

    Raises VcError ``leased`` (another holder) or ``not_flushed`` (changes of the last run are still in a host's spool).
    """
    present = lease.holder
    tried = f"giving it to {holder}"
    if present is not None and lease.state == NodeState.FLUSHING.value:
        raise VcError(
            "not_flushed", lease.item, tried, f"its disk has changes of {present} that are not in the vault", save_or_break(lease, present)
        )
    if present is not None and present.identity == holder.identity:
        if (present.address, present.portal) == (holder.address, holder.portal):
            return lease
        return replace(lease, holder=replace(present, address=holder.address, portal=holder.portal))
    if present is not None:
        rebooted = present.kind == holder.kind == "job" and present.host == holder.host and present.boot_id != holder.boot_id
        if rebooted and lease.generation:
            # The processes of that boot are gone, its overlay is not: starting now would silently take the guest back in time.
            detail = f"{present.host} has rebooted and has not yet said what became of the changes of {present}"
            remedy = f"wait for vc-flush on {present.host}; if its disk is gone, on the vault host: {_break(lease)}"
            raise VcError("not_flushed", lease.item, tried, detail, remedy)
        if not rebooted:
            detail = f"held by {present} (epoch {lease.epoch}, {lease.state})"
            remedy = f"end that first; if {present.host} is gone for good, on the vault host: {_break(lease)}"
            raise VcError("leased", lease.item, tried, detail, remedy)
        lease = broken(lease, f"{present.host} has rebooted", now)
    return replace(
        lease,
        epoch=max(lease.epoch, epoch_floor) + 1,
        state=NodeState.PREPARING.value,
        state_since=now,
        holder=holder,
        released=None,
    )


def broken(lease: Lease, reason: str, now: str) -> Lease:
    """The lease taken away from its holder: a fresh epoch that nobody holds, so that whatever the old holder still sends is stale."""
    old = {} if lease.holder is None else {key: value for key, value in lease.holder.__dict__.items() if key not in {"address", "portal"}}
    record = {"epoch": lease.epoch, "reason": reason, "at": now, "holder": old}
    return replace(lease, epoch=lease.epoch + 1, state=NodeState.OFF.value, state_since=now, holder=None, released=None, broken=record)


def released(lease: Lease, host: str, epoch: int, outcome: str, now: str) -> Lease:
    """The lease after its holder gave it back; the same object when it did so before.  VcError ``stale_epoch``, ``forbidden``."""
    if lease.holder is None and lease.epoch == epoch and lease.released == {"host": host, "outcome": outcome}:
        return lease
    held = _held(lease, host, epoch, "releasing it")
    if outcome == "kept":
        if lease.state == NodeState.FLUSHING.value:
            return lease
        return replace(held, state=NodeState.FLUSHING.value, state_since=now, released={"host": host, "outcome": outcome})
    return replace(held, state=NodeState.OFF.value, state_since=now, holder=None, released={"host": host, "outcome": outcome})


def reported(lease: Lease, host: str, epoch: int, state: NodeState, now: str) -> Lease:
    """The lease after its host reported a node state; the same object when it is no news.

    Raises VcError ``stale_epoch``, ``forbidden``, ``not_flushed``.
    """
    held = _held(lease, host, epoch, f"recording state {state.value}")
    if lease.state == NodeState.FLUSHING.value:
        raise VcError("not_flushed", lease.item, f"recording state {state.value}", "the lease was already given back", "nothing to do")
    return held if held.state == state.value else replace(held, state=state.value, state_since=now)


def save_or_break(lease: Lease, holder: Holder) -> str:
    """The way out for a node whose changes are in its host's spool: in this release none leads them home."""
    entry = f"/var/lib/vc-scratch/spool/{lease.cluster}.{lease.node}.{lease.epoch}"
    return f"save what is needed from {entry} on {holder.host}; then give them up, on the vault host: {_break(lease)}"


def _held(lease: Lease, host: str, epoch: int, tried: str) -> Lease:
    remedy = "keep the data as an orphan; see vc-vault status on the vault host"
    if lease.holder is None or epoch != lease.epoch:
        now = "nobody holds it" if lease.holder is None else f"{lease.holder} holds it"
        raise VcError("stale_epoch", lease.item, tried, f"epoch {epoch} is over; {now} (epoch {lease.epoch})", remedy)
    if lease.holder.host != host:
        raise VcError("forbidden", lease.item, tried, f"{host} does not hold it", "ask from the host that holds it")
    return lease


def _break(lease: Lease) -> str:
    return f"vc-vault break {lease.cluster} {lease.node} --reason TEXT"


def _count(data: Mapping[str, Any], key: str, least: int) -> int:
    value = data.get(key)
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value < 2**32:
        raise VcError("invalid", f"holder.{key}", _TRIED, f"{names.shown(value)} is not a number from {least}", _REMEDY)
    return value
