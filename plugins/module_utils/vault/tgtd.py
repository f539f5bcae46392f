# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The management socket of tgtd, the iSCSI target daemon of scsi-target-utils (tgt).

Requests go to the daemon's socket directly, in the form that tgtadm 1.0.85 sends, and not through tgtadm itself, for two reasons:
tgtadm takes a CHAP password only on its command line, where every local user can read it in /proc; and it is one process per request.
The daemon accepts only root here (it checks the peer's credentials).
"""

from __future__ import annotations

import re
import socket
import struct
from dataclasses import dataclass, field
from typing import Optional

from ..model.errors import VcError

SOCKET = "/var/run/tgtd/socket.0"

# struct tgtadm_req: mode, op, lld[64], len, tid, sid, lun, cid, host_no, device_type, ac_dir, pack, force
_REQUEST = struct.Struct("=II64sIiQQIIIIII")
_RESPONSE = struct.Struct("=II")
_TARGET, _LOGICAL_UNIT, _ACCOUNT = 1, 2, 7
_NEW, _DELETE, _SHOW, _BIND, _UPDATE = 0, 1, 2, 3, 5
_NO_LUN = 2**64 - 1
_LUN = 1
_LONGEST_ANSWER = 64 * 1024 * 1024
_ERRORS = (
    "success",
    "unknown error",
    "out of memory",
    "no such driver",
    "no such target",
    "no such logical unit",
    "no such session",
    "no such connection",
    "no such binding",
    "this target exists",
    "this binding exists",
    "this logical unit exists",
    "this access rule exists",
    "no such access rule",
    "this account exists",
    "no such account",
    "too many accounts",
    "invalid request",
    "this target has an outgoing account",
    "this target is active",
)


@dataclass
class Target:
    """A target as the daemon shows it; ``path`` and ``readonly`` of its only disk."""

    tid: int
    iqn: str
    path: str = ""
    readonly: bool = False
    accounts: list[str] = field(default_factory=list)
    addresses: list[str] = field(default_factory=list)
    initiators: list[str] = field(default_factory=list)


class Tgtd:
    """One running tgtd.  Every method raises VcError ``unreachable`` when nothing listens and ``backend`` when it refuses."""

    def __init__(self, path: str = SOCKET, timeout: float = 10.0) -> None:
        self._path = path
        self._timeout = timeout

    def targets(self) -> list[Target]:
        """All targets of the daemon, ours or not."""
        return parse_targets(self._ask("reading its targets", _TARGET, _SHOW))

    def accounts(self) -> set[str]:
        """Names of all CHAP accounts."""
        lines = self._ask("reading its accounts", _ACCOUNT, _SHOW).splitlines()
        return {line.strip() for line in lines[1:] if line.strip()}

    def new_target(self, tid: int, iqn: str) -> None:
        self._ask(f"making target {iqn}", _TARGET, _NEW, tid, f"targetname={iqn}")

    def new_disk(self, tid: int, iqn: str, path: str) -> None:
        """Put a file into the target, read-only, before anybody may log in."""
        # The daemon splits parameters at commas.
        if "," in path or not path.isprintable():
            raise VcError(
                "invalid", path, f"exporting it as {iqn}", "its path has a character that tgtd cannot take", "use another vault root"
            )
        self._ask(f"putting {path} into {iqn}", _LOGICAL_UNIT, _NEW, tid, f"path={path},bstype=rdwr", _LUN)
        self._ask(f"making {iqn} read-only", _LOGICAL_UNIT, _UPDATE, tid, "targetOps readonly=1,", _LUN)

    def new_account(self, user: str, secret: str) -> None:
        self._ask(f"making account {user}", _ACCOUNT, _NEW, text=f"user={user},password={secret}")

    def bind_account(self, tid: int, user: str) -> None:
        self._ask(f"binding account {user}", _ACCOUNT, _BIND, tid, f"user={user}")

    def bind_address(self, tid: int, address: str) -> None:
        """Let an initiator with this address in; until the first such rule nobody gets in."""
        self._ask(f"admitting {address}", _TARGET, _BIND, tid, f"initiator-address={address}")

    def delete_target(self, tid: int, iqn: str) -> None:
        """Delete the target and cut the sessions on it."""
        self._ask(f"deleting target {iqn}", _TARGET, _DELETE, tid, force=1)

    def delete_account(self, user: str) -> None:
        self._ask(f"deleting account {user}", _ACCOUNT, _DELETE, text=f"user={user}")

    def _ask(self, tried: str, mode: int, op: int, tid: int = -1, text: str = "", lun: int = _NO_LUN, force: int = 0) -> str:
        payload = text.encode("ascii") + b"\0" if text else b""
        header = _REQUEST.pack(mode, op, b"iscsi", _REQUEST.size + len(payload), tid, 0, lun, 0, 0, 0, 0, 0, force)
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
                connection.settimeout(self._timeout)
                connection.connect(self._path)
                connection.sendall(header + payload)
                status, length = _RESPONSE.unpack(_receive(connection, _RESPONSE.size))
                rest = min(max(length - _RESPONSE.size, 0), _LONGEST_ANSWER)
                answer = _receive(connection, rest) if status == 0 else b""
        except (FileNotFoundError, ConnectionRefusedError):
            raise VcError("unreachable", "tgtd", tried, f"nothing listens on {self._path}", "start it: systemctl start tgt") from None
        except socket.timeout:
            raise VcError("timeout", "tgtd", tried, f"no answer within {self._timeout:g} s", "see journalctl -u tgt") from None
        except (OSError, EOFError) as error:
            raise VcError("backend", "tgtd", tried, str(error), "see journalctl -u tgt; only root may ask it") from None
        if status:
            detail = _ERRORS[status] if status < len(_ERRORS) else f"error {status}"
            raise VcError("backend", "tgtd", tried, detail, "see tgtadm --mode target --op show, and journalctl -u tgt")
        return answer.rstrip(b"\0").decode("utf-8", "replace")


def _receive(connection: socket.socket, length: int) -> bytes:
    parts = []
    while length:
        part = connection.recv(min(length, 65536))
        if not part:
            raise EOFError("tgtd closed the connection")
        parts.append(part)
        length -= len(part)
    return b"".join(parts)


def parse_targets(text: str) -> list[Target]:
    """Read what ``--mode target --op show`` prints."""
    targets: list[Target] = []
    target: Optional[Target] = None
    section = ""
    lun = -1
    for line in text.splitlines():
        head = re.fullmatch(r"Target (\d+): (\S+)", line)
        if head:
            target = Target(int(head.group(1)), head.group(2))
            targets.append(target)
            section, lun = "", -1
        elif target is None:
            continue
        elif re.fullmatch(r"    \S.*:", line):
            section = line.strip().rstrip(":")
        elif section == "LUN information":
            key, _colon, value = line.strip().partition(": ")
            if key == "LUN":
                lun = int(value)
            elif lun == _LUN and key == "Backing store path":
                target.path = value
            elif lun == _LUN and key == "Readonly":
                target.readonly = value == "Yes"
        elif section == "Account information":
            target.accounts.append(line.split()[0])
        elif section == "ACL information":
            word = line.strip()
            (target.initiators if word.startswith("iqn.") else target.addresses).append(word)
    return targets
