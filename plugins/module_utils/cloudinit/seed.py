# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A node's NoCloud seed, as an image that is attached to its guest as a read-only disk."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from ..model.cluster import Cluster
from ..model.errors import VcError
from . import iso9660
from .documents import documents

# The label by which cloud-init finds it.
LABEL = "cidata"


def seed_image(cluster: Mapping[str, Any], node: str, ssh_private_key: str = "") -> bytes:
    """The image for one node of a resolved cluster; equal input gives equal bytes.  Raises VcError as `Cluster.from_dict` does."""
    resolved = Cluster.from_dict(cluster)
    return iso9660.image(LABEL, documents(resolved, resolved.node(node), ssh_private_key))


def write_seed(path: str, cluster: Mapping[str, Any], node: str, ssh_private_key: str = "") -> None:
    """Write the image, readable for its owner only; replaces what is there; on disk when this returns.

    Raises VcError ``backend`` when it cannot.
    """
    content = seed_image(cluster, node, ssh_private_key)
    temporary = f"{path}.new"
    try:
        with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.rename(temporary, path)
        directory = os.open(os.path.dirname(path) or ".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
    except OSError as error:
        raise VcError("backend", path, "writing a node's seed", error.strerror or str(error), "see that the directory has space") from None
