# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whoever asks for the vault without saying where it is gets the one that role vault has made."""

from __future__ import annotations

import importlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.vault import command, place
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.vault.registry import Registry

from tests.unit.refusal import refused
from tests.unit.vault.site import Site, caller, definition
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
    for found in (run("vc_cluster", **definition()), run("image_vault", goldens=[])):
        assert (found["error_code"], found["changed"]) == ("backend", False)
        assert "there is no registry in it. Remedy: mount its file system" in found["msg"]
    assert not list(site.root.glob("registry/*"))
    with site.registry.lock("vault"):
        assert [site.registry.begin(), site.registry.begin()] == [True, False]
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


PLAY = """
- hosts: all
  gather_facts: false
  tasks:
    - ansible.builtin.include_role:
        name: hpc.virtual_cluster.vault
        tasks_from: place.yml
"""


def test_a_new_vault_has_no_clusters_and_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`comet --check` asks it before the first cluster is defined."""
    arguments = ["--root", str(tmp_path), "--tgt-socket", str(tmp_path / "nobody")]
    changed = []
    for _run in range(2):
        assert command.main([*arguments, "init"]) == 0
        changed.append(json.loads(capsys.readouterr().out)["changed"])
    assert changed == [True, False]
    request = json.dumps({"schema": 1, "verb": "status", "args": {"cluster": "vc1"}})
    answer = command.serve(command.open_leases(str(tmp_path)), caller("fe1"), request)
    assert json.loads(answer) == {"ok": True, "result": {"clusters": {}}}


AWAY = "Remedy: mount its file system and run this again"
# vault.json of a host, what it is asked for, the directories that are there, which of them has a registry, and what the role says to it.
PLACES: dict[str, tuple[str, str, list[str], str, str]] = {
    "first": ("", "vault", [], "", ""),
    "second": ("vault", "vault", ["vault"], "vault", ""),
    # Its file system is not mounted: what would be made there is another vault.
    "away": ("mnt/vault", "mnt/vault", ["mnt"], "", AWAY),
    "mount_point": ("mnt/vault", "mnt/vault", ["mnt/vault"], "", AWAY),
    "moving_away": ("mnt/vault", "other", ["mnt"], "", AWAY),
    # As the remedy of the next one says.
    "moved": ("vault", "other", ["other"], "other", ""),
    "left": ("vault", "other", ["vault"], "vault", "Remedy: leave vault_root as it was"),
}


def test_the_role_begins_nothing_anew_where_a_vault_was(tmp_path: Path) -> None:
    hosts = {}
    for name, (known, asked, there, registry, _said) in PLACES.items():
        host = tmp_path / name
        for directory in ["etc", *there]:
            (host / directory).mkdir(parents=True)
        if registry:
            with Registry(str(host / registry)).lock("vault"):
                Registry(str(host / registry)).begin()
        if known:
            (host / "etc" / "vault.json").write_text(json.dumps({"schema": 1, "root": str(host / known)}))
        hosts[name] = {"vault_root": str(host / asked), "vault_paths": {"configuration": str(host / "etc")}}
    (tmp_path / "hosts.yml").write_text(json.dumps({"all": {"hosts": hosts}}))
    (tmp_path / "play.yml").write_text(PLAY)
    argv = [str(Path(sys.executable).parent / "ansible-playbook"), "-i", str(tmp_path / "hosts.yml"), "-c", "local", "--forks", "2"]
    argv += ["-e", f"ansible_python_interpreter={sys.executable}", str(tmp_path / "play.yml")]
    environment = {**os.environ, "ANSIBLE_NOCOLOR": "1", "ANSIBLE_HOME": str(tmp_path / "ansible")}
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=120, check=False)
    refusals = dict(re.findall(r"(?s)fatal: \[(\w+)\].*?(Remedy: [a-z_ ]+)", done.stdout))
    assert refusals == {name: said for name, (*_given, said) in PLACES.items() if said}, done.stdout
    assert len(re.findall(r"(?m)^\w+ +: ok=", done.stdout)) == len(PLACES), done.stdout + done.stderr
