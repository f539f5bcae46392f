# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whoever asks for the vault without saying where it is gets the one that role vault has made."""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import pytest
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.vault import command, place

from tests.unit.refusal import refused
from tests.unit.vault.site import Site, definition
from tests.unit.vault.test_modules import run


@pytest.fixture(name="told")
def said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file in which the role says where the vault is."""
    path = tmp_path / "vault.json"
    monkeypatch.setattr(place, "FILE", str(path))
    return path


def test_the_file_says_it_and_the_caller_may_say_otherwise(told: Path) -> None:
    assert place.root_of(None) == place.DEFAULT
    told.write_text('{"schema": 1, "root": "/srv/vault"}')
    assert place.root_of(None) == "/srv/vault"
    assert place.root_of("/srv/other") == "/srv/other"


@pytest.mark.parametrize(
    ("text", "code"),
    [('{"schema": 1}', "backend"), ('{"root": "/srv"}', "backend"), ("/srv", "backend"), ('{"schema": 2, "root": "/srv"}', "version")],
)
def test_a_file_that_cannot_be_relied_on_is_no_reason_to_take_another_vault(told: Path, text: str, code: str) -> None:
    told.write_text(text)
    assert str(told) in str(refused(code, place.root_of, None))
    assert run("vc_cluster", **definition())["error_code"] == code


def test_modules_and_the_command_find_the_same_vault(
    told: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    site = Site(tmp_path)
    told.write_text(json.dumps({"schema": 1, "root": str(site.root)}))
    assert run("vc_cluster", **definition())["changed"]
    assert run("image_vault", goldens=[{"name": "tiny", "source": str(site.image())}])["changed"]
    assert list(site.registry.read().clusters) == ["vc1"]
    assert run("image_vault", goldens=[{"name": "tiny", "source": str(site.source)}], vault_root=str(site.root))["changed"] is False
    info = importlib.import_module("ansible_collections.hpc.virtual_cluster.plugins.modules.vc_info")
    monkeypatch.setattr(info, "open_leases", lambda root: Site(Path(root).parent).leases)
    assert list(run("vc_info", gather=["vault"])["vault"]["clusters"]) == ["vc1"]
    arguments = ["--tgt-socket", str(tmp_path / "nobody"), "status"]
    assert command.main(arguments) == 0
    assert list(json.loads(capsys.readouterr().out)["clusters"]) == ["vc1"]
    told.write_text(json.dumps({"schema": 1, "root": str(tmp_path / "gone")}))
    assert command.main(arguments) == 1
    assert f"vault_root {tmp_path}/gone" in capsys.readouterr().err
