# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The root helper (``vc-host``): the few things a job's agent needs root for, one JSON line in, one out, per connection.

Whom it serves is decided by the kernel's word about the caller (SO_PEERCRED) against the prolog's record; what it gives
is decided by the vault.  No verb takes a path, an address, an epoch or a uid from the caller.
"""

from __future__ import annotations

import contextlib
import json
import socket
import struct
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

from ..command import Commands
from ..host_config import HostConfig, load
from ..model.addresses import tap_name
from ..model.cluster import Cluster, Node
from ..model.errors import VcError
from ..model.names import node_name, shown
from ..model.states import node_state
from ..overlay.ports import Port, attach, detach
from ..vault.client import VaultClient
from .epilog import start_recovery
from .journal import Journal
from .places import Places
from .processes import JobProcesses
from .record import JobRecord, NodeRecord, Records
from .seed import put_seed, seed_name
from .slots import take

_LONGEST_REQUEST = 64 * 1024
_MOST_NODES = 256
_READ_SECONDS = 10.0
_LOCK_SECONDS = 30.0
# A node that was terminated a moment ago is free as soon as the flush unit of its last job has told the vault.
_LEASE_SECONDS = 20.0
_LEASE_PAUSE = 0.5
_CALL = "calling the root helper"
# Refusals after which the vault has certainly given nothing; after any other it may have, and only the answer was lost.
_NOTHING_GIVEN = frozenset({"leased", "not_flushed", "forbidden", "unknown", "invalid", "duplicate", "conflict"})
# Of these refusals of a whole job the vault need not hear again and again; its log-ins and its lock are everybody's.
_NOT_WANTED = frozenset({"forbidden", "unknown"})
_REFUSED_SECONDS = 30.0


class Vault(Protocol):
    """What is needed of the vault; :class:`VaultClient` is it."""

    def call(self, verb: str, args: Mapping[str, Any]) -> dict[str, Any]: ...


class Helper:
    """Serves one caller.

    Parameters
    ----------
    places, config, commands, vault : the host and what it talks to
    uid, pid : of the caller, from the kernel
    """

    def __init__(self, places: Places, config: HostConfig, commands: Commands, vault: Vault, uid: int, pid: int) -> None:
        self._places = places
        self._config = config
        self._commands = commands
        self._vault = vault
        self._uid = uid
        self._pid = pid
        self._records = Records(places)

    def answer(self, request: Any) -> dict[str, Any]:
        """``{"ok": true, "result": ...}`` or ``{"ok": false, "error": ...}``; never raises."""
        try:
            return {"ok": True, "result": self._serve(request)}
        except Exception as error:  # whatever it is, the agent must get an answer that it can print
            return _refused(error)

    def _serve(self, request: Any) -> dict[str, Any]:
        if not isinstance(request, dict) or request.get("schema") != 1 or not isinstance(request.get("args"), dict):
            raise VcError("invalid", "request", _CALL, "it is not {schema: 1, verb, args}", "use the vc-agent of the same release")
        verb, args = request.get("verb"), request["args"]
        if verb == "prepare":
            return self._prepare(self._job(args), _names(args.get("nodes")), args.get("vms"))
        if verb == "state":
            nodes = args.get("nodes")
            if not isinstance(nodes, dict):
                raise VcError("invalid", "nodes", _CALL, "it is not {name: state}", "use the vc-agent of the same release")
            return self._state(self._job(args), {name: node_state(nodes[name]).value for name in _names(list(nodes))})
        raise VcError("invalid", shown(verb), _CALL, "there is no such verb", "use prepare or state")

    def _job(self, args: Mapping[str, Any]) -> JobRecord:
        job_id, restart_count = _number(args, "job_id"), _number(args, "restart_count")
        record = self._records.find(job_id, restart_count)
        if record.uid != self._uid:
            raise VcError("forbidden", f"job {job_id}", _CALL, f"it is not a job of uid {self._uid}", "call from a job of your own")
        if record.boot_id != self._places.boot_id():
            raise VcError("unknown", f"job {job_id}", _CALL, "it was started before this host was rebooted", "start the nodes anew")
        return record

    def _prepare(self, job: JobRecord, names: list[str], vms: Any) -> dict[str, Any]:
        with self._records.lock(job, _LOCK_SECONDS) as locked:
            if not locked:
                raise VcError("timeout", f"job {job.job_id}", "waiting for another call of this job", "it takes too long", "try again")
            # It may have been withdrawn while we waited.
            self._records.find(job.job_id, job.restart_count)
            refused = self._records.refusal(job, _REFUSED_SECONDS)
            if refused is not None:
                raise refused
            for name in names:
                if self._records.node(job, name) is None:
                    self._records.add_node(NodeRecord(job.job_id, job.restart_count, job.uid, job.boot_id, job.cluster, name))
            return self._prepare_locked(job, names, vms)

    def _prepare_locked(self, job: JobRecord, names: list[str], vms: Any) -> dict[str, Any]:
        answer = self._lease(job, names, vms)
        results: dict[str, dict[str, Any]] = dict(answer["nodes"])
        leased = [name for name in names if results.get(name, {}).get("ok")]
        for name in names:
            if name not in leased and results.get(name, {}).get("error", {}).get("code") in _NOTHING_GIVEN:
                self._forget(job, name)
        result = {"accelerator": self._config.accelerator, "datapath": self._config.overlay.datapath if self._config.overlay else ""}
        if not leased:
            return {**result, "cluster": {}, "nodes": results}
        cluster = Cluster.from_dict(answer["cluster"])
        nodes = {name: Node.from_dict(results[name]["node"]) for name in leased}
        held = {name: record.epoch for name in leased if (record := self._records.node(job, name)) is not None and record.epoch}
        records: dict[str, NodeRecord] = {}
        for name, node in nodes.items():
            records[name] = NodeRecord(job.job_id, job.restart_count, job.uid, job.boot_id, job.cluster, name).leased(
                int(results[name]["epoch"]), cluster.network.vni, tap_name(cluster.network.vni, node.index), node.persistent
            )
        try:
            # The vault may have taken so long that the epilog did not wait for us: then nobody else knows of these leases.
            self._records.find(job.job_id, job.restart_count)
        except VcError:
            self._give_back(job, list(records.values()), held)
            raise
        lost = [name for name in held if held[name] != records[name].epoch]
        if lost:
            # Its guest may still run, on what was its disk under the old lease: that must not come home under the new one.
            self._give_back(job, [records[name] for name in lost], {})
            for name in lost:
                detail = f"epoch {held[name]}, under which this job started it, is over"
                results[name] = _refused(
                    VcError("stale_epoch", f"{job.cluster}/{name}", "preparing it again", detail, "start the nodes anew")
                )
                self._records.add_node(replace(records[name], epoch=held[name]))
                del nodes[name], records[name]
        try:
            self._make(job, cluster, nodes, records, held, results)
        except FileNotFoundError:
            # The epilog has taken the job's directory away.
            self._check_alive(job, list(records.values()), held)
            raise
        self._check_alive(job, list(records.values()), held)
        return {**result, "cluster": cluster.to_dict(), "nodes": results}

    def _make(
        self,
        job: JobRecord,
        cluster: Cluster,
        nodes: Mapping[str, Node],
        records: Mapping[str, NodeRecord],
        held: Collection[str],
        results: dict[str, dict[str, Any]],
    ) -> None:
        """Note, attach and seed what was leased; completes `results`."""
        for record in records.values():
            self._records.add_node(record)
        try:
            # Not before the vault has agreed, and before the answer, upon which the caller starts libvirtd.
            JobProcesses(self._places, job.job_id, job.uid).adopt(self._pid)
            self._attach(job, cluster, list(nodes.values()))
        except VcError as error:
            self._give_back(job, list(records.values()), held)
            results.update({name: _refused(error) for name in records})
            return
        for name, node in nodes.items():
            results[name] = {**results[name], "tap": records[name].tap, "overlay": records[name].overlay, "seed": seed_name(name)}
            try:
                put_seed(self._places, job, cluster, node)
            except VcError as error:
                self._give_back(job, [records[name]], held)
                results[name] = _refused(error)

    def _check_alive(self, job: JobRecord, records: list[NodeRecord], held: Collection[str]) -> None:
        """VcError ``unknown``, and everything undone, when the epilog has come and gone without waiting for us."""
        try:
            self._records.find(job.job_id, job.restart_count)
        except VcError:
            # A later job may have been given the same node, and so the same tap.
            others = {other.tap for other in self._records.all_nodes() if other.job_id != job.job_id}
            records = [record for record in records if record.tap not in others]
            with contextlib.suppress(VcError):
                # Also of nodes that were held before: what the epilog took down, `attach` has made again.
                detach(self._commands, [record.tap for record in records])
            self._give_back(job, records, held)
            # For what could not be undone; and the epilog may have missed what we noted.
            with contextlib.suppress(VcError):
                start_recovery(self._commands)
            raise

    def _lease(self, job: JobRecord, names: list[str], vms: Any) -> dict[str, Any]:
        """One request for all nodes; again for those that the last job is just giving back.

        What the caller says of `vms` is handed on as it is: the vault makes of it the job's own cluster, and nothing else.
        """
        holder = {
            "kind": "job",
            "job_id": job.job_id,
            "restart_count": job.restart_count,
            "user": job.user,
            "account": job.account,
            "boot_id": job.boot_id,
        }
        asked = {} if vms is None else {"vms": vms}
        until = time.monotonic() + _LEASE_SECONDS
        results: dict[str, Any] = {}
        cluster: dict[str, Any] = {}
        wanted = names
        while True:
            try:
                answer = self._vault.call("lease", {"cluster": job.cluster, "nodes": wanted, "holder": holder, **asked})
            except VcError as error:
                for name in wanted if error.code in _NOTHING_GIVEN else []:
                    self._forget(job, name)
                if error.code in _NOT_WANTED:
                    self._records.note_refusal(job, error)
                raise
            results.update(answer["nodes"])
            cluster = answer.get("cluster") or cluster
            wanted = [name for name in names if results.get(name, {}).get("error", {}).get("code") == "leased"]
            if not wanted or time.monotonic() >= until:
                return {"nodes": results, "cluster": cluster}
            time.sleep(_LEASE_PAUSE)
            self._records.find(job.job_id, job.restart_count)

    def _attach(self, job: JobRecord, cluster: Cluster, nodes: list[Node]) -> None:
        if self._config.overlay is None:
            remedy = "run the role overlay_host on it"
            raise VcError("unknown", self._config.name, "joining the network", "this host has no overlay", remedy)
        ports = [
            Port(
                tap=tap_name(cluster.network.vni, node.index),
                vni=cluster.network.vni,
                mac=node.mac,
                address=node.address,
                mtu=cluster.network.mtu,
                user_id=job.uid,
                cluster=cluster.name,
                holder=f"job:{job.stem}",
            )
            for node in nodes
        ]
        attach(self._commands, self._config.overlay, ports)

    def _forget(self, job: JobRecord, name: str) -> None:
        record = self._records.node(job, name)
        if record is not None and record.epoch == 0:
            self._records.remove_node(record)

    def _give_back(self, job: JobRecord, records: list[NodeRecord], held: Collection[str]) -> None:
        """Undo what was made for nodes that cannot start; what cannot be undone now is left to the epilog.

        Not for nodes that were held before: their guests may be running, and what those wrote is not to be thrown away.
        """
        records = [record for record in records if record.node not in held]
        if not records:
            return
        try:
            detach(self._commands, [record.tap for record in records])
            nodes = {record.node: {"epoch": record.epoch, "outcome": "discarded"} for record in records}
            answer = self._vault.call("release", {"cluster": job.cluster, "nodes": nodes})
        except VcError:
            return
        for record in records:
            if answer["nodes"].get(record.node, {}).get("ok"):
                self._records.remove_node(record)

    def _state(self, job: JobRecord, states: Mapping[str, str]) -> dict[str, Any]:
        nodes, results = {}, {}
        for name, state in states.items():
            record = self._records.node(job, name)
            if record is None or record.epoch == 0:
                detail = "this job does not hold it here"
                error = VcError("unknown", f"{job.cluster}/{name}", "recording its state", detail, "prepare it first")
                results[name] = _refused(error)
            else:
                nodes[name] = {"epoch": record.epoch, "state": state}
        if nodes:
            results.update(self._vault.call("state", {"cluster": job.cluster, "nodes": nodes})["nodes"])
        return {"nodes": results}


def main(_argv: Sequence[str]) -> int:
    """Serve the connection that systemd has put on stdin."""
    connection = socket.socket(fileno=0)
    connection.settimeout(_READ_SECONDS)
    pid, uid, _gid = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")))
    journal = Journal("vc-host")
    try:
        places = Places()
        # Before waiting for a request: connections are few, and anybody may open one.
        check_user(places, uid)
        # Kept until this process ends.
        take(places, uid)
        request = read_line(connection)
        commands, config = Commands(), load()
        helper = Helper(places, config, commands, VaultClient(commands, config), uid, pid)
        answer = helper.answer(request)
    except Exception as error:  # as above
        request, answer = {}, _refused(error)
    if not answer["ok"]:
        journal.warn(f"uid {uid}: {VcError.from_dict(answer['error'])}")
    else:
        journal.say(f"uid {uid}: {request['verb']} for job {request['args'].get('job_id')} done")
    connection.settimeout(_READ_SECONDS)
    try:
        connection.sendall(json.dumps(answer).encode() + b"\n")
    except OSError:
        # The agent has gone; the epilog undoes what was made for it.
        return 0
    return 0


def check_user(places: Places, uid: int) -> None:
    """VcError ``forbidden`` for a user who has no job here; which of them a request is about is looked at later."""
    if not Records(places).has_job_of(uid):
        remedy = "start nodes with vc_computeset; only their jobs are served"
        raise VcError("forbidden", f"uid {uid}", _CALL, "it has no job with a virtual cluster on this host", remedy)


def read_line(connection: socket.socket) -> Any:
    """One JSON value on one line; VcError ``invalid`` for anything else."""
    data = b""
    until = time.monotonic() + _READ_SECONDS
    try:
        while not data.endswith(b"\n") and len(data) < _LONGEST_REQUEST:
            # All of it within that time: who sends a byte now and then would keep others from being served.
            connection.settimeout(max(0.01, until - time.monotonic()))
            part = connection.recv(_LONGEST_REQUEST - len(data))
            if not part:
                break
            data += part
        return json.loads(data.decode())
    except (OSError, ValueError, RecursionError):
        raise VcError("invalid", "request", _CALL, "it is not one line of JSON", "use the vc-agent of the same release") from None


def _names(value: Any) -> list[str]:
    if not isinstance(value, list) or not value or len(value) > _MOST_NODES:
        raise VcError("invalid", "nodes", _CALL, f"it is not a list of 1 to {_MOST_NODES} names", "name this host's nodes of the job")
    names = [node_name(name) for name in value]
    if len(set(names)) != len(names):
        raise VcError("duplicate", "nodes", _CALL, "a name comes twice", "name every node once")
    return names


def _number(args: Mapping[str, Any], key: str) -> int:
    value = args.get(key)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**32:
        raise VcError("invalid", key, _CALL, f"{shown(value)} is not a number of Slurm's", "use the vc-agent of the same release")
    return value


def _refused(error: Exception) -> dict[str, Any]:
    if not isinstance(error, VcError):
        detail = f"{type(error).__name__}: {error}"
        error = VcError("backend", "vc-host", _CALL, detail, "see journalctl -t vc-host on this host")
    return {"ok": False, "error": error.to_dict()}
