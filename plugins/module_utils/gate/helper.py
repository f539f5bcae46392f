# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The gate's root helper: one request per connection, decided by the registry, carried out with the least that it takes.

On a submit host this process becomes the cluster's owner, for good, before it looks at anything of Slurm's.  On a frontend host it stays
root, because a frontend is a domain of the system libvirt.
"""

# A program of its own, not a module: what it prints is its output.
# pylint: disable=ansible-bad-function

from __future__ import annotations

import json
import os
import pwd
import socket
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..agent.journal import Journal
from ..command import Commands
from ..host_config import load
from ..model import names
from ..model.cluster import Cluster
from ..model.errors import VcError
from ..model.rights import insist
from ..vault.client import VaultClient
from . import slots
from .front import LARGEST_REQUEST, SOCKET
from .requests import PLACES, Request, read_request

ACCOUNT = "vc-gate"
_READ_SECONDS = 10.0
# The request is text inside a JSON text.
_LONGEST_LINE = 8 * LARGEST_REQUEST
_CALL = "calling the gate"
_DIRECTORY = Path(SOCKET).parent


def authorized(vault: VaultClient, user: str, request: Request) -> Cluster:
    """The cluster as the registry has it, if the user may do this to it; VcError ``forbidden`` otherwise, ``in_use`` without room."""
    answer = vault.call("authorize", {"cluster": request.cluster, "user": user})
    cluster = Cluster.from_dict(answer["cluster"])
    insist(request.right(cluster), answer["roles"], user, cluster.name)
    slots.take_common(_DIRECTORY, user, answer["roles"])
    return cluster


def become(owner: str) -> str:
    """Give up root for this user, for good; the user's home.  VcError ``forbidden`` for an account that must not be taken on."""
    try:
        account = pwd.getpwnam(owner)
    except KeyError:
        raise VcError("unknown", owner, "acting as the cluster's owner", "this host has no such user", "ask an admin") from None
    if account.pw_uid == 0 or account.pw_gid == 0:
        raise VcError("forbidden", owner, "acting as the cluster's owner", "that is root", "give the cluster another owner")
    os.initgroups(owner, account.pw_gid)
    os.setresgid(account.pw_gid, account.pw_gid, account.pw_gid)
    os.setresuid(account.pw_uid, account.pw_uid, account.pw_uid)
    if os.getresuid() != (account.pw_uid,) * 3 or os.getresgid() != (account.pw_gid,) * 3:
        raise SystemExit("vc-gate-helper: it is still somebody else")
    os.chdir("/")
    return account.pw_dir


def serve(place: str, user: str, text: str) -> tuple[dict[str, Any], str]:
    """The answer, and what to write into the log."""
    slots.take_own(_DIRECTORY, user)
    request = read_request(text)
    if request.verb not in PLACES[place]:
        where = next(other for other, verbs in PLACES.items() if request.verb in verbs)
        detail = f"this is the gate of a {place} host"
        raise VcError("conflict", request.verb, _CALL, detail, f"ask the gate of a {where} host")
    commands, config = Commands(), load()
    vault = VaultClient(commands, config)
    cluster = authorized(vault, user, request)
    about = f"{user}: {request.verb} {cluster.name}"
    if place == "submit":
        # Only what is needed there: other hosts have neither Slurm nor libvirt.
        from . import computes

        home = become(cluster.owner)
        result, error = computes.carry_out(request, cluster, home)
    else:
        from . import frontends

        result, error = frontends.carry_out(request, cluster, commands, config, vault)
    if error is not None:
        return {"ok": False, "error": error.to_dict(), "result": result}, f"{about}: {error}"
    return {"ok": True, "result": result}, f"{about}: done"


def main(argv: Sequence[str]) -> int:
    """Serve the connection that systemd has put on stdin; the argument says what this host is for."""
    place = argv[0] if len(argv) == 1 and argv[0] in PLACES else ""
    if not place:
        raise SystemExit(f"usage: vc-gate-helper {'|'.join(PLACES)}")
    connection = socket.socket(fileno=0)
    connection.settimeout(_READ_SECONDS)
    journal, user = Journal("vc-gate"), "nobody"
    try:
        call = _read(connection)
        user = names.user_name(call.get("user"))
        answer, said = serve(place, user, str(call.get("request")))
    except (VcError, OSError) as error:
        told = error if isinstance(error, VcError) else VcError("backend", "gate", _CALL, str(error), "an admin should read its log")
        answer, said = {"ok": False, "error": told.to_dict()}, f"{user}: {told}"
    except Exception as error:
        # Whoever calls waits for an answer, and learns no more than that.
        answer = {"ok": False, "error": VcError("backend", "gate", _CALL, type(error).__name__, "an admin should read its log").to_dict()}
        said = f"{user}: {type(error).__name__}: {error}"
    (journal.say if answer["ok"] else journal.warn)(said)
    try:
        connection.sendall(json.dumps(answer).encode() + b"\n")
    except OSError:
        # The caller has gone; what was done is done.
        return 0
    return 0


def _read(connection: socket.socket) -> Mapping[str, Any]:
    """What the gate's own account says; nobody else may call, because it says whose key was used."""
    _pid, uid, _gid = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")))
    if uid != pwd.getpwnam(ACCOUNT).pw_uid:
        raise VcError("forbidden", f"uid {uid}", _CALL, "only sshd's own account for the gate may", f"come by ssh {ACCOUNT}@HOST")
    with connection.makefile("rb") as stream:
        data = stream.readline(_LONGEST_LINE)
    try:
        call = json.loads(data)
    except (ValueError, RecursionError):
        call = None
    if not isinstance(call, dict):
        raise VcError("invalid", "call", _CALL, "it is not one line of JSON", "use the vc-gate of the same release")
    return call
