# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the lab builds once: root file systems and guest images, side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from .guest_image import DEMO, SITE
from .process import LabError
from .rootfs import rootfs
from .tiny_image import tiny

IMAGES: dict[str, Callable[[], Path]] = {"debian12": DEMO.path, "tiny": tiny}
# Built only when asked for by name.
OTHERS: dict[str, Callable[[], Path]] = {"site-debian12": SITE.path}


def roots(releases: Iterable[str], bare: bool = False) -> dict[str, Path]:
    """Build the root file systems that are missing; all of them by release."""
    wanted = sorted(set(releases))
    return dict(zip(wanted, _together([partial(rootfs, release, bare) for release in wanted])))


def images() -> None:
    """Build the guest images that are missing."""
    _together(IMAGES.values())


def _together(builds: Iterable[Callable[[], Path]]) -> list[Path]:
    with ThreadPoolExecutor() as pool:
        built = [pool.submit(build) for build in builds]
    errors = [str(error) for future in built if (error := future.exception()) is not None]
    if errors:
        raise LabError("\n".join(errors))
    return [future.result() for future in built]


def image(name: str) -> Path:
    known = {**IMAGES, **OTHERS}
    if name not in known:
        raise LabError(f"no such image: {name!r}; there are {', '.join(known)}")
    return known[name]()
