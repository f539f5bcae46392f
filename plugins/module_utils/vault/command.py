# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The command vc-vault: ``serve`` for hosts (a forced command of sshd), the rest for administrators on the vault host."""

from __future__ import annotations

import argparse
import ipaddress
import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from ..command import Commands
from ..model import names
from ..model.errors import VcError
from . import protocol
from .iscsi import PORT, Exports
from .lease_record import KINDS, Caller
from .leases import Leases
from .place import FILE, check_root, root_of
from .registry import Registry
from .store_choice import open_store
from .tgtd import SOCKET, Tgtd

# What a host is there for decides what its key opens.
_BOTH = (*protocol.VERBS, *protocol.GATE_VERBS)
# The word in its line of keys -> verbs, and kinds of holders.
_ALLOWED: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "guests": (protocol.VERBS, KINDS),
    "frontends": (protocol.VERBS, ("frontend",)),
    "gate": (protocol.GATE_VERBS, ()),
    "guests-and-gate": (_BOTH, KINDS),
    "frontends-and-gate": (_BOTH, ("frontend",)),
}


def open_leases(root: str, tgt_socket: str = SOCKET) -> Leases:
    """The leases of the vault under this root, served by the tgtd behind this socket."""
    return Leases(Registry(root), open_store(Commands(), root), Exports(Tgtd(tgt_socket)))


def caller_from_sshd(host: str, environment: Mapping[str, str], port: int = PORT) -> Caller:
    """Who is at the other end, from SSH_CONNECTION (``client port server port``).  VcError ``forbidden`` outside sshd."""
    words = environment.get("SSH_CONNECTION", "").split()
    try:
        client, server = _address(words[0]), _address(words[2])
    except (IndexError, ValueError):
        detail = "SSH_CONNECTION is not set"
        raise VcError(
            "forbidden", names.shown(host), "serving it", detail, "this is a forced command of sshd; see vc-vault status"
        ) from None
    portal = f"[{server}]" if ":" in server else server
    return Caller(names.host_name(host), client, f"{portal}:{port}")


def serve(leases: Leases, caller: Caller, text: str, allowed: Sequence[str] = protocol.VERBS) -> str:
    """The answer to one request; never raises for anything a host can send.  `allowed` are the verbs that this host may use."""
    try:
        verb, args = protocol.decode_request(text, allowed)
        verbs = {
            "lease": leases.lease,
            "state": leases.state,
            "release": leases.release,
            "status": leases.visible,
            "authorize": leases.authorize,
        }
        return protocol.answer(verbs[verb](caller, args))
    except VcError as error:
        return protocol.refusal(error)
    except OSError as error:
        return protocol.refusal(VcError("backend", "vault", "answering", str(error), "see df and the log of the vault host"))
    except Exception as error:
        # The other end waits for an answer; whatever this is, it must not look like a broken connection, which would be tried again.
        detail = f"{type(error).__name__}: {names.shown(str(error))}"
        return protocol.refusal(VcError("backend", "vault", "answering", detail, "run vc-vault status on the vault host"))


def main(argv: Sequence[str]) -> int:
    """Run vc-vault with these arguments (without the program's name); answers the exit status."""
    options = _parser().parse_args(list(argv))
    try:
        root = root_of(options.root)
        check_root(root)
        leases = open_leases(root, options.tgt_socket)
        if options.verb == "serve":
            verbs, kinds = _ALLOWED[options.allow]
            caller = replace(caller_from_sshd(options.host, os.environ, options.portal_port), kinds=kinds)
            text = sys.stdin.buffer.read(protocol.LARGEST_REQUEST + 1).decode("utf-8", "replace")
            sys.stdout.write(serve(leases, caller, text, verbs))
            return 0
        result: dict[str, Any]
        if options.verb == "status":
            result = leases.everything(options.cluster)
        elif options.verb == "init":
            result = leases.begin()
        elif options.verb == "break":
            result = leases.break_(options.cluster, options.node, options.reason)
        else:
            result = leases.restore_exports()
    except VcError as error:
        if options.verb == "serve":
            sys.stdout.write(protocol.refusal(error))
        else:
            sys.stderr.write(f"vc-vault: {error}\n")
        return 1
    sys.stdout.write(json.dumps(result, sort_keys=True, indent=1) + "\n")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="vc-vault", description="The vault of a site's virtual clusters: registry, leases, exports.")
    parser.add_argument("--root", help=f"where the vault lives (default: what {FILE} says)")
    parser.add_argument("--tgt-socket", default=SOCKET, help="management socket of tgtd (default: %(default)s)")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    verb = verbs.add_parser("serve", help="answer one request of a host; the forced command of its key")
    verb.add_argument("--host", required=True, help="name of the host that owns the key")
    # Without a default: a line that lost the word must open nothing.
    verb.add_argument("--allow", required=True, choices=sorted(_ALLOWED), help="what the host is for")
    verb.add_argument("--portal-port", type=int, default=PORT, help="TCP port of tgtd (default: %(default)s)")
    verbs.add_parser("init", help="make an empty registry where none is yet; role vault does it once")
    verb = verbs.add_parser("status", help="print everything the vault knows, as JSON without secrets")
    verb.add_argument("--cluster", default="", help="only this virtual cluster")
    verb = verbs.add_parser("break", help="take a lease from its holder; only when that host is gone for good")
    verb.add_argument("cluster")
    verb.add_argument("node")
    verb.add_argument("--reason", required=True, help="one line that is kept with the lease")
    verbs.add_parser("restore-exports", help="give a restarted tgtd every export that a lease holds")
    return parser


def _address(text: str) -> str:
    address = ipaddress.ip_address(text.partition("%")[0])
    mapped = getattr(address, "ipv4_mapped", None)
    return str(mapped or address)
