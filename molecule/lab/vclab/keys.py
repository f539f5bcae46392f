# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keys of the lab: root's, labuser's and one host key per host, made once; and what ssh needs to use them."""

from __future__ import annotations

from pathlib import Path

from .layout import EVERY_HOST, KEYS_DIR, STATE
from .process import run

ROOT_KEY = KEYS_DIR / "id_ed25519"
LABUSER_KEY = KEYS_DIR / "labuser_ed25519"
# With labuser those who come to the gates.
GATE_USERS = ("otheruser", "anna", "olga")
KNOWN_HOSTS = STATE / "known_hosts"


def host_key(host: str) -> Path:
    return KEYS_DIR / f"host_{host}_ed25519"


def ensure() -> None:
    """Make the keys that are missing, and the known_hosts that goes with them."""
    KEYS_DIR.mkdir(parents=True, exist_ok=True, mode=0o700)
    wanted = [(ROOT_KEY, "vc-lab"), (LABUSER_KEY, "labuser@vc-lab")]
    wanted += [(KEYS_DIR / f"{user}_ed25519", f"{user}@vc-lab") for user in GATE_USERS]
    for key, comment in [*wanted, *((host_key(plan.name), plan.name) for plan in EVERY_HOST)]:
        if not key.exists():
            run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", str(key)])
    lines = []
    for plan in EVERY_HOST:
        kind, blob = host_key(plan.name).with_suffix(".pub").read_text().split()[:2]
        lines.append(f"{plan.name},{plan.address} {kind} {blob}\n")
    KNOWN_HOSTS.write_text("".join(lines))
