# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab's own parts that need no host: artifacts, address clashes, the inventory in the repository."""

from __future__ import annotations

import contextlib
import json
import pathlib
import re
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import yaml
from vclab import cache, cli, controller, demo, fabric, guest_image, inventory, layout, lifecycle, process

ROOT = pathlib.Path(__file__).resolve().parents[3]


def test_an_artifact_is_built_once(tmp_path: pathlib.Path) -> None:
    built = []

    def build(path: pathlib.Path) -> None:
        built.append(path)
        path.write_text("content")

    first = cache.artifact(tmp_path, "thing", "recipe", build, ".raw")
    assert cache.artifact(tmp_path, "thing", "recipe", build, ".raw") == first
    assert len(built) == 1
    assert built[0] != first
    assert first.read_text() == "content"


def test_a_failed_build_leaves_nothing(tmp_path: pathlib.Path) -> None:
    def build(path: pathlib.Path) -> None:
        path.mkdir()
        (path / "half").write_text("")
        raise RuntimeError("mirror went away")

    with pytest.raises(RuntimeError):
        cache.artifact(tmp_path, "thing", "recipe", build)
    assert [path.name for path in tmp_path.iterdir()] == [".thing.lock"]


def test_another_recipe_replaces_the_artifact_and_its_link(tmp_path: pathlib.Path) -> None:
    for recipe in ("old", "new"):
        made = cache.artifact(tmp_path, "thing", recipe, lambda path, text=recipe: path.write_text(text), ".raw")
        link = cache.publish(made, "thing.raw")
        assert link.read_text() == recipe
    assert sorted(path.name for path in tmp_path.glob("thing*")) == sorted([made.name, "thing.raw"])


def clashes(monkeypatch: pytest.MonkeyPatch, addresses: dict[str, str], routes: list[dict[str, str]], owner: str = "") -> list[str]:
    def run(argv: list[str], *_: object, **__: object) -> subprocess.CompletedProcess[str]:
        links = []
        for device, text in addresses.items():
            address, _, length = text.partition("/")
            links.append({"ifname": device, "addr_info": [{"local": address, "prefixlen": int(length)}]})
        return subprocess.CompletedProcess(argv, 0, json.dumps(routes if "route" in argv else links), "")

    monkeypatch.setattr(fabric, "run", run)
    monkeypatch.setattr(fabric, "owner", lambda: owner)
    return fabric.address_clashes()


@pytest.mark.parametrize("taken", ["10.77.0.7/24", "10.79.0.1/32", "10.0.0.1/8", "10.77.0.128/25"])
def test_an_address_in_the_labs_ranges_is_a_clash(monkeypatch: pytest.MonkeyPatch, taken: str) -> None:
    found = clashes(monkeypatch, {"eth0": taken}, [])
    assert found
    assert all("eth0" in clash for clash in found)


def test_a_route_is_a_clash_but_the_default_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    assert clashes(monkeypatch, {"eth0": "192.0.2.2/24"}, [{"dst": "default", "dev": "eth0"}]) == []
    assert clashes(monkeypatch, {}, [{"dst": "10.79.0.0/24", "dev": "tun0"}]) == ["10.79.0.0/24 overlaps 10.79.0.0/24 on tun0"]


def test_a_range_that_lives_in_namespaces_only_never_clashes(monkeypatch: pytest.MonkeyPatch) -> None:
    assert clashes(monkeypatch, {"eth0": "10.88.0.1/24"}, []) == []


def test_the_legs_of_our_own_lab_are_no_clash_but_anybody_elses_are(monkeypatch: pytest.MonkeyPatch) -> None:
    legs = {"vc-ctl": "10.77.0.254/24"}
    assert clashes(monkeypatch, legs, [], owner=str(ROOT)) == []
    assert clashes(monkeypatch, legs, []) != []


def test_the_inventories_in_the_repository_are_the_layouts() -> None:
    assert set(inventory.wanted()) == {inventory.INVENTORY, inventory.DEBIAN13_INVENTORY}
    for path, text in inventory.wanted().items():
        assert path.read_text() == text
        assert str(ROOT) not in text


def test_every_host_of_a_group_exists_and_addresses_are_unique() -> None:
    names = {plan.name for plan in layout.EVERY_HOST}
    for groups in (layout.GROUPS, layout.DEBIAN13_GROUPS):
        assert {member for members in groups.values() for member in members} <= names
    addresses = [address for plan in layout.EVERY_HOST for address in (plan.address, plan.underlay) if address]
    assert len(addresses) == len(set(addresses))


def test_a_card_has_one_address_for_ever_and_no_other_card_has_it() -> None:
    cards = [(plan.name, nic) for plan in layout.EVERY_HOST for nic in ("eth0", "eth1", "eth2")]
    addresses = {fabric.mac_of(host, nic) for host, nic in cards}
    assert len(addresses) == len(cards)
    assert addresses == {fabric.mac_of(host, nic) for host, nic in cards}
    assert all(address.startswith("06:") and len(address) == 17 for address in addresses)


def test_people_reach_the_frontend_of_the_demo() -> None:
    text = lifecycle.ssh_config()
    definition = (ROOT / "molecule/lab/inventory/group_vars/all/vc_clusters.yml").read_text()
    address = text.split("Host vc1\n  HostName ")[1].split()[0]
    assert f"address: {address}/24" in definition


def test_a_lab_without_a_running_host_is_nobodys(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = tmp_path / "other"
    monkeypatch.setattr(fabric, "owner", lambda: str(other))
    assert fabric.foreign_owner() == ""
    words = [fabric.SUPERVISOR, f"--directory={other}/.cache/lab/hosts/head/root"]
    argv = [sys.executable, "-c", "print(flush=True); input()", *words]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as host:
        assert host.stdout is not None
        host.stdout.readline()
        assert fabric.foreign_owner() == str(other)
        with pytest.raises(process.LabError, match="demo-down"):
            fabric.clear_foreign_lab()
        host.communicate(b"\n")
    assert fabric.foreign_owner() == ""


def test_what_a_lab_has_left_is_named(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    left = tmp_path / "run"
    monkeypatch.setattr(lifecycle, "RUNTIME", left)
    assert f"directory {left}" not in lifecycle.leftovers()
    left.mkdir()
    assert f"directory {left}" in lifecycle.leftovers()


def test_a_module_is_run_on_the_nodes_of_virtual_clusters(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> None:
    program, asked = tmp_path / "bin" / "ansible", tmp_path / "asked"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\necho "$ANSIBLE_INVENTORY" "$@" > {asked}\n')
    program.chmod(0o755)
    monkeypatch.setattr(controller, "VENV", tmp_path)
    monkeypatch.delenv("ANSIBLE_INVENTORY", raising=False)
    assert cli.main(["ansible", "vc1", "-m", "ping"]) == 0
    nodes, *words = asked.read_text().split()
    assert words == ["vc1", "-m", "ping"]
    assert yaml.safe_load(pathlib.Path(nodes).read_text())["plugin"] == "hpc.virtual_cluster.vc_nodes"


@pytest.mark.parametrize(("image", "shortened"), [(guest_image.DEMO, True), (guest_image.SITE, False)])
def test_what_only_an_emulated_guest_may_do_without_is_in_no_site_s_image(image: guest_image.Image, shortened: bool) -> None:
    text = image.initrd_script + image.kernel_arguments + image.finish_script
    shortcuts = ("mitigations=off", "norandmaps", "audit=0", "sntrup761", "apt-daily.timer", "blacklist aesni_intel")
    assert [word in text for word in shortcuts] == [shortened] * len(shortcuts)
    assert not re.search("@[A-Z]+@", text)


def test_images_are_built_after_what_they_are_built_with_was_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    monkeypatch.setattr(cli.os, "geteuid", lambda: 0)
    monkeypatch.setattr(lifecycle, "up", lambda _hosts, _bare: done.append("hosts up, which begins with packages"))
    monkeypatch.setattr(cli.ready, "images", lambda: done.append("images"))
    assert cli.main(["up"]) == 0
    assert done == ["hosts up, which begins with packages", "images"]


def test_caches_are_removed_after_the_builder_that_was_left_behind(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    caches, held, asked = tmp_path / "cache", threading.Event(), threading.Event()

    def build() -> None:
        with cache.locked(caches / ".rootfs.lock"):
            held.set()
            assert asked.wait(60)
            (caches / "rootfs").mkdir()

    def locked(path: pathlib.Path) -> contextlib.AbstractContextManager[None]:
        asked.set()
        return cache.locked(path)

    monkeypatch.setattr(demo, "CACHE", caches)
    monkeypatch.setattr(demo, "locked", locked)
    monkeypatch.setattr(lifecycle, "down", lambda _hosts: None)
    with ThreadPoolExecutor() as pool:
        builder = pool.submit(build)
        assert held.wait(60)
        assert demo.distclean() == 0
        builder.result()
    assert not caches.exists()
