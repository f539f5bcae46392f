# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Asks the vault from a host: SSH to a forced command, one request per connection."""

from __future__ import annotations

import random
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..command import Commands, Result
from ..model.errors import VcError
from . import protocol

if TYPE_CHECKING:
    from ..host_config import HostConfig

KEY = "/etc/hpc-virtual-cluster/vault_key"
KNOWN_HOSTS = "/etc/hpc-virtual-cluster/known_hosts"
_SSH_FAILED = 255
_FINAL = ("Host key verification failed", "Permission denied", "Unable to negotiate")
_NO_EXCHANGE = "no matching key exchange method"
# Pauses between attempts, in seconds; sshd turns connections away while many are being opened at once, as when a large set starts.
_PAUSES = (0.5, 1.5, 4.0, 8.0)
# No new attempt after these many seconds, since an attempt that nobody answers takes its time as well.
_RETRY_SECONDS = 20.0


class VaultClient:
    """The vault as this host sees it.

    Every verb may be repeated without harm, so a connection that breaks is tried again for some 20 s; longer waits are the caller's.
    """

    def __init__(self, commands: Commands, host_config: HostConfig, key: str = KEY, known_hosts: str = KNOWN_HOSTS) -> None:
        self._commands = commands
        self._address = host_config.vault_address
        self._argv = [
            "ssh",
            # No configuration of the account or the site may change where this goes or what it offers.
            "-F",
            "none",
            "-T",
            "-i",
            key,
            *_options(known_hosts),
            "-l",
            host_config.vault_user,
            "--",
            self._address,
            "vc-vault",
        ]

    def call(self, verb: str, args: Mapping[str, Any], timeout: float = 120.0) -> dict[str, Any]:
        """The result of one verb (docs/architecture.md, section 6).

        Raises the VcError that the vault answers, ``unreachable`` when SSH fails every time, ``timeout`` after `timeout` s.
        """
        tried = f"asking the vault to {verb}"
        request = protocol.encode_request(verb, args)
        begun = time.monotonic()
        result = self._commands.run(self._argv, stdin=request, timeout=timeout)
        for pause in _PAUSES:
            # Hosts that were turned away together must not come back together.
            seconds = pause * random.uniform(0.5, 1.5)
            if not _may_pass(result) or time.monotonic() + seconds >= begun + _RETRY_SECONDS:
                break
            time.sleep(seconds)
            result = self._commands.run(self._argv, stdin=request, timeout=timeout)
        if result.status == _SSH_FAILED and not result.out:
            remedy = f"as root: ssh -i {self._argv[5]} to {self._address}; then run role vault and role hypervisor again"
            if _NO_EXCHANGE in result.err:
                remedy = "let sshd on the vault host take what this host offers, such as curve25519-sha256; hosts do not offer sntrup761"
            raise VcError("unreachable", f"vault {self._address}", tried, result.last_line, remedy)
        if result.status != 0 and not result.out:
            raise VcError("backend", f"vault {self._address}", tried, result.last_line, "see the log of sshd on the vault host")
        return protocol.decode_answer(result.out, f"vault {self._address}", tried)


def _may_pass(result: Result) -> bool:
    """Whether it is worth trying again: nothing was answered, and it is not that one side does not want the other."""
    return result.status == _SSH_FAILED and not result.out and not any(text in result.err for text in _FINAL)


def _options(known_hosts: str) -> list[str]:
    settings = {
        "BatchMode": "yes",
        "ConnectTimeout": "5",
        "ServerAliveInterval": "5",
        "ServerAliveCountMax": "3",
        # It takes a tenth of a second, more than all the rest of a call.  ML-KEM stays, which OpenSSH 9.9 has and 10 prefers.
        "KexAlgorithms": "-sntrup761*",
        "IdentitiesOnly": "yes",
        "StrictHostKeyChecking": "yes",
        "UserKnownHostsFile": known_hosts,
        "GlobalKnownHostsFile": "/dev/null",
        "UpdateHostKeys": "no",
    }
    return [word for name, value in settings.items() for word in ("-o", f"{name}={value}")]
