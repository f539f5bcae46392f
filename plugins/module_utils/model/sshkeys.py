# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""OpenSSH public keys, as they go into a guest's authorized_keys."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from typing import Any

from .errors import VcError
from .names import shown

TYPES = (
    "ssh-ed25519",
    "sk-ssh-ed25519@openssh.com",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "sk-ecdsa-sha2-nistp256@openssh.com",
    "ssh-rsa",
)
_LONGEST = 8192
_TRIED = "reading it as an ssh public key"
_REMEDY = "paste one line of a .pub file, without options before the type"


def parse(value: Any) -> str:
    """One public key line -> ``type base64 [comment]`` with single spaces.  Options, private keys and unknown types are refused."""
    if not isinstance(value, str):
        raise VcError("invalid", shown(value), _TRIED, "it is not text", _REMEDY)
    if "PRIVATE KEY" in value:
        # Never repeat any of it in a message.
        raise VcError("invalid", "private key", _TRIED, "it is a private key, now to be considered known to others", _REMEDY)
    text = value[:-1] if value.endswith("\n") else value
    if len(text) > _LONGEST or not text.isprintable():
        raise VcError("invalid", shown(value), _TRIED, "it is not one line of printable text", _REMEDY)
    words = text.split()
    if len(words) < 2 or words[0] not in TYPES:
        raise VcError(
            "invalid",
            shown(value),
            _TRIED,
            "it does not begin with a key type that OpenSSH still accepts",
            f"{_REMEDY}; types: {', '.join(TYPES)}",
        )
    try:
        blob = base64.b64decode(words[1], validate=True)
    except (binascii.Error, ValueError):
        raise VcError("invalid", shown(value), _TRIED, "its second word is not base64", _REMEDY) from None
    fields = _fields(blob)
    if len(fields) < 2 or fields[0] != words[0].encode("ascii"):
        raise VcError("invalid", shown(value), _TRIED, f"what it encodes is not a key of type {words[0]}, or is cut off", _REMEDY)
    return " ".join(words)


def parse_all(values: Sequence[Any]) -> tuple[str, ...]:
    """Option ``ssh_authorized_keys``; VcError ``invalid`` or ``duplicate`` (whatever the comments say) names the key by its index."""
    keys: list[str] = []
    bodies: list[str] = []
    for number, value in enumerate(values):
        place = f"ssh_authorized_keys[{number}]"
        try:
            key = parse(value)
        except VcError as error:
            raise VcError(error.code, f"{place} {error.item}", error.tried, error.detail, error.remedy) from None
        body = key.split(" ")[1]
        if body in bodies:
            detail = f"ssh_authorized_keys[{bodies.index(body)}] is the same key"
            raise VcError("duplicate", place, _TRIED, detail, "list every key once")
        keys.append(key)
        bodies.append(body)
    return tuple(keys)


def _fields(blob: bytes) -> list[bytes]:
    """The length-prefixed strings of a key; empty when they do not fill it exactly."""
    fields: list[bytes] = []
    place = 0
    while place < len(blob):
        end = place + 4 + int.from_bytes(blob[place : place + 4], "big")
        if place + 4 > len(blob) or end > len(blob):
            return []
        fields.append(blob[place + 4 : end])
        place = end
    return fields
