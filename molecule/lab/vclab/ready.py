# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the lab builds once: root file system and guest images, side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from .guest_image import DEMO, SITE
from .process import LabError
from .rootfs import rootfs
from .tiny_image import tiny

IMAGES: dict[str, Callable[[], Path]] = {"debian12": DEMO.path, "tiny": tiny}
# Built only when asked for by name.
OTHERS: dict[str, Callable[[], Path]] = {"site-debian12": SITE.path}


def artifacts(releases: Iterable[str], bare: bool = False) -> dict[str, Path]:
    """Build what is missing; the root file systems by release."""
    with ThreadPoolExecutor() as pool:
        bases = {release: pool.submit(rootfs, release, bare) for release in sorted(set(releases))}
        others = [pool.submit(build) for build in IMAGES.values()]
    errors = [str(error) for future in [*bases.values(), *others] if (error := future.exception()) is not None]
    if errors:
        raise LabError("\n".join(errors))
    return {release: base.result() for release, base in bases.items()}


def image(name: str) -> Path:
    known = {**IMAGES, **OTHERS}
    if name not in known:
        raise LabError(f"no such image: {name!r}; there are {', '.join(known)}")
    return known[name]()
