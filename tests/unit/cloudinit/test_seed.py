# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a guest is told, and the image that it is told by."""

from __future__ import annotations

import json
import os
import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.cloudinit import documents, iso9660, seed
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.model.cluster import Cluster
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.model.definition import parse
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.planner.cluster import plan_cluster

from tests.unit.definitions import OTHER_KEY, changed

PRIVATE = "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----"


def cluster(**changes: Any) -> Cluster:
    resolved: Cluster = plan_cluster(parse(changed(**changes)), None, [])[1]
    return replace(resolved, ssh_public_key=OTHER_KEY)


def user_data(resolved: Cluster, node: str, private: str = "") -> dict[str, Any]:
    return documents.user_data(resolved, resolved.node(node), private)


def files(data: dict[str, Any]) -> dict[str, dict[str, str]]:
    return {file["path"]: file for file in data["write_files"]}


def read(image: bytes) -> tuple[str, dict[str, bytes]]:
    """Label and files of an ISO 9660 image, read by the letter of ECMA-119."""
    volume = image[16 * 2048 : 17 * 2048]
    assert volume[:7] == b"\x01CD001\x01"
    assert image[17 * 2048 : 17 * 2048 + 7] == b"\xffCD001\x01"
    sectors, again = struct.unpack("<I", volume[80:84])[0], struct.unpack(">I", volume[84:88])[0]
    assert sectors == again == len(image) // 2048
    start, size = struct.unpack("<I", volume[158:162])[0], struct.unpack("<I", volume[166:170])[0]
    place, directory, found = 0, image[start * 2048 : start * 2048 + size], {}
    while place < size and directory[place]:
        record = directory[place : place + directory[place]]
        extent, length = struct.unpack("<I", record[2:6])[0], struct.unpack("<I", record[10:14])[0]
        if not record[25] & 2:
            name = record[33 : 33 + record[32]].decode().lower().partition(";")[0]
            found[name] = image[extent * 2048 : extent * 2048 + length]
        place += len(record)
    return volume[40:72].decode().strip(), found


def test_the_image_carries_what_was_put_in() -> None:
    contents = {"meta-data": b"a", "user-data": b"b" * 2048, "network-config": b"c" * 5000, "empty": b""}
    assert read(iso9660.image("cidata", contents)) == ("cidata", contents)


@pytest.mark.parametrize(
    ("label", "name"), [("x" * 33, "a"), ("cidata", "A"), ("cidata", "a" * 31), ("cidata", "../a"), ("cidata", "\u00e4")]
)
def test_names_that_do_not_fit_are_refused(label: str, name: str) -> None:
    with pytest.raises(ValueError, match="does not fit"):
        iso9660.image(label, {name: b""})


def test_more_files_than_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="too many"):
        iso9660.image("cidata", {f"file-{number}": b"" for number in range(60)})


def test_equal_definitions_give_equal_bytes_and_a_private_file(tmp_path: Path) -> None:
    paths = [tmp_path / "one.iso", tmp_path / "two.iso"]
    for path in paths:
        seed.write_seed(str(path), cluster().to_dict(), "compute0")
    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert paths[0].stat().st_mode & 0o777 == 0o600
    label, found = read(paths[0].read_bytes())
    assert label == "cidata"
    assert found["user-data"].startswith(b"#cloud-config\n")
    assert json.loads(found["meta-data"])["local-hostname"] == "compute0"


def test_the_private_key_is_on_the_frontend_only() -> None:
    frontend, compute = user_data(cluster(), "frontend", PRIVATE), user_data(cluster(), "compute0")
    key = files(frontend)[documents.KEY_FILE]
    assert (key["content"], key["permissions"]) == (PRIVATE + "\n", "0600")
    assert "PRIVATE" not in json.dumps(compute)
    assert documents.KEY_FILE not in json.dumps(compute)


@pytest.mark.parametrize("node", ["frontend", "compute0", "compute1"])
def test_every_node_knows_all_names_and_lets_the_cluster_in(node: str) -> None:
    data = user_data(cluster(), node)
    assert data["hostname"] == node
    hosts = files(data)[documents.HOSTS_FILE]["content"].splitlines()
    assert hosts[1:-1] == ["10.11.0.1 frontend frontend.vc1", "10.11.0.2 compute0 compute0.vc1", "10.11.0.3 compute1 compute1.vc1"]
    (root,) = data["users"]
    assert root["ssh_authorized_keys"] == [*cluster().ssh_authorized_keys, OTHER_KEY]


def test_cards_are_found_by_mac_and_only_the_frontend_has_two() -> None:
    resolved = cluster(frontend__public__gateway="10.79.0.1")
    front = documents.network_config(resolved, resolved.node("frontend"))["ethernets"]
    assert front["vc0"]["match"] == {"macaddress": resolved.node("frontend").mac}
    assert (front["vc0"]["addresses"], front["vc0"]["mtu"]) == (["10.11.0.1/24"], 1500)
    assert front["public0"]["addresses"] == ["10.79.0.101/24"]
    assert front["public0"]["routes"] == [{"to": "0.0.0.0/0", "via": "10.79.0.1"}]
    assert front["public0"]["match"]["macaddress"] == documents.public_mac(resolved.node("frontend")) != resolved.node("frontend").mac
    assert list(documents.network_config(resolved, resolved.node("compute0"))["ethernets"]) == ["vc0"]


def test_a_grown_disk_is_grown_inside_and_only_then() -> None:
    assert "growpart" in user_data(cluster(), "frontend")["cloud_init_modules"]
    assert "growpart" not in user_data(cluster(), "compute0")["cloud_init_modules"]


def identity(resolved: Cluster, node: str) -> str:
    return str(json.loads(documents.documents(resolved, resolved.node(node))["meta-data"])["instance-id"])


def test_the_instance_changes_with_the_nodes_network_and_with_nothing_else() -> None:
    grown = cluster(computes=[{**changed()["computes"][0], "nodes": "compute[0-5]"}])
    assert identity(cluster(), "frontend") == identity(grown, "frontend")
    assert identity(cluster(), "frontend") != identity(cluster(network__cidr="10.99.0.0/24"), "frontend")
    assert identity(cluster(), "compute0") != identity(cluster(), "compute1")


def test_hostile_text_stays_inside_json() -> None:
    spoilt = replace(cluster(), ssh_public_key="ssh-ed25519 AAAA \"\\ $(reboot)': {}")
    text = documents.documents(spoilt, spoilt.node("compute0"))["user-data"].decode("ascii")
    (root,) = json.loads(text.partition("\n")[2])["users"]
    assert root["ssh_authorized_keys"][-1] == spoilt.ssh_public_key


def test_the_seed_is_on_disk_before_whoever_notes_that_it_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A frontend's record has its digest; after a power cut the frontend starts from what the disk has."""
    path = tmp_path / "seed.iso"
    synced: list[tuple[str, int, bool]] = []
    real = os.fsync

    def fsync(descriptor: int) -> None:
        real(descriptor)
        synced.append((os.readlink(f"/proc/self/fd/{descriptor}"), os.fstat(descriptor).st_size, path.exists()))

    monkeypatch.setattr(os, "fsync", fsync)
    seed.write_seed(str(path), cluster().to_dict(), "frontend")
    assert synced[0] == (f"{path}.new", path.stat().st_size, False)
    assert [(place, there) for place, _size, there in synced[1:]] == [(str(tmp_path), True)]


def test_what_a_kept_disk_needs_to_outlive_a_power_loss_in_its_first_start() -> None:
    kept, thrown_away = user_data(cluster(), "frontend"), user_data(cluster(), "compute0")
    assert kept["runcmd"] == [["sync"]]
    assert kept["cloud_final_modules"] == ["runcmd", "scripts-user", "final-message"]
    assert "runcmd" not in thrown_away
    assert thrown_away["cloud_final_modules"] == ["final-message"]
    # The demo's image has no such stage.
    assert kept["cloud_config_modules"] == thrown_away["cloud_config_modules"] == []
