# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Leases and their CHAP secrets as files: ``registry/leases/<cluster>/<node>.json``, ``registry/secrets/<cluster>/<node>.chap``."""

from __future__ import annotations

import contextlib

from . import durable
from .lease_record import Lease
from .registry import Registry


class LeaseFiles:
    """Reading never writes; writing needs the registry's lock held."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._path = registry.path / "leases"

    def read(self, cluster: str, node: str) -> Lease:
        """The node's lease; a free one with epoch 0 when it never had any."""
        path = self._path / cluster / f"{node}.json"
        data = durable.read_json(path)
        if data is None:
            return Lease(cluster, node)
        try:
            return Lease.from_dict(data)
        except (TypeError, KeyError, ValueError, AttributeError) as error:
            raise durable.malformed(path, error) from None

    def of(self, cluster: str) -> dict[str, Lease]:
        """node -> lease, of all nodes of this cluster that ever had one."""
        return {node: self.read(cluster, node) for node in self.nodes(cluster)}

    def clusters(self) -> list[str]:
        """The clusters of which any node ever had a lease."""
        return durable.names(self._path)

    def nodes(self, cluster: str) -> list[str]:
        """The nodes of this cluster that ever had a lease."""
        return [name[: -len(".json")] for name in durable.names(self._path / cluster) if name.endswith(".json")]

    def write(self, lease: Lease) -> None:
        path = self._path / lease.cluster / f"{lease.node}.json"
        durable.make_directory(path.parent)
        durable.write_json(path, lease.to_dict())

    def forget(self, lease: Lease) -> None:
        """Remove a node's lease file.  The registry's epoch floor must already be at its epoch."""
        path = self._path / lease.cluster / f"{lease.node}.json"
        durable.remove(path)
        with contextlib.suppress(OSError):
            path.parent.rmdir()

    def sweep(self) -> None:
        """Remove what killed writers left."""
        durable.sweep(self._path)

    def secret(self, lease: Lease) -> str:
        """The CHAP secret of the lease's present epoch, empty when there is none."""
        content = (self._registry.secret(self._name(lease)) or b"").decode("ascii", "replace").split()
        return content[1] if len(content) == 2 and content[0] == str(lease.epoch) else ""

    def write_secret(self, lease: Lease, secret: str) -> None:
        self._registry.put_secret(self._name(lease), f"{lease.epoch} {secret}\n".encode("ascii"))

    def drop_secret(self, lease: Lease) -> None:
        self._registry.drop_secret(self._name(lease))

    @staticmethod
    def _name(lease: Lease) -> str:
        return f"{lease.cluster}/{lease.node}.chap"
