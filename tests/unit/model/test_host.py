# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A host's configuration file."""

from __future__ import annotations

import copy
import json
import pathlib
from typing import Any

import pytest
from ansible_collections.hpc.virtual_cluster.plugins.module_utils import host_config
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.model.host import OverlayHost

from tests.unit.hostile import every_hostile
from tests.unit.refusal import refused

DOCUMENTED: dict[str, Any] = {
    "schema": 1,
    "name": "hv1",
    "accelerator": "tcg",
    "vault": {"address": "10.77.0.12", "user": "root"},
    "overlay": {"local_ip": "10.88.0.21", "datapath": "netdev", "underlay_mtu": 1600, "peers": ["10.88.0.20", "10.88.0.21", "10.88.0.22"]},
}


def changed(**changes: Any) -> dict[str, Any]:
    """The documented file with dotted keys (written with __) replaced."""
    data = copy.deepcopy(DOCUMENTED)
    for path, value in changes.items():
        *parents, key = path.split("__")
        place = data
        for parent in parents:
            place = place[parent]
        place[key] = value
    return data


def test_the_documented_file(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "host.json"
    path.write_text(json.dumps(DOCUMENTED))
    config = host_config.load(str(path))
    assert (config.name, config.accelerator, config.vault_address, config.vault_user) == ("hv1", "tcg", "10.77.0.12", "root")
    assert config.overlay == OverlayHost("10.88.0.21", "netdev", 1600, ("10.88.0.20", "10.88.0.21", "10.88.0.22"))
    assert config.overlay.to_dict() == DOCUMENTED["overlay"]
    assert config.overlay.other_peers == ("10.88.0.20", "10.88.0.22")


def test_a_host_without_overlay() -> None:
    assert host_config.parse(changed(overlay=None)).overlay is None


def test_a_vault_by_name() -> None:
    assert host_config.parse(changed(vault__address="nas.example.org")).vault_address == "nas.example.org"


@pytest.mark.parametrize(
    "changes",
    [
        {"schema": 0},
        {"schema": True},
        {"schema": "1"},
        {"name": "HV1"},
        {"name": None},
        {"accelerator": "auto"},
        {"vault": None},
        {"vault": {"address": "10.77.0.12"}},
        {"vault__port": 22},
        {"vault__address": "-oProxyCommand=reboot"},
        {"vault__user": "root;"},
        {"overlay": []},
        {"overlay__local_ip": "hv1"},
        {"overlay__datapath": "kernel"},
        {"overlay__underlay_mtu": "1600"},
        {"overlay__underlay_mtu": 100},
        {"overlay__underlay_mtu": True},
        {"overlay__peers": "10.88.0.20"},
        {"overlay__peers": ["10.88.0.20", "nonsense"]},
        {"overlay__extra": 1},
        {"extra": 1},
    ],
    ids=str,
)
def test_refused(changes: dict[str, Any]) -> None:
    refused("invalid", host_config.parse, changed(**changes))


def test_a_peer_named_twice_is_refused() -> None:
    error = refused("duplicate", host_config.parse, changed(overlay__peers=["10.88.0.21", "10.88.0.20", "10.88.0.20"]))
    assert (error.item, error.detail) == ("overlay.peers[2]", "peers[1] is 10.88.0.20 too")


def test_a_newer_schema_is_refused_as_such() -> None:
    refused("version", host_config.parse, changed(schema=2))


@every_hostile
def test_hostile_names_are_refused(hostile: str) -> None:
    for place in ("name", "accelerator", "vault__address", "vault__user", "overlay__local_ip", "overlay__datapath"):
        refused("invalid", host_config.parse, changed(**{place: hostile}))


@pytest.mark.parametrize("content", ["", "{", "[]", "null", '"text"', "\xff"])
def test_a_broken_file_is_named(tmp_path: pathlib.Path, content: str) -> None:
    path = tmp_path / "host.json"
    path.write_bytes(content.encode("latin-1"))
    assert str(path) in refused("invalid", host_config.load, str(path)).item


def test_a_missing_file_is_named(tmp_path: pathlib.Path) -> None:
    assert str(tmp_path) in refused("unknown", host_config.load, str(tmp_path / "host.json")).item


def test_every_refusal_of_a_file_begins_with_its_path(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "host.json"
    path.write_text(json.dumps(changed(accelerator="auto")))
    assert refused("invalid", host_config.load, str(path)).item.startswith(str(path))
