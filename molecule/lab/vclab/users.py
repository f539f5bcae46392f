# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Homes of the lab's users, one directory shared by all hosts as a site's /home is."""

from __future__ import annotations

import os
import shutil

from . import keys
from .layout import HOME_DIR, USERS


def ensure_homes() -> None:
    """Make the homes that are missing; labuser gets the key pair that guests are given."""
    HOME_DIR.mkdir(parents=True, exist_ok=True)
    for name, uid in USERS.items():
        home = HOME_DIR / name
        if home.exists():
            continue
        (home / ".ssh").mkdir(parents=True, mode=0o700)
        if name == "labuser":
            for source, target in ((keys.LABUSER_KEY, "id_ed25519"), (keys.LABUSER_KEY.with_suffix(".pub"), "id_ed25519.pub")):
                shutil.copyfile(source, home / ".ssh" / target)
                (home / ".ssh" / target).chmod(0o600)
        for path in [home, *home.rglob("*")]:
            os.chown(path, uid, uid)
        home.chmod(0o750)
