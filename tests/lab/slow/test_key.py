# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A host's key to the vault is whole after any run of role agent, whatever an ended one has left of it."""

from __future__ import annotations

import json
import pathlib
import subprocess

import pytest
import yaml

from tests.static.checker import ROOT, check, environment

TASKS = [{"ansible.builtin.include_tasks": str(ROOT / "roles" / "agent" / "tasks" / "key.yml")}]
PLAY = [{"hosts": "localhost", "gather_facts": False, "tasks": TASKS}]


def argv(place: pathlib.Path) -> list[str]:
    play = place.parent / "play.yml"
    play.write_text(yaml.safe_dump(PLAY), encoding="utf-8")
    paths = {"configuration": str(place), "host_key": str(place.parent / "host_key.pub")}
    given = {"agent_paths": paths, "agent_vault_host": "localhost", "agent_vault_address": "192.0.2.1"}
    return ["ansible-playbook", "-i", "localhost,", "-c", "local", str(play), "-e", json.dumps(given)]


def run(place: pathlib.Path, *words: str) -> str:
    return check(*argv(place), *words, ANSIBLE_NOCOLOR="1")


@pytest.mark.parametrize(
    "left",
    [
        {},
        {"vault_key": "half of a pri"},
        {"vault_key.new": "half of a pri"},
        {"vault_key": "of an earlier run", "vault_key.new": "", "vault_key.new.pub": "ssh-ed25519 AAAA"},
    ],
    ids=["nothing", "private half", "half a private half", "everything but the name"],
)
def test_an_ended_run_is_finished(tmp_path: pathlib.Path, left: dict[str, str]) -> None:
    place = tmp_path / "configuration"
    place.mkdir()
    (tmp_path / "host_key.pub").write_text("ssh-ed25519 AAAA vault\n")
    for name, text in left.items():
        (place / name).write_text(text)
        (place / name).chmod(0o600)
    assert "failed=0" in run(place)
    derived = subprocess.run(["ssh-keygen", "-y", "-f", place / "vault_key"], capture_output=True, text=True, check=True).stdout
    assert derived == (place / "vault_key.pub").read_text()
    assert sorted(path.name for path in place.iterdir()) == ["known_hosts", "vault_key", "vault_key.pub"]
    assert "changed=0" in run(place)


def test_what_a_key_that_is_not_made_yet_would_change_is_not_foretold(tmp_path: pathlib.Path) -> None:
    place = tmp_path / "configuration"
    place.mkdir()
    (tmp_path / "host_key.pub").write_text("ssh-ed25519 AAAA vault\n")
    variables = environment(ANSIBLE_NOCOLOR="1")
    done = subprocess.run([*argv(place), "--check"], env=variables, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "Run the playbook once without --check" in done.stdout
    assert list(place.iterdir()) == []
    run(place)
    assert "changed=0" in run(place, "--check")
