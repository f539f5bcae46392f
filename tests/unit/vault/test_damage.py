# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files of the vault that somebody or something has damaged: named in the refusal, never a traceback, never written over."""

from __future__ import annotations

import contextlib
import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.applier.images import ImageActions
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.model.errors import VcError
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.planner import images
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.vault import protocol
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.vault.command import serve

from tests.unit.vault.site import BOOTS, Site, caller, definition, job

WRONG: list[Any] = [None, "", "x", -1, 1.5, True, [], [1], {}, {"a": 1}, "../../etc"]


def damages(data: dict[str, Any], choose: random.Random) -> Iterator[dict[str, Any]]:
    """The object with each of its keys missing, or something else in its place; two levels deep."""
    for key in data:
        yield {other: value for other, value in data.items() if other != key}
        yield {**data, key: choose.choice(WRONG)}
        if isinstance(data[key], dict):
            for inner in damages(data[key], choose) if key in ("holder", "fingerprint") else []:
                yield {**data, key: inner}


@pytest.mark.parametrize(
    "name",
    [
        "registry/registry.json",
        "registry/leases/vc1/compute0.json",
        "store/goldens/debian12/r1/meta.json",
        "store/disks/vc1/disk0/meta.json",
    ],
)
def test_damaged(site: Site, name: str) -> None:
    site.lease("compute0", "disk0")
    path: Path = site.root / name
    good = path.read_text()
    actions = ImageActions(site.registry, site.store)
    request = protocol.encode_request("lease", {"cluster": "vc1", "nodes": ["compute0", "disk0"], "holder": job(boot_id=BOOTS[0])})
    golden = {"name": "debian12", "source": str(site.source), "format": "raw", "state": "present"}
    uses: list[Callable[[], Any]] = [
        site.leases.everything,
        site.leases.restore_exports,
        lambda: site.leases.visible(caller(), {}),
        lambda: site.clusters.plan_present(definition()),
        lambda: site.clusters.plan_absent("vc1"),
        lambda: actions.plan_goldens(images.parse_goldens([golden])),
    ]
    path.chmod(0o600)
    for bad in damages(json.loads(good), random.Random(1)):
        path.write_text(json.dumps(bad))
        for use in uses:
            with contextlib.suppress(VcError):
                use()
        answer = json.loads(serve(site.leases, caller(), request))
        errors = [answer] if not answer["ok"] else [entry for entry in answer["result"]["nodes"].values() if not entry["ok"]]
        for entry in errors:
            assert "Error: " not in entry["error"]["detail"] or entry["error"]["item"].startswith("/"), (bad, entry)
        if name.startswith("store") or errors:
            assert json.loads(path.read_text()) == bad
    path.write_text(good)
    assert site.lease("compute0", "disk0")["nodes"]["compute0"]["ok"]
