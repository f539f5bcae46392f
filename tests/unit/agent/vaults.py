# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A vault that answers as the real one does (docs/architecture.md, section 6) and remembers what it was asked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Optional

from ansible_collections.hpc.virtual_cluster.plugins.module_utils.model.cluster import Cluster
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.model.definition import parse
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.model.errors import VcError
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.planner.cluster import plan_cluster

from tests.unit.definitions import DOCUMENTED


def cluster() -> Cluster:
    return plan_cluster(parse(DOCUMENTED), None, [])[1]


class Vault:
    """Leases are a dictionary; ``refusing`` is what the next calls of a verb are refused with."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Mapping[str, Any]]] = []
        self.epochs: dict[str, int] = {}
        self.refusing: dict[str, Optional[VcError]] = {}
        self.busy = 0
        self.status: dict[str, Any] = {"clusters": {}}

    def verbs(self) -> list[str]:
        return [verb for verb, _args in self.asked]

    def call(self, verb: str, args: Mapping[str, Any]) -> dict[str, Any]:
        self.asked.append((verb, args))
        error = self.refusing.get(verb)
        if error is not None and error.code in {"unreachable", "timeout"}:
            raise error
        if verb == "status":
            return self.status
        answers: dict[str, Any] = {}
        for name in args["nodes"]:
            if error is not None:
                answers[name] = {"ok": False, "error": error.to_dict()}
            elif verb == "lease":
                answers[name] = self._lease(name)
            else:
                answers[name] = {"ok": True}
        return {"nodes": answers, "cluster": cluster().to_dict()}

    def _lease(self, name: str) -> dict[str, Any]:
        if self.busy:
            self.busy -= 1
            return {"ok": False, "error": VcError("leased", f"vc1/{name}", "giving it", "held by job 6", "end that first").to_dict()}
        try:
            node = cluster().node(name)
        except VcError as error:
            return {"ok": False, "error": error.to_dict()}
        self.epochs[name] = self.epochs.get(name, 0) + 1
        export = {"portal": "10.77.0.12:3260", "iqn": "iqn.x", "lun": 1, "chap_user": "u", "chap_secret": "s", "size_mib": 64}
        return {"ok": True, "epoch": self.epochs[name], "generation": 0, "node": node.to_dict(), "export": export}
