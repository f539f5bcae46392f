# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where an inventory comes from: one command per source, run at the same time, over ssh or on this machine."""

from __future__ import annotations

import json
import os
import shlex
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Optional

from ..command import Commands, Result
from ..model.errors import VcError
from ..slurm import jobs
from ..slurm.claimed import claimed
from .reader import frontend_reader

KINDS = ("vault", "slurm", "libvirt")
_KEYS = frozenset({"host", "local", "user", "port", "private_key_file", "known_hosts_file", "ssh_args", "command"})
_SSH_FAILED = 255
_LARGEST_PORT = 65535
_DEFAULT_COMMAND = {
    "vault": ("/usr/lib/hpc-virtual-cluster/bin/vc-vault", "status"),
    "slurm": ("squeue", "--json", "--states=all"),
    "libvirt": ("/usr/bin/python3", "-I", "-"),
}


@dataclass(frozen=True)
class Source:
    """One thing to ask.

    Parameters
    ----------
    kind : ``vault``, ``slurm`` or ``libvirt``
    host : where ssh goes, or "" for this machine
    user, port, private_key_file : of the ssh connection; "" or 0 leave it to ssh
    known_hosts_file : the only place to look for the host's key, or "" to leave it to ssh
    ssh_args : more arguments of ssh
    command : argv that prints the answer
    """

    kind: str
    host: str = ""
    user: str = ""
    port: int = 0
    private_key_file: str = ""
    known_hosts_file: str = ""
    ssh_args: tuple[str, ...] = ()
    command: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return f"source {self.kind} ({self.host or 'this machine'})"

    def argv(self) -> list[str]:
        if not self.host:
            return list(self.command)
        ssh = ["ssh", "-T", "-o", "BatchMode=yes", "-o", "ConnectTimeout=10", "-o", "ServerAliveInterval=5", "-o", "ServerAliveCountMax=3"]
        if self.private_key_file:
            ssh += ["-i", self.private_key_file, "-o", "IdentitiesOnly=yes"]
        if self.known_hosts_file:
            ssh += ["-o", f"UserKnownHostsFile={self.known_hosts_file}", "-o", "StrictHostKeyChecking=yes"]
        ssh += self.ssh_args
        ssh += ["-p", str(self.port)] if self.port else []
        ssh += ["-l", self.user] if self.user else []
        return [*ssh, "--", self.host, shlex.join(self.command)]


def parse(options: Any, directory: str) -> list[Source]:
    """The sources in an inventory file; paths in it count from `directory`.  VcError ``invalid`` names what is wrong and where."""
    if not isinstance(options, Mapping):
        raise _invalid("sources", "it is not a mapping", "write sources: {vault: {host: ...}, slurm: {host: ...}, libvirt: [{host: ...}]}")
    for key in options:
        if key not in KINDS:
            raise _invalid(f"sources.{key}", "there is no such source", f"use {', '.join(KINDS)}")
    if not options.get("vault"):
        raise _invalid("sources.vault", "it is missing", "only the vault knows which virtual clusters there are; say where it is")
    found = [_source("vault", options["vault"], "sources.vault", directory)]
    if options.get("slurm") is not None:
        found.append(_source("slurm", options["slurm"], "sources.slurm", directory))
    listed = options.get("libvirt")
    if listed is not None and not isinstance(listed, list):
        raise _invalid("sources.libvirt", "it is not a list", "list the frontend hosts, each as {host: ...}")
    found += [_source("libvirt", item, f"sources.libvirt[{place}]", directory) for place, item in enumerate(listed or [])]
    return found


def read(sources: Sequence[Source], timeout: float, commands: Optional[Commands] = None) -> dict[str, Any]:
    """Ask all sources at the same time; one command each, however many nodes there are.

    Answers ``{read_at, vault: {clusters}, slurm: {jobs}, libvirt: {frontends}}``, JSON-able; without a source of a kind its key is missing.
    VcError of the first source that gave no answer; when there are more, it names them.
    """
    runner = commands if commands is not None else Commands(_environment())
    with ThreadPoolExecutor(max_workers=len(sources)) as pool:
        futures = [pool.submit(_ask, source, timeout, runner) for source in sources]
    found: dict[str, Any] = {"read_at": int(time.time())}
    failed: list[tuple[str, VcError]] = []
    for source, future in zip(sources, futures):
        try:
            answer = future.result()
        except VcError as error:
            failed.append((source.name, error))
            continue
        if source.kind == "libvirt":
            found.setdefault("libvirt", {"frontends": []})["frontends"] += answer["frontends"]
        else:
            found[source.kind] = answer
    if failed:
        first, others = failed[0][1], ", ".join(name for name, _error in failed[1:])
        detail = f"{first.detail} (and no answer from {others} either)" if others else first.detail
        raise VcError(first.code, first.item, first.tried, detail, first.remedy)
    return found


def _ask(source: Source, timeout: float, commands: Commands) -> dict[str, Any]:
    argv = source.argv()
    by_hand = f"run by hand: {shlex.join(argv)}"
    # A command of the site's own is not fed a program.
    stdin = frontend_reader() if source.kind == "libvirt" and source.command == _DEFAULT_COMMAND["libvirt"] else ""
    try:
        result: Result = commands.run(argv, stdin=stdin, timeout=timeout)
    except VcError as error:
        remedy = f"{error.remedy}; or raise source_timeout" if error.code == "timeout" else error.remedy
        raise VcError(error.code, source.name, "asking it", error.detail, remedy) from None
    if result.status == _SSH_FAILED and source.host:
        raise VcError("unreachable", source.name, "asking it", result.last_line, by_hand)
    if result.status != 0:
        raise VcError("backend", source.name, "asking it", result.last_line, by_hand)
    try:
        return _READERS[source.kind](result.out)
    except (VcError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        detail = error.detail if isinstance(error, VcError) else f"this is not the JSON that was expected: {type(error).__name__}: {error}"
        raise VcError("backend", source.name, "reading its answer", detail, by_hand) from None


def _read_vault(text: str) -> dict[str, Any]:
    # Images, claims and exports are no part of an inventory, and a cache need not keep them.
    clusters = json.loads(text)["clusters"]
    return {"clusters": {name: {"cluster": entry["cluster"], "leases": dict(entry["leases"])} for name, entry in clusters.items()}}


def _read_slurm(text: str) -> dict[str, Any]:
    return {"jobs": claimed(jobs.parse(text), int(time.time()))}


def _read_libvirt(text: str) -> dict[str, Any]:
    listed = json.loads(text)["frontends"]
    return {
        "frontends": [
            {**{key: str(item[key]) for key in ("cluster", "node", "state")}, "host": str(item.get("host") or "")} for item in listed
        ]
    }


_READERS: Mapping[str, Callable[[str], dict[str, Any]]] = {"vault": _read_vault, "slurm": _read_slurm, "libvirt": _read_libvirt}


def _environment() -> dict[str, str]:
    """ssh finds agent and configuration by these, a local squeue its configuration."""
    kept = {name: os.environ[name] for name in ("HOME", "USER", "LOGNAME", "SSH_AUTH_SOCK") if os.environ.get(name)}
    return {**jobs.environment(os.environ), **kept}


def _source(kind: str, given: Any, where: str, directory: str) -> Source:
    if not isinstance(given, Mapping):
        raise _invalid(where, "it is not a mapping", "write {host: NAME} or {local: true}")
    for key in given:
        if key not in _KEYS:
            raise _invalid(f"{where}.{key}", "there is no such option", f"use {', '.join(sorted(_KEYS))}")
    host, local = given.get("host"), given.get("local", False)
    if not isinstance(local, bool) or local == (host is not None):
        raise _invalid(where, "it needs exactly one of host and local: true", "give the host to reach by ssh, or local: true")
    if host is not None and (not isinstance(host, str) or not host or host.startswith("-")):
        raise _invalid(f"{where}.host", "it is not a host name or address", "give what ssh takes as a host")
    port = given.get("port", 0)
    if isinstance(port, bool) or not isinstance(port, int) or not 0 <= port <= _LARGEST_PORT:
        raise _invalid(f"{where}.port", "it is not a port", "give a number up to 65535")
    return Source(
        kind,
        str(host or ""),
        _text(given, "user", where),
        int(port),
        local_path(_text(given, "private_key_file", where), directory),
        local_path(_text(given, "known_hosts_file", where), directory),
        _words(given, "ssh_args", where),
        _words(given, "command", where) or _DEFAULT_COMMAND[kind],
    )


def local_path(text: str, directory: str) -> str:
    """A path of this machine: ``~`` expanded, a relative one counted from `directory`; "" stays."""
    return os.path.normpath(os.path.join(directory, os.path.expanduser(text))) if text else ""


def _text(given: Mapping[str, Any], key: str, where: str) -> str:
    value = given.get(key)
    if value is not None and not isinstance(value, str):
        raise _invalid(f"{where}.{key}", "it is not text", "put it into quotes")
    return str(value or "")


def _words(given: Mapping[str, Any], key: str, where: str) -> tuple[str, ...]:
    value = given.get(key)
    if value is not None and (not isinstance(value, list) or not all(isinstance(word, str) for word in value)):
        raise _invalid(f"{where}.{key}", "it is not a list of texts", "write one list item for each word, numbers in quotes")
    return tuple(str(word) for word in value or ())


def _invalid(item: str, detail: str, remedy: str) -> VcError:
    return VcError("invalid", item, "reading the inventory file", detail, remedy)
