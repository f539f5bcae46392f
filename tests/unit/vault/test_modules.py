# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""vc_cluster and image_vault as Ansible runs them."""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import os
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args

from tests.unit.vault.site import Site, definition


def run(module_name: str, check: bool = False, **arguments: Any) -> dict[str, Any]:
    """Run one module's main() and return what it tells Ansible."""
    module = importlib.import_module(f"ansible_collections.hpc.virtual_cluster.plugins.modules.{module_name}")
    printed = io.StringIO()
    with (
        patch_module_args({**arguments, "_ansible_check_mode": check}),
        contextlib.redirect_stdout(printed),
        pytest.raises(SystemExit) as ended,
    ):
        module.main()
    answer = dict(json.loads(printed.getvalue()))
    assert "exception" not in answer
    return {**answer, "failed": bool(ended.value.code)}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return Site(tmp_path).root


def test_vc_cluster(root: Path) -> None:
    wanted = {**definition(), "vault_root": str(root)}
    predicted = run("vc_cluster", check=True, **wanted)
    assert predicted["changed"]
    assert list(root.iterdir()) == []
    done = run("vc_cluster", **wanted)
    assert done["changed"]
    assert done["cluster"]["ssh_public_key"].startswith("ssh-ed25519")
    assert {**done["cluster"], "ssh_public_key": ""} == predicted["cluster"]
    assert (done["actions"], done["results"]) == (predicted["actions"], predicted["results"])
    site = Site(root.parent)
    before = site.content()
    again = run("vc_cluster", **wanted)
    assert (again["changed"], again["cluster"], again["actions"]) == (False, done["cluster"], [])
    assert site.content() == before


def test_a_removal_that_was_interrupted_is_finished_by_the_next(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run("vc_cluster", vault_root=str(root), **definition())
    registry = Site(root.parent).registry
    with monkeypatch.context() as patched:
        patched.setattr(type(registry), "secrets", lambda _self, _name: 1 // 0)
        with pytest.raises(ZeroDivisionError):
            run("vc_cluster", name="vc1", state="absent", vault_root=str(root))
    assert registry.read().clusters == {}
    assert registry.secrets("vc1") == ["ssh_key", "ssh_key.pub"]
    predicted = run("vc_cluster", check=True, name="vc1", state="absent", vault_root=str(root))
    done = run("vc_cluster", name="vc1", state="absent", vault_root=str(root))
    assert done["changed"]
    assert [done[key] for key in ("diff", "actions", "results")] == [predicted[key] for key in ("diff", "actions", "results")]
    assert registry.secrets("vc1") == []
    assert not run("vc_cluster", name="vc1", state="absent", vault_root=str(root))["changed"]


def test_vc_cluster_refuses(root: Path) -> None:
    for changes, item in (
        ({"name": "../x"}, "name ../x"),
        ({"frontend": None, "computes": []}, "vc1 computes"),
        ({"computes": [{"nodes": "c[0-", "cpus": 1, "memory": "1GiB", "source": {"image": "a"}}]}, "computes[0].nodes"),
        ({"network": {"mtu": 9999}}, "network.mtu"),
        ({"owner": "root;reboot"}, "owner"),
    ):
        refusal = run("vc_cluster", **{**definition(), "vault_root": str(root), **changes})
        assert refusal["failed"]
        assert not refusal["changed"]
        assert refusal["error_code"] == "invalid"
        assert item in refusal["results"][0]["name"]
        assert "Remedy: " in refusal["msg"]
    assert run("vc_cluster", vault_root=str(root / "missing"), **definition())["error_code"] == "backend"
    assert list(root.iterdir()) == []


@pytest.mark.skipif(os.getuid() != 0, reason="only root may read a vault")
def test_vc_info_reads_the_vault_that_it_is_given(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run("vc_cluster", vault_root=str(root), **definition())
    asked: list[str] = []
    info = importlib.import_module("ansible_collections.hpc.virtual_cluster.plugins.modules.vc_info")

    def open_leases(place: str) -> Any:
        asked.append(place)
        return Site(root.parent).leases

    monkeypatch.setattr(info, "open_leases", open_leases)
    found = run("vc_info", gather=["vault"], vault_root=str(root))
    assert list(found["vault"]["clusters"]) == ["vc1"]
    assert asked == [str(root)]
    assert [result["state"] for result in found["results"]] == ["read"]
    missing = run("vc_info", gather=["vault"], vault_root=str(root / "missing"))
    assert (missing["failed"], missing["error_code"]) == (True, "backend")


def test_vc_info_keeps_nothing_back_that_it_could_read(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    info = importlib.import_module("ansible_collections.hpc.virtual_cluster.plugins.modules.vc_info")
    monkeypatch.setattr(info, "read_slurm", lambda _only: {"jobs": []})
    found = run("vc_info", gather=["vault", "slurm"], vault_root=str(root / "missing"))
    assert (found["failed"], found["slurm"], "vault" in found) == (True, {"jobs": []}, False)
    assert [(result["name"], bool(result["error_code"])) for result in found["results"]] == [("vault", True), ("slurm", False)]
    monkeypatch.setattr(info, "open_leases", lambda _place: Site(root.parent).leases)
    monkeypatch.setattr(info.os, "geteuid", lambda: 0)
    run("vc_cluster", vault_root=str(root), **definition())
    (root / "store").symlink_to("store")
    found = run("vc_info", gather=["vault", "slurm"], vault_root=str(root))
    assert (found["failed"], found["slurm"], found["error_code"]) == (True, {"jobs": []}, "backend")
    assert "Too many levels of symbolic links" in found["results"][0]["msg"]
    twice = run("vc_info", gather=["slurm", "slurm"])
    assert (twice["error_code"], twice["results"][0]["name"]) == ("duplicate", "gather[1]")


@pytest.mark.parametrize(
    ("option", "wrong"), [("vault_root", "/srv/../etc"), ("opensm_path", "partitions.conf"), ("opensm_unit", "-H root@hv1.service")]
)
def test_vc_info_refuses_what_is_wrong_on_any_host(option: str, wrong: str) -> None:
    refusal = run("vc_info", gather=["slurm"], **{option: wrong})
    assert refusal["error_code"] == "invalid"
    assert refusal["results"][0]["name"].startswith(option)


def test_image_vault(root: Path) -> None:
    site = Site(root.parent)
    source = str(site.image())
    goldens = [{"name": "debian12", "source": source}]
    predicted = run("image_vault", check=True, vault_root=str(root), goldens=goldens)
    assert list(root.iterdir()) == []
    done = run("image_vault", vault_root=str(root), goldens=goldens)
    same = ("changed", "images", "actions", "results")
    assert [done[key] for key in same] == [predicted[key] for key in same]
    assert done["images"][0]["image"] == "debian12@r1"
    again = run("image_vault", vault_root=str(root), goldens=goldens)
    assert (again["changed"], again["images"]) == (False, done["images"])
    site.define(definition())
    before = site.content()
    disks = [{"cluster": "vc1", "node": "frontend"}, {"cluster": "vc1", "node": "compute0"}]
    refusal = run("image_vault", vault_root=str(root), disks=disks)
    assert refusal["failed"]
    assert [result["error_code"] for result in refusal["results"]] == ["", "invalid"]
    assert site.content() == before
    for wrong in ({}, {"goldens": goldens, "disks": disks}):
        assert run("image_vault", vault_root=str(root), **wrong)["failed"]
    assert run("vc_cluster", name="vc1", state="absent", vault_root=str(root))["cluster"] == {}
