# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of ``vc_computeset``, validated as a whole before anything is read or written.  No I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Optional

from ..model import addresses, names, noderange, units
from ..model.cluster import Cluster
from ..model.definition import LEAST_MEMORY_MIB
from ..model.errors import VcError
from ..model.vms import VMS_LABEL, Vms, cluster_of
from ..slurm.script import slurm_word

# Below this, Slurm's one-minute timer may tell the guests to stop before they have booted.
SHORTEST_WALLTIME = 120
LONGEST_GRACE = 600
# Of a throw-away machine, unless told otherwise.
DEFAULT_CPUS, DEFAULT_MEMORY = 1, "512MiB"
# Between the end of the guests' grace and the walltime: agents power off, report and leave.
MARGIN_SECONDS = 20


@dataclass(frozen=True)
class Wish:
    """What a play asks for.

    Parameters
    ----------
    cluster : the resolved definition; for throw-away machines what can be known of it before there is a job
    name : of the set
    user : who runs this; must be the cluster's owner
    account : Slurm account, in lower case as Slurm keeps it; empty means the user's default, for throw-away machines only
    nodes : computes wanted, in task order; empty when `count` is given
    count : number of computes wanted; 0 when `nodes` is given
    walltime_seconds : 0 means whatever the partition gives, and leaves that of a live set alone
    started : False asks for the set to be gone
    grace_seconds : how long guests get to shut down
    overhead_mib : memory for each guest beyond its own
    per_host : guests per hypervisor, 0 leaves it to Slurm
    on_hosts, exclude_hosts : hypervisors to use all of, and none of
    partition, reservation, qos : empty means Slurm's default
    own : whether the set is, or was, of throw-away machines, and its cluster the job's own
    vms : these machines; None where they need not be known to end them
    """

    cluster: Cluster
    name: str
    user: str
    account: str
    nodes: tuple[str, ...] = ()
    count: int = 0
    walltime_seconds: int = 0
    started: bool = True
    grace_seconds: int = 20
    overhead_mib: int = 256
    per_host: int = 0
    on_hosts: tuple[str, ...] = ()
    exclude_hosts: tuple[str, ...] = ()
    partition: str = ""
    reservation: str = ""
    qos: str = ""
    own: bool = False
    vms: Optional[Vms] = None

    @property
    def item(self) -> str:
        return f"{self.cluster.name}/{self.name}"

    @property
    def lead_seconds(self) -> int:
        """How long before its walltime ends a set is told to stop."""
        return self.grace_seconds + MARGIN_SECONDS


def read_options(options: Mapping[str, Any], user: str) -> Wish:
    """The wish in a module's options.  Raises VcError ``invalid`` or ``duplicate`` naming the option's value."""
    name = names.computeset_name(options["name"])
    vms = None if options["vms"] is None else _vms(options)
    if options["cluster"] is None and vms is None and options["state"] == "started":
        raise VcError("invalid", name, "reading cluster", "neither cluster nor vms is given", "say what to start")
    cluster = _own_cluster(vms, user, options["account"]) if options["cluster"] is None else _defined(options["cluster"])
    item = f"{cluster.name}/{name}"
    for option, least, most in (("count", 1, noderange.LARGEST), ("per_host", 1, 65536), ("wait_timeout", 0, units.LONGEST_DURATION)):
        value = options[option]
        if value is not None and not least <= value <= most:
            raise VcError("invalid", item, f"reading {option}", f"{value} is not between {least} and {most}", f"give {least} or more")
    words = {kind: "" if options[kind] is None else slurm_word(options[kind], kind) for kind in ("partition", "reservation", "qos")}
    wish = Wish(
        cluster=cluster,
        name=name,
        user=user,
        account=cluster.account if options["account"] is None else names.account_name(options["account"]),
        nodes=(vms.nodes if vms else ()) if options["nodes"] is None else tuple(noderange.expand(options["nodes"])),
        count=options["count"] or 0,
        walltime_seconds=0 if options["walltime"] is None else units.parse_duration(options["walltime"]),
        started=options["state"] == "started",
        grace_seconds=units.parse_duration(options["grace"]),
        overhead_mib=units.parse_size(options["memory_overhead"]),
        per_host=options["per_host"] or 0,
        on_hosts=_hosts("hosts", options),
        exclude_hosts=_hosts("exclude_hosts", options),
        own=options["cluster"] is None,
        vms=vms,
        **words,
    )
    if wish.grace_seconds > LONGEST_GRACE:
        raise VcError("invalid", item, "reading grace", "it is longer than 10m", "give guests 10m or less to shut down")
    shortest = max(SHORTEST_WALLTIME, 2 * wish.lead_seconds)
    if 0 < wish.walltime_seconds < shortest:
        detail = f"{units.format_duration(wish.walltime_seconds)} is too short to boot, run and stop"
        raise VcError("invalid", item, "reading walltime", detail, f"ask for {units.format_duration(-(-shortest // 60) * 60)} or more")
    both = sorted(set(wish.on_hosts) & set(wish.exclude_hosts))
    if both:
        raise VcError("conflict", item, "placing it", f"{both[0]} is both in hosts and in exclude_hosts", "leave it out of one of them")
    return wish


def _defined(data: Any) -> Cluster:
    cluster = Cluster.from_dict(data)
    if names.is_own_cluster(cluster.name):
        detail = "its nodes are throw-away machines that started with their job"
        raise VcError("invalid", cluster.name, "reading cluster", detail, "start others with `vms`")
    return cluster


def _vms(options: Mapping[str, Any]) -> Vms:
    memory = DEFAULT_MEMORY if options["memory"] is None else options["memory"]
    return Vms.from_dict(
        {
            "images": options["vms"],
            "cpus": DEFAULT_CPUS if options["cpus"] is None else options["cpus"],
            "memory_mib": units.parse_size(memory),
            "ssh_authorized_keys": options["ssh_authorized_keys"] or [],
        }
    )


def _own_cluster(vms: Optional[Vms], user: str, account: Optional[str]) -> Cluster:
    """What is known of it beforehand: all but its number, and what follows from that."""
    none = Vms((), 1, LEAST_MEMORY_MIB)
    return cluster_of(VMS_LABEL, vms or none, user, account or "", addresses.LAST_VNI, addresses.parse_pkey(addresses.LAST_PKEY))


def _hosts(option: str, options: Mapping[str, Any]) -> tuple[str, ...]:
    hosts: list[str] = []
    for number, given in enumerate(options[option]):
        host = slurm_word(given, "host")
        if host in hosts:
            detail = f"{option}[{hosts.index(host)}] is {host} too"
            raise VcError("duplicate", f"{option}[{number}]", "reading the options", detail, "name every hypervisor once")
        hosts.append(host)
    return tuple(hosts)
