# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the lab builds once: root file system and guest images, side by side."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from .guest_image import debian12
from .process import LabError
from .rootfs import rootfs
from .tiny_image import tiny

IMAGES: dict[str, Callable[[], Path]] = {"debian12": debian12, "tiny": tiny}


def artifacts() -> Path:
    """Build what is missing and return the root file system."""
    with ThreadPoolExecutor() as pool:
        base = pool.submit(rootfs)
        others = [pool.submit(build) for build in IMAGES.values()]
    errors = [str(error) for future in [base, *others] if (error := future.exception()) is not None]
    if errors:
        raise LabError("\n".join(errors))
    return base.result()


def image(name: str) -> Path:
    if name not in IMAGES:
        raise LabError(f"no such image: {name!r}; there are {', '.join(IMAGES)}")
    return IMAGES[name]()
