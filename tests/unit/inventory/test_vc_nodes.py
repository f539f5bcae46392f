# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What Ansible itself makes of an inventory file: groups, variables, cache, sources that are away, and words that are none of ours."""

from __future__ import annotations

import json
import os
import pathlib
import shlex
import subprocess
import sys
import time
from typing import Any

import pytest
from ansible import constants
from ansible.errors import AnsibleError
from ansible.inventory.manager import InventoryManager
from ansible.parsing.dataloader import DataLoader
from ansible.plugins.loader import fragment_loader, inventory_loader
from ansible.template import Templar
from ansible.utils.plugin_docs import get_docstring
from ansible.vars.manager import VariableManager
from ansible_collections.hpc.virtual_cluster.plugins.inventory import vc_nodes

from tests.unit.inventory.sources import Site, cluster, entry, groups_of, job, lease, members

FQCN = "hpc.virtual_cluster.vc_nodes"


@pytest.fixture
def warnings(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Everything that Ansible and the plugin warn of, errors of sources among it."""
    said: list[str] = []
    for module in ("ansible.inventory.manager", "ansible.plugins.inventory"):
        monkeypatch.setattr(f"{module}.display", Ear(said))
    return said


@pytest.fixture
def site(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, warnings: list[str]) -> Site:
    path = str(vc_nodes.__file__)
    # Ansible's own collection loader cannot take over in a process that has imported the collection without it, so that nothing is found
    # by its full name here.
    plain = tmp_path / "vc_nodes.py"
    plain.write_text(pathlib.Path(path).read_text(encoding="utf-8").replace("- ansible.builtin.", "- "), encoding="utf-8")
    options = get_docstring(str(plain), fragment_loader)[0]["options"]
    constants.config.initialize_plugin_configuration_definitions("inventory", FQCN, options)
    monkeypatch.setattr(InventoryManager, "_fetch_inventory_plugins", lambda _self: [loaded(path)])
    # Without it Ansible goes on with no host at all.
    monkeypatch.setattr(constants, "INVENTORY_ANY_UNPARSED_IS_FAILED", True)
    return Site(tmp_path)


def loaded(path: str) -> vc_nodes.InventoryModule:
    plugin = vc_nodes.InventoryModule()
    inventory_loader._update_object(obj=plugin, name=FQCN, path=path, redirected_names=[], resolved=FQCN)
    return plugin


class Ear:
    """Stands in for Ansible's display."""

    def __init__(self, said: list[str]) -> None:
        self.said = said

    def warning(self, text: str, *_more: Any, **_options: Any) -> None:
        self.said.append(text)

    def error_as_warning(self, msg: str, exception: BaseException, **_options: Any) -> None:
        self.said.append(f"{msg} {type(exception).__name__}: {exception}")

    def __getattr__(self, _name: str) -> Any:
        return lambda *_words, **_options: None


def refused(site: Site, warnings: list[str], **options: Any) -> str:
    """What an error says that keeps Ansible from reading the inventory."""
    with pytest.raises(AnsibleError, match="Completely failed to parse"):
        site.inventory(**options)
    return warnings[-1]


def test_groups_and_variables(site: Site) -> None:
    inventory = site.inventory()
    assert sorted(inventory.hosts) == ["compute0.vc1", "compute1.vc1", "compute2.vc1", "frontend.vc1"]
    assert groups_of(inventory, "compute0.vc1") == {"vc_nodes", "vc1", "vc_role_compute", "vc_state_running", "vc1__sim"}
    assert groups_of(inventory, "compute2.vc1") == {"vc_nodes", "vc1", "vc_role_compute", "vc_state_off"}
    assert groups_of(inventory, "frontend.vc1") == {"vc_nodes", "vc1", "vc_role_frontend", "vc_state_running"}
    assert all(name.isidentifier() for name in inventory.groups)
    shown = inventory.get_host("compute1.vc1").vars
    assert shown["vc_left_seconds"] in range(3590, 3601)
    assert {name: shown[name] for name in shown if name.startswith("vc_") and name not in ("vc_left_seconds", "vc_read_at")} == {
        "vc_cluster": "vc1",
        "vc_node": "compute1",
        "vc_role": "compute",
        "vc_state": "running",
        "vc_computeset": "sim",
        "vc_host": "hv2",
        "vc_mac": "02:00:27:11:00:02",
        "vc_address": "10.11.0.3",
        "vc_public_address": "",
        "vc_owner": "labuser",
        "vc_account": "physics",
        "vc_job_id": 42,
        "vc_stale": False,
    }
    assert all(name.startswith(("vc_", "ansible_", "inventory_")) for name in shown)


def test_the_same_names_and_addresses_in_two_clusters(site: Site) -> None:
    site.vault(entry(cluster()), entry(cluster(name="my-vc")))
    inventory = site.inventory()
    assert members(inventory, "my_vc") == ["compute0.my-vc", "compute1.my-vc", "compute2.my-vc", "frontend.my-vc"]
    one, other = (inventory.get_host(name).vars for name in ("compute0.vc1", "compute0.my-vc"))
    assert one["ansible_host"] == other["ansible_host"]
    # A connection that is kept for one must not be taken for the other.
    assert one["ansible_control_path"] != other["ansible_control_path"]


def test_a_connection_is_not_kept_over_a_new_start(site: Site) -> None:
    before = site.inventory().get_host("compute0.vc1").vars["ansible_control_path"]
    assert site.inventory().get_host("compute0.vc1").vars["ansible_control_path"] == before
    site.vault(entry(cluster(), lease("compute0", epoch=4)))
    assert site.inventory().get_host("compute0.vc1").vars["ansible_control_path"] != before


def test_computes_are_reached_through_their_frontend(site: Site) -> None:
    inventory = site.inventory(node_private_key_file="keys/odd 100% key", node_user="admin", frontend_host_keys="check")
    key = str(site.directory / "keys/odd 100% key")
    front, back = (inventory.get_host(name).vars for name in ("frontend.vc1", "compute0.vc1"))
    assert (front["ansible_host"], back["ansible_host"]) == ("192.0.2.101", "10.11.0.2")
    assert front["ansible_user"] == back["ansible_user"] == "admin"
    assert front["ansible_ssh_private_key_file"] == back["ansible_ssh_private_key_file"] == key
    assert "StrictHostKeyChecking=yes" in shlex.split(front["ansible_ssh_common_args"])
    assert "ProxyCommand" not in front["ansible_ssh_common_args"]
    options = shlex.split(back["ansible_ssh_common_args"])
    (jump,) = [word.partition("=")[2] for word in options if word.startswith("ProxyCommand=")]
    words = shlex.split(jump.replace("%%", "%"))
    assert words[:3] == ["ssh", "-W", "%h:%p"]
    assert words[-4:] == ["-l", "admin", "--", "192.0.2.101"]
    assert words[words.index("-i") + 1] == key
    assert "StrictHostKeyChecking=yes" in words


def test_a_cluster_without_a_way_in(site: Site) -> None:
    made = cluster()
    made["nodes"][0]["public"] = None
    site.vault(entry(made))
    inventory = site.inventory()
    assert inventory.get_host("frontend.vc1").vars["ansible_host"] == "10.11.0.1"
    assert "ProxyCommand" not in inventory.get_host("compute0.vc1").vars["ansible_ssh_common_args"]


FORGED = [
    {"user_name": "otheruser", "account": "chemistry"},
    {"user_name": "otheruser"},
    {"account": "chemistry"},
    {"vc": "vc9"},
    {"user_name": "otheruser", "job_state": "PENDING"},
    {"job_state": "PENDING", "nodes": "compute[2-77]"},
    {"job_state": "PENDING", "nodes": "compute[0-1]", "user_name": "helper"},
    {},
]


@pytest.mark.parametrize("changes", FORGED)
def test_a_forged_job_appears_nowhere(site: Site, changes: dict[str, Any]) -> None:
    genuine = site.inventory()
    site.slurm(job(), job(**{"job_id": 66, "nodes": "compute2", "name": "evil", **changes}))
    inventory = site.inventory()
    assert set(inventory.hosts) == set(genuine.hosts)
    assert set(inventory.groups) == set(genuine.groups)
    for name, host in inventory.hosts.items():
        assert "evil" not in json.dumps(host.vars)
        assert host.vars["vc_job_id"] == genuine.hosts[name].vars["vc_job_id"]


def test_a_pending_set_is_queued(site: Site) -> None:
    site.vault(entry(cluster()))
    site.slurm(job(job_state="PENDING", nodes="compute[0-1]"))
    assert members(site.inventory(), "vc_state_queued") == ["compute0.vc1", "compute1.vc1"]


@pytest.mark.parametrize("computes", [0, 63, 1023])
def test_calls_do_not_grow_with_nodes(site: Site, computes: int) -> None:
    leases = [lease(f"compute{number}") for number in range(computes)]
    site.vault(entry(cluster(computes), *leases))
    site.slurm(job(nodes=f"compute[0-{computes - 1}]") if computes else job(nodes="compute0"))
    inventory = site.inventory()
    assert len(inventory.hosts) == computes + 1
    assert len(inventory.groups["vc1__sim"].get_hosts() if computes else []) == computes
    assert site.calls() == ["libvirt", "slurm", "vault"]


def test_sources_are_asked_at_the_same_time(site: Site) -> None:
    # Each waits for the others to have begun.
    script = (
        'echo > "$0/$1.began"; for kind in vault slurm libvirt; do while [ ! -e "$0/$kind.began" ]; do sleep 0.02; done; done; cat "$0/$1"'
    )
    waits = {kind: {"local": True, "command": ["sh", "-c", script, str(site.directory), kind]} for kind in ("vault", "slurm", "libvirt")}
    inventory = site.inventory(sources={**waits, "libvirt": [waits["libvirt"]]}, source_timeout=20)
    assert len(inventory.hosts) == 4


def test_a_frontend_does_what_it_does_on_its_own_host(site: Site) -> None:
    domain = {"cluster": "vc1", "node": "frontend"}
    site.libvirt({**domain, "state": "off", "host": "fe2"}, {**domain, "state": "running", "host": "fe1"})
    assert site.inventory().get_host("frontend.vc1").vars["vc_state"] == "running"


@pytest.mark.parametrize("left_out", ["slurm", "libvirt"])
def test_slurm_and_libvirt_are_optional(site: Site, left_out: str) -> None:
    sources = {"vault": site.source("vault"), "slurm": site.source("slurm"), "libvirt": [site.source("libvirt")]}
    del sources[left_out]
    inventory = site.inventory(sources=sources)
    assert len(inventory.hosts) == 4
    assert members(inventory, "vc_state_running")[:2] == ["compute0.vc1", "compute1.vc1"]


def test_constructed(site: Site) -> None:
    inventory = site.inventory(
        strict=True,
        compose={"site_label": "vc_owner ~ '@' ~ vc_host"},
        groups={"labelled": "site_label == 'labuser@hv1'"},
        keyed_groups=[{"key": "vc_host", "prefix": "on", "default_value": "nowhere"}],
    )
    assert inventory.get_host("compute1.vc1").vars["site_label"] == "labuser@hv2"
    assert members(inventory, "labelled") == ["compute0.vc1"]
    assert members(inventory, "on_hv2") == ["compute1.vc1"]
    assert members(inventory, "on_nowhere") == ["compute2.vc1"]


@pytest.mark.parametrize(
    "options",
    [{"compose": {"a": "nothing.there"}}, {"groups": {"a": "nothing.there"}}, {"keyed_groups": [{"key": "nothing.there", "prefix": "a"}]}],
)
def test_strict(site: Site, options: dict[str, Any], warnings: list[str]) -> None:
    assert len(site.inventory(**options).hosts) == 4
    assert "nothing" in refused(site, warnings, strict=True, **options)


def test_words_of_others_are_no_templates(site: Site) -> None:
    evil = "{{ 'carried' ~ 'out' }}"
    made = cluster(owner=evil, members=["labuser"])
    site.vault(entry(made, {**lease("compute0"), "holder": {**lease("compute0")["holder"], "host": evil}}))
    site.slurm(job(nodes="compute0"))
    inventory = site.inventory(
        compose={"site_copy": "vc_host"}, keyed_groups=[{"key": "vc_owner", "prefix": "owner"}], groups={"a": "vc_host"}
    )
    host = inventory.get_host("compute0.vc1")
    variables = VariableManager(loader=DataLoader(), inventory=inventory).get_vars(host=host)
    templar = Templar(loader=DataLoader(), variables=variables)
    for name in ("vc_owner", "vc_host", "site_copy"):
        assert templar.template(variables[name]) == evil
    assert "carriedout" not in json.dumps(host.vars)
    assert not [name for name in inventory.groups if "carriedout" in name]


@pytest.mark.parametrize(
    ("where", "value"),
    [
        ("address", "10.0.0.1 -o ProxyCommand=id"),
        ("address", "$(id)"),
        ("name", "-oProxyCommand=id"),
        ("name", "a.b"),
        ("role", "vault"),
        ("public", {"address": "192.0.2.1;id"}),
    ],
)
def test_a_vault_cannot_put_words_into_ssh(site: Site, where: str, value: Any, warnings: list[str]) -> None:
    made = cluster()
    made["nodes"][0][where] = value
    if where == "role":
        made["nodes"][0]["public"] = None
    site.vault(entry(made))
    assert "making hosts of its answer failed" in refused(site, warnings)


# cache


def test_the_cache_is_used_and_not_rewritten(site: Site) -> None:
    first = site.inventory(**site.cached())
    assert len(site.calls()) == 3
    kept = site.cache_file()
    os.utime(kept, (0, time.time() - 100))
    before = (kept.stat().st_mtime_ns, kept.read_bytes())
    second = site.read()
    assert len(site.calls()) == 3
    assert (kept.stat().st_mtime_ns, kept.read_bytes()) == before
    for name, host in first.hosts.items():
        assert {**second.hosts[name].vars, "vc_left_seconds": 0} == {**host.vars, "vc_left_seconds": 0}


def test_the_cache_holds_what_sources_said(site: Site) -> None:
    site.inventory(**site.cached())
    assert set(site.kept()["raw"]) == {"read_at", "vault", "slurm", "libvirt"}
    changed = site.inventory(**site.cached(compose={"site_label": "'new'"}))
    assert changed.get_host("compute0.vc1").vars["site_label"] == "new"
    assert len(site.calls()) == 3


def test_walltime_goes_on_in_the_cache(site: Site) -> None:
    site.inventory(**site.cached())
    kept = site.kept()
    kept["raw"]["read_at"] -= 1000
    site.keep(kept)
    assert site.read().get_host("compute0.vc1").vars["vc_left_seconds"] in range(2580, 2601)


def test_an_expired_cache_is_renewed(site: Site) -> None:
    site.inventory(**site.cached())
    os.utime(site.cache_file(), (0, time.time() - 601))
    site.slurm()
    assert site.read().get_host("compute0.vc1").vars["vc_computeset"] == ""
    assert len(site.calls()) == 6
    assert time.time() - site.cache_file().stat().st_mtime < 60


def test_asking_past_the_cache_renews_it(site: Site) -> None:
    site.inventory(**site.cached())
    site.slurm()
    assert site.read(cache=False).get_host("compute0.vc1").vars["vc_computeset"] == ""
    assert site.read().get_host("compute0.vc1").vars["vc_computeset"] == ""
    assert len(site.calls()) == 6


@pytest.mark.parametrize("damage", ["other sources", "schema", "raw", "no json"])
def test_a_cache_that_is_of_no_use_is_a_miss(site: Site, damage: str) -> None:
    site.inventory(**site.cached())
    kept = site.kept()
    if damage == "other sources":
        kept["sources"] = "x"
    elif damage == "schema":
        kept["schema"] = 0
    else:
        kept["raw"] = {"read_at": 5}
    site.keep(kept)
    if damage == "no json":
        site.cache_file().write_text("{")
    assert len(site.read().hosts) == 4
    assert len(site.calls()) == 6


# sources that are away


@pytest.mark.parametrize("kind", ["vault", "slurm", "libvirt"])
def test_a_source_that_is_away_is_an_error_that_names_it(site: Site, kind: str, warnings: list[str]) -> None:
    (site.directory / kind).unlink()
    said = refused(site, warnings)
    assert f"source {kind} (this machine): asking it failed: " in said
    assert "No such file" in said
    assert "Remedy: run by hand: sh -c" in said


def test_all_that_are_away_are_named(site: Site, warnings: list[str]) -> None:
    for kind in ("vault", "libvirt"):
        (site.directory / kind).unlink()
    said = refused(site, warnings)
    assert "source vault" in said
    assert "no answer from source libvirt" in said


@pytest.mark.parametrize(
    "answer",
    ["", "[]", "{}", "null", '{"clusters": 5}', '{"clusters": {"vc1": {}}}', '{"clusters": {"vc1": {"cluster": {}, "leases": {}}}}'],
)
def test_an_answer_that_is_none(site: Site, answer: str, warnings: list[str]) -> None:
    site.say("vault", answer)
    assert "source vault" in refused(site, warnings)


def test_a_source_that_does_not_answer(site: Site, warnings: list[str]) -> None:
    sources = {"vault": {"local": True, "command": ["sleep", "30"]}}
    assert "no answer within 1 s" in refused(site, warnings, sources=sources, source_timeout=1)


@pytest.mark.parametrize("kind", ["vault", "slurm", "libvirt"])
def test_stale_shows_what_was_last(site: Site, kind: str, warnings: list[str]) -> None:
    site.inventory(**site.cached(on_source_failure="stale"))
    kept = site.cache_file()
    os.utime(kept, (0, time.time() - 5000))
    before = (kept.stat().st_mtime_ns, kept.read_bytes())
    (site.directory / kind).unlink()
    for _again in range(2):
        inventory = site.read()
        assert len(inventory.hosts) == 4
        assert all(host.vars["vc_stale"] is True for host in inventory.hosts.values())
        assert members(inventory, "vc1__sim") == ["compute0.vc1", "compute1.vc1"]
    # An old view must not become a fresh one.
    assert (kept.stat().st_mtime_ns, kept.read_bytes()) == before
    assert len([text for text in warnings if f"source {kind}" in text and "vc_stale" in text]) == 2


def test_stale_is_over_when_the_source_is_back(site: Site) -> None:
    site.inventory(**site.cached(on_source_failure="stale"))
    os.utime(site.cache_file(), (0, time.time() - 5000))
    assert all(host.vars["vc_stale"] is False for host in site.read().hosts.values())


def test_a_nonsense_answer_does_not_replace_what_was_good(site: Site) -> None:
    site.inventory(**site.cached(on_source_failure="stale"))
    os.utime(site.cache_file(), (0, time.time() - 5000))
    site.say("vault", {"clusters": {"vc1": {"cluster": {"nodes": [{}]}, "leases": {}}}})
    assert site.read().get_host("compute0.vc1").vars["vc_stale"] is True
    assert site.read().get_host("compute0.vc1").vars["vc_stale"] is True


def test_stale_needs_something_to_show(site: Site, warnings: list[str]) -> None:
    (site.directory / "vault").unlink()
    assert "nothing was read before" in refused(site, warnings, **site.cached(on_source_failure="stale"))
    for options in ({}, {"cache": True, "cache_plugin": "memory"}):
        assert "set cache: true and a cache_plugin that keeps files" in refused(site, warnings, on_source_failure="stale", **options)


# the file


@pytest.mark.parametrize(
    ("sources", "says"),
    [
        ({}, "sources.vault"),
        ({"slurm": {"local": True}}, "sources.vault"),
        ({"vault": {"local": True}, "slrum": {}}, "sources.slrum"),
        ({"vault": {}}, "sources.vault"),
        ({"vault": {"host": "nas", "local": True}}, "exactly one of host and local"),
        ({"vault": {"user": "root"}}, "exactly one of host and local"),
        ({"vault": {"host": "-oProxyCommand=id"}}, "sources.vault.host"),
        ({"vault": {"host": "nas", "hots": 1}}, "sources.vault.hots"),
        ({"vault": {"host": "nas", "port": "22"}}, "sources.vault.port"),
        ({"vault": {"host": "nas", "ssh_args": "-4"}}, "sources.vault.ssh_args"),
        ({"vault": {"local": True}, "libvirt": {"host": "fe1"}}, "sources.libvirt"),
        ({"vault": {"local": True}, "libvirt": ["fe1"]}, "sources.libvirt[0]"),
    ],
)
def test_what_is_wrong_in_the_file_is_named(site: Site, sources: dict[str, Any], says: str, warnings: list[str]) -> None:
    said = refused(site, warnings, sources=sources)
    assert says in said
    assert "Remedy: " in said


def test_other_files_are_left_to_others(site: Site) -> None:
    site.write()
    plugin = vc_nodes.InventoryModule()
    assert plugin.verify_file(str(site.path))
    other = site.directory / "hosts.yml"
    other.write_text("all: {}\n", encoding="utf-8")
    assert not plugin.verify_file(str(other))
    assert not plugin.verify_file(str(site.directory / "missing.vc_nodes.yml"))


def test_errors_are_parser_errors(site: Site, warnings: list[str]) -> None:
    assert f"AnsibleParserError: {FQCN}: sources" in refused(site, warnings, sources={})


def test_ansible_finds_the_plugin_by_its_name(site: Site) -> None:
    site.write(groups={"busy": "vc_computeset != ''"})
    program = str(pathlib.Path(sys.executable).parent / "ansible-inventory")
    argv = [program, "-i", str(site.path), "--list"]
    settings = {"ANSIBLE_NOCOLOR": "1", "ANSIBLE_LOCALHOST_WARNING": "0", "ANSIBLE_INVENTORY_UNPARSED_WARNING": "0"}
    done = subprocess.run(argv, env={**os.environ, **settings}, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["busy"]["hosts"] == ["compute0.vc1", "compute1.vc1"]
    assert "WARNING" not in done.stderr, done.stderr
