# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""ssh public keys."""

from __future__ import annotations

import base64

import pytest
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.model import sshkeys
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.hostile import every_hostile, every_not_text
from tests.unit.refusal import refused


def key(kind: str, *fields: bytes) -> str:
    """A key line of this type with these fields behind the type."""
    blob = b"".join(len(field).to_bytes(4, "big") + field for field in (kind.encode(), *fields))
    return f"{kind} {base64.b64encode(blob).decode()}"


ED25519 = key("ssh-ed25519", b"\x01" * 32)


@pytest.mark.parametrize("kind", sshkeys.TYPES)
def test_every_current_type(kind: str) -> None:
    line = key(kind, b"\x01\x00\x01", b"\x02" * 32)
    assert sshkeys.parse(line) == line


def test_form_is_canonical() -> None:
    assert sshkeys.parse(f"{ED25519}\n") == ED25519
    assert sshkeys.parse(f"  {ED25519}   jane doe@example.org ") == f"{ED25519} jane doe@example.org"


@pytest.mark.parametrize(
    "text",
    [
        "ssh-ed25519",
        "ssh-ed25519 ",
        "ssh-ed25519 AAAA",
        "ssh-ed25519 !!!!",
        ED25519[:-4],
        ED25519.replace("ssh-ed25519", "ssh-rsa", 1),
        f"{ED25519}\n{ED25519}",
        f"{ED25519}\n\n",
        f'command="reboot" {ED25519}',
        key("ssh-dss", b"\x01", b"\x02", b"\x03", b"\x04"),
        f"{ED25519} \x1b[31m",
        f"{ED25519} a\tb",
        f"{ED25519} {'a' * 9000}",
        f"{ED25519} \u2028",
    ],
)
def test_refused(text: str) -> None:
    refused("invalid", sshkeys.parse, text)


def test_a_private_key_is_not_repeated_in_the_message() -> None:
    text = "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjE\n-----END OPENSSH PRIVATE KEY-----\n"
    assert "b3Blb" not in str(refused("invalid", sshkeys.parse, text))


@every_hostile
def test_hostile_text_is_refused(hostile: str) -> None:
    refused("invalid", sshkeys.parse, hostile)


@every_not_text
def test_what_is_not_text_is_refused(value: object) -> None:
    refused("invalid", sshkeys.parse, value)


@given(st.text(max_size=60))
def test_comments_stay_on_their_line(comment: str) -> None:
    try:
        line = sshkeys.parse(f"{ED25519} {comment}")
    except sshkeys.VcError:
        return
    assert line.isprintable()
    assert line.startswith(ED25519)
