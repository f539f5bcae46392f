# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where packages come from: the machine's own apt configuration, never a name written here."""

from __future__ import annotations

import shlex

from .process import LabError, run

# What this machine runs.
RELEASE = "bookworm"
# The machine's clock, proxy and archive may need these; they are carried into the build as they are.
CARRIED = ("Acquire::http::Proxy", "Acquire::https::Proxy", "Acquire::Check-Valid-Until", "Acquire::Check-Date")


def sources(release: str) -> list[str]:
    """One-line apt sources of a Debian release, in the archives of this machine's own; LabError when it has none."""
    wanted = ("$(REPO_URI)|$(RELEASE)|$(COMPONENT)", "Identifier: Packages", "Origin: Debian")
    listing = run(["apt-get", "indextargets", "--format", *wanted]).stdout
    components: dict[tuple[str, str], list[str]] = {}
    for line in listing.splitlines():
        uri, suite, component = line.split("|")
        if suite == RELEASE or suite in (f"{RELEASE}-updates", f"{RELEASE}-security"):
            known = components.setdefault((uri, suite), [])
            if component == "main" and component not in known:
                known.append(component)
    lines = [f"deb {uri} {suite.replace(RELEASE, release)} {' '.join(parts)}" for (uri, suite), parts in components.items() if parts]
    if not lines:
        raise LabError(f"apt on this machine knows no Debian {RELEASE} archive; add one to /etc/apt and run apt-get update")
    return lines


def apt_options() -> list[str]:
    """mmdebstrap arguments that carry the machine's own way to the archive into the build."""
    options = []
    for line in run(["apt-config", "dump"]).stdout.splitlines():
        name, _space, value = line.partition(" ")
        if name in CARRIED:
            options.append(f'--aptopt={name} "{shlex.split(value.rstrip(";"))[0]}"')
    return options
