# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the lab builds once: root file system and guest images, side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from .guest_image import debian12
from .process import LabError
from .rootfs import rootfs
from .tiny_image import tiny

IMAGES: dict[str, Callable[[], Path]] = {"debian12": debian12, "tiny": tiny}


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
    if name not in IMAGES:
        raise LabError(f"no such image: {name!r}; there are {', '.join(IMAGES)}")
    return IMAGES[name]()
