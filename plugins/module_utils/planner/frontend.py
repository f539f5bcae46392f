# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Desired frontend against what its host and the vault have.  No I/O."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

from ..model.cluster import Cluster, Node
from ..model.errors import VcError
from .plan import Action, ItemPlan


@dataclass(frozen=True)
class Wish:
    """What the user wants.

    Parameters
    ----------
    present : defined, or gone
    started : switched on if it is off; a running one is never switched off
    autostart : whether it starts with its host
    remove_disk : with absent: give up the lease and delete the disk on this host
    """

    cluster: Cluster
    node: Node
    present: bool = True
    started: bool = True
    autostart: bool = True
    remove_disk: bool = False

    @property
    def item(self) -> str:
        return f"{self.cluster.name}/{self.node.name}"

    @property
    def domain(self) -> str:
        return f"{self.cluster.name}.{self.node.name}"


@dataclass(frozen=True)
class Facts:
    """What there is.

    Parameters
    ----------
    host : name of this host
    lease_epoch : epoch that the vault says this host holds; 0 when it holds none
    lease_state : node state that the vault was told last
    record_epoch : epoch that the files on this host belong to; 0 when there are none
    disk : whether the disk with the guest's changes exists
    disk_made : whether it was made once
    seed : ``current``, ``outdated`` or ``missing``
    network : ``current`` (the tap is on its bridge, pinned and as wanted), ``outdated`` or ``missing``
    secret : whether libvirt has the CHAP secret
    domain : ``missing``, ``foreign`` (another's domain of this name), ``current`` or ``outdated``
    differences : what is outdated in the domain
    state : of the domain, ``off`` when there is none
    autostart : of the domain
    redefined : whether the registry has another definition of the cluster than the wish
    """

    host: str
    lease_epoch: int = 0
    lease_state: str = "off"
    record_epoch: int = 0
    disk: bool = False
    disk_made: bool = False
    seed: str = "missing"
    network: str = "missing"
    secret: bool = False
    domain: str = "missing"
    differences: tuple[str, ...] = ()
    state: str = "off"
    autostart: bool = False
    redefined: bool = False


def plan_frontend(wish: Wish, facts: Facts) -> ItemPlan:
    """Decide.  A refusal is in ``error``."""
    before = describe(facts)
    try:
        _check(wish, facts)
        if wish.present:
            return ItemPlan(wish.item, "present", _present(wish, facts), before, _after(wish, facts))
        actions = _absent(wish, facts)
        after = _left(facts) if facts.record_epoch and not wish.remove_disk else None
        return ItemPlan(wish.item, "absent", actions, before, after)
    except VcError as error:
        return ItemPlan(wish.item, "unknown", before=before, after=before, error=error)


def _left(facts: Facts) -> dict[str, Any]:
    """What stays of an absent frontend whose disk is kept."""
    gone = Facts(facts.host, facts.lease_epoch, facts.lease_state, facts.record_epoch, facts.disk, facts.disk_made, facts.seed)
    return describe(gone) or {}


def describe(facts: Facts) -> Optional[dict[str, Any]]:
    """The canonical state for the diff; None when there is nothing of it on this host."""
    if not facts.record_epoch and not facts.lease_epoch and facts.domain == "missing" and facts.network == "missing" and not facts.disk:
        return None
    return {
        "leased": facts.lease_epoch > 0,
        "disk": facts.disk,
        "seed": facts.seed,
        "network": facts.network,
        "domain": facts.domain,
        "differences": list(facts.differences),
        "state": facts.state,
        "autostart": facts.autostart,
    }


def final_state(wish: Wish, facts: Facts) -> str:
    """The domain's state after the plan was applied."""
    if not wish.present:
        return "off"
    return "running" if wish.started else facts.state


def not_up(wish: Wish, facts: Facts, up: bool, waited: int, console: Path) -> Optional[VcError]:
    """Why a frontend that was to be started cannot be said to be up; None when it is, or was not to be.

    Parameters
    ----------
    facts : read after the plan was carried out and the guest was waited for
    up : False when its services did not come within `waited` seconds
    console : file with what the guest said
    """
    if not (wish.present and wish.started):
        return None
    tried, remedy = "waiting for the guest", f"look at {console} on {facts.host}"
    if facts.state != "running":
        return VcError("backend", wish.item, tried, f"it was started, but now it is {facts.state}", f"{remedy} and the log of libvirt")
    if not up:
        detail = f"it is running, but its services are not up after {waited} s"
        return VcError("timeout", wish.item, tried, detail, f"{remedy}, or wait longer")
    return None


def other_definition(wish: Wish) -> VcError:
    """What was handed on decides about addresses on the wire and whose taps are removed."""
    tried = "preparing the frontend" if wish.present else "removing the frontend"
    detail, remedy = "the registry has another definition of its cluster", "pass on what vc_cluster returns now"
    return VcError("conflict", wish.item, tried, detail, remedy)


def _after(wish: Wish, facts: Facts) -> dict[str, Any]:
    return {
        "leased": True,
        "disk": True,
        "seed": "current",
        "network": "current",
        "domain": "current",
        "differences": [],
        "state": final_state(wish, facts),
        "autostart": wish.autostart,
    }


def _check(wish: Wish, facts: Facts) -> None:
    tried = "preparing the frontend" if wish.present else "removing the frontend"
    if wish.node.host != facts.host:
        remedy = f"run this on {wish.node.host}, or change frontend.host in the definition"
        raise VcError("conflict", wish.item, tried, f"the definition places it on {wish.node.host}, this host is {facts.host}", remedy)
    if not wish.present and facts.redefined:
        # To make one, the definition may just have been changed by the task before, which in check mode has not written it.
        raise other_definition(wish)
    if facts.domain == "foreign":
        detail = f"libvirt has a domain {wish.domain} that is not this frontend"
        raise VcError("conflict", wish.item, tried, detail, f"look at `virsh dumpxml {wish.domain}`; rename or undefine it")
    fenced = facts.record_epoch > 0 and facts.record_epoch != facts.lease_epoch
    # To take it off the host touches no disk, and a removal that was ended after giving the lease up begins with that.
    if fenced and wish.present:
        now = (
            f"the vault now has epoch {facts.lease_epoch} for this host"
            if facts.lease_epoch
            else "this host does not hold the lease any more"
        )
        detail = f"its disk here belongs to epoch {facts.record_epoch}, which is over; {now}"
        remedy = "save what is needed from the disk, then use state=absent with remove_disk=true"
        raise VcError("stale_epoch", wish.item, tried, detail, remedy)
    # Between taking a lease and noting it the state is "preparing"; later it is not, and the guest may have written to its disk.
    if wish.present and facts.lease_epoch and not facts.record_epoch and facts.lease_state != "preparing":
        detail = f"this host holds its lease (epoch {facts.lease_epoch}) but has none of its files"
        remedy = "put its directory in /var/lib/vc-frontends back, or give its disk up with state=absent and remove_disk=true"
        raise VcError("conflict", wish.item, tried, detail, remedy)


def _present(wish: Wish, facts: Facts) -> tuple[Action, ...]:
    if facts.disk_made and not facts.disk:
        detail = "its disk was made on this host and has disappeared"
        remedy = "put the file back, or give it up with state=absent and remove_disk=true"
        raise VcError("conflict", wish.item, "preparing the frontend", detail, remedy)
    if facts.disk and not facts.record_epoch:
        detail = "there is a disk of it on this host, but no record of the lease that it belongs to"
        remedy = "put its record.json back, or save what is needed from the disk, then use state=absent with remove_disk=true"
        raise VcError("conflict", wish.item, "preparing the frontend", detail, remedy)
    active = facts.state in ("running", "suspended", "stopping")
    steps: list[tuple[str, dict[str, Any]]] = []
    if not facts.record_epoch:
        steps.append(("lease", {"image": wish.node.image}))
    # Made, but not noted: whoever made it was killed in between, and its loss would go unnoticed.
    if not facts.disk or not facts.disk_made:
        steps.append(("disk", {}))
    if facts.network != "current":
        steps.append(("attach", {"vni": wish.cluster.network.vni}))
    if facts.seed != "current":
        steps.append(("seed", {"effective": "at its next power-on" if active else "at once"}))
    if not facts.secret or not facts.record_epoch:
        steps.append(("secret", {}))
    if facts.domain != "current":
        steps.append(("define", {"differences": list(facts.differences), "effective": "at its next power-on" if active else "at once"}))
    if facts.autostart != wish.autostart:
        steps.append(("autostart", {"autostart": wish.autostart}))
    if wish.started and facts.state in ("off", "crashed", "suspended", "stopping"):
        steps.append(("start", {}))
    if not facts.record_epoch or facts.lease_state != final_state(wish, facts):
        steps.append(("report", {"state": final_state(wish, facts)}))
    return tuple(Action(wish.item, verb, details) for verb, details in steps)


def _absent(wish: Wish, facts: Facts) -> tuple[Action, ...]:
    if facts.state != "off" and facts.state != "crashed":
        remedy = f"shut it down first, e.g. `virsh shutdown {wish.domain}` on {facts.host}"
        raise VcError("in_use", wish.item, "removing the frontend", f"it is {facts.state}", remedy)
    steps: list[tuple[str, dict[str, Any]]] = []
    if facts.domain != "missing":
        steps.append(("undefine", {}))
    if facts.network != "missing":
        steps.append(("detach", {}))
    if facts.secret and (wish.remove_disk or not facts.record_epoch):
        steps.append(("forget", {}))
    if wish.remove_disk:
        if facts.lease_epoch:
            steps.append(("release", {"epoch": facts.lease_epoch}))
        if facts.record_epoch or facts.disk or facts.seed != "missing":
            # Last: until here everything can be done again.
            steps.append(("delete", {}))
    return tuple(Action(wish.item, verb, details) for verb, details in steps)
