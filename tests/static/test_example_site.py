# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""inventory.example/ and the commands of docs/production.md are what playbooks and roles take."""

from __future__ import annotations

import base64
import ipaddress
import json
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys
from typing import Any

import pytest
import yaml
from ansible.vars.reserved import get_reserved_names
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.inventory import source
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.model import definition, noderange, units

from tests.static.checker import COLLECTIONS, ROOT, check, environment

EXAMPLE = ROOT / "inventory.example"
PRODUCTION, DEFINITION = ((ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8") for name in ("production", "definition"))
PLAYBOOKS = sorted((ROOT / "playbooks").glob("*.yml"))
ROLES = sorted(path.name for path in (ROOT / "roles").iterdir() if path.is_dir())
QUIET = {"ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS), "ANSIBLE_LOCALHOST_WARNING": "0", "ANSIBLE_NOCOLOR": "1", "ANSIBLE_FORKS": "4"}
# Facts are gathered before a role is; those of this machine do.
HERE = ["-e", json.dumps({"ansible_connection": "local", "ansible_python_interpreter": sys.executable})]
# Roles check their arguments whatever tags are asked for; nothing else of them runs.
ARGUMENTS_ONLY = ["--tags", "arguments_only"]
NEW_SLURM = {
    "slurm_controller": {"hosts": {"login1": None}},
    "hypervisors": {"vars": {"slurm_controller_cpus": 64, "slurm_controller_memory_mib": 250000}},
}


def commands() -> list[str]:
    """Every command line that these pages tell to type, with the example in place of the reader's own inventory."""
    text = PRODUCTION + DEFINITION
    blocks = [text for kind, text in re.findall(r"(?ms)^```(\w*)\n(.*?)^```$", text) if not kind]
    blocks += re.findall(r"`(ansible-playbook [^`]+)`", text)
    lines = [line for block in blocks for line in block.splitlines() if re.match(r"ansible-playbook .*hpc\.virtual_cluster\.", line)]
    return list(dict.fromkeys(re.sub(r"-i (INVENTORY|mine\.yml)", f"-i {EXAMPLE.name}", line) for line in lines))


@pytest.mark.parametrize("command", commands())
def test_commands_of_the_documentation_are_understood(command: str) -> None:
    said = check(*shlex.split(command), "--syntax-check", **QUIET, ANSIBLE_INVENTORY=str(EXAMPLE))
    assert "WARNING" not in said


def test_every_playbook_is_understood() -> None:
    said = check("ansible-playbook", "--syntax-check", "-i", str(EXAMPLE), *map(str, PLAYBOOKS), **QUIET)
    assert "WARNING" not in said
    assert len(re.findall(r"(?m)^playbook: ", said)) == len(PLAYBOOKS)


def test_groups_are_those_of_the_documentation() -> None:
    listed = json.loads(check("ansible-inventory", "-i", str(EXAMPLE), "--list", **QUIET))
    assert set(listed) - {"all", "_meta"} | {"slurm_controller"} == set(
        re.findall(r"(?m)^\| `(\w+)` \| [^|]* \| [^|]* \|$", PRODUCTION.split("## Variables")[0])
    )
    variables: dict[str, dict[str, Any]] = listed["_meta"]["hostvars"]
    assert not {name for given in variables.values() for name in given if name.startswith(tuple(f"{role}_" for role in ROLES))} - known()


def known() -> set[str]:
    specifications = [yaml.safe_load((ROOT / "roles" / role / "meta/argument_specs.yml").read_text(encoding="utf-8")) for role in ROLES]
    return {name for specification in specifications for name in specification["argument_specs"]["main"]["options"]}


def site(inventory: pathlib.Path, *more: str) -> subprocess.CompletedProcess[str]:
    """Have playbook site check the arguments of its roles against this inventory."""
    argv = ["ansible-playbook", "-i", str(inventory), *more, str(ROOT / "playbooks" / "site.yml"), *ARGUMENTS_ONLY, *HERE]
    return subprocess.run(argv, cwd=ROOT, env=environment(**QUIET), capture_output=True, text=True, check=False)


def test_the_example_satisfies_every_role(tmp_path: pathlib.Path) -> None:
    more = tmp_path / "new_slurm.yml"
    more.write_text(yaml.safe_dump(NEW_SLURM), encoding="utf-8")
    done = site(EXAMPLE, "-i", str(more))
    assert done.returncode == 0, done.stdout + done.stderr
    checked = dict(re.findall(r"TASK \[hpc\.virtual_cluster\.(\w+) : Validating arguments [^\n]*\n(\w+): ", done.stdout))
    assert checked == dict.fromkeys(ROLES, "ok")
    assert "changed=1" not in done.stdout


def test_without_a_required_variable_nothing_begins(tmp_path: pathlib.Path) -> None:
    copy = shutil.copytree(EXAMPLE, tmp_path / "inventory")
    file = copy / "group_vars" / "overlay_hosts.yml"
    file.write_text(re.sub(r"(?m)^overlay_host_interface:.*\n", "", file.read_text(encoding="utf-8")), encoding="utf-8")
    done = site(copy, "--limit", "node001,nas1")
    assert done.returncode != 0
    assert "missing required arguments: overlay_host_interface" in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("host", "tag", "refusal"),
    [
        ("nas1", "agent", "nothing of the collection"),
        ("login1", "fabric", "no OpenSM"),
        ("login1", "slurm", "no Slurm"),
        # Without its controller, which --limit leaves out.
        ("node001", "slurm", "no Slurm"),
    ],
)
def test_check_mode_refuses_a_host_that_was_never_converged(tmp_path: pathlib.Path, host: str, tag: str, refusal: str) -> None:
    # Such as this machine, on behalf of the example's.
    more = tmp_path / "new_slurm.yml"
    more.write_text(yaml.safe_dump(NEW_SLURM), encoding="utf-8")
    inventories = ["-i", str(EXAMPLE), "-i", str(more)]
    argv = ["ansible-playbook", "--check", *inventories, "--limit", host, "--tags", tag, str(ROOT / "playbooks" / "site.yml"), *HERE]
    done = subprocess.run(argv, cwd=ROOT, env=environment(**QUIET), capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert f"{host} has {refusal} yet" in done.stdout + done.stderr
    assert re.findall(r"changed=(\d+) +unreachable=0 +failed=(\d)", done.stdout) == [("0", "1")]


CONTROLLER_FAILS = """
- hosts: login1:node001
  gather_facts: false
  tags: always
  tasks:
    - ansible.builtin.fail:
        msg: the reason
      when: inventory_hostname == "login1"
- ansible.builtin.import_playbook: {site}
"""


def test_without_its_controller_slurm_is_not_touched_and_the_last_error_says_so(tmp_path: pathlib.Path) -> None:
    more, play = tmp_path / "new_slurm.yml", tmp_path / "play.yml"
    more.write_text(yaml.safe_dump(NEW_SLURM), encoding="utf-8")
    play.write_text(CONTROLLER_FAILS.format(site=ROOT / "playbooks" / "site.yml"), encoding="utf-8")
    argv = ["ansible-playbook", "--check", "-i", str(EXAMPLE), "-i", str(more), "--tags", "slurm", str(play), *HERE]
    done = subprocess.run(argv, cwd=ROOT, env=environment(**QUIET), capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "login1, which gets Slurm's controller, has failed before" in re.findall(r"(?m)^fatal: .*", done.stdout)[-1]
    begun = re.findall(r"virtual_cluster\.(slurm_\w+) : ([A-Z]\w+)", done.stdout)
    assert begun == [("slurm_controller", "Validating"), ("slurm_controller", "Refuse")]


VAULT = """
- hosts: nas1
  gather_facts: false
  vars_files: [{role}/defaults/main.yml, {role}/vars/Debian.yml, {role}/vars/main.yml]
  tasks:
    - ansible.builtin.copy:
        content: "{{{{ vault_key_lines | to_json }}}}"
        dest: "{dest}"
"""


# By how a host's name begins.
ALLOWED = {"no": "guests", "fe": "frontends-and-gate", "lo": "gate"}


def test_keys_are_good_from_the_address_by_which_a_host_comes(tmp_path: pathlib.Path) -> None:
    key = base64.b64encode(b"ssh-ed25519 AAAA its own").decode()
    given = {"agent_vault_key": {"content": key}}
    play, lines = tmp_path / "play.yml", tmp_path / "lines.json"
    play.write_text(VAULT.format(role=ROOT / "roles" / "vault", dest=lines), encoding="utf-8")
    check("ansible-playbook", "-i", str(EXAMPLE), str(play), *HERE, "-e", json.dumps(given), **QUIET)
    found = {re.findall('--host ([^ "]+)', line)[0]: line for line in json.loads(lines.read_text(encoding="utf-8"))}
    inventory = json.loads(check("ansible-inventory", "-i", str(EXAMPLE), "--list", **QUIET))["_meta"]["hostvars"]
    assert set(found) == {"node001", "node002", "node003", "node004", "fe1", "fe2", "login1"}
    for host, line in found.items():
        address = inventory[host]["vault_client_address"]
        assert ipaddress.ip_address(address) in ipaddress.ip_network("203.0.113.0/24")
        command = f"/usr/lib/hpc-virtual-cluster/bin/vc-vault serve --host {host} --allow {ALLOWED[host[:2]]}"
        assert line.startswith(f'restrict,from="{address}",command="{command}"')


@pytest.mark.parametrize("address", ["node002.example.org", "203.0.113.300", '::1",command="sh'])
def test_a_client_without_an_address_is_refused_before_anything_is_written(tmp_path: pathlib.Path, address: str) -> None:
    """sshd would compare the name with nothing, and keep the host out without a word."""
    copy = shutil.copytree(EXAMPLE, tmp_path / "inventory")
    hosts = copy / "hosts.yml"
    hosts.write_text(hosts.read_text(encoding="utf-8").replace("203.0.113.12", json.dumps(address)), encoding="utf-8")
    play = tmp_path / "play.yml"
    play.write_text(yaml.safe_dump([{"hosts": "vault", "gather_subset": ["!all", "min"], "roles": ["hpc.virtual_cluster.vault"]}]))
    argv = ["ansible-playbook", "--check", "-i", str(copy), str(play), *HERE]
    done = subprocess.run(argv, cwd=ROOT, env=environment(**QUIET), capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert f"node002: {address} is no address" in done.stdout.replace('\\"', '"')
    assert re.findall(r"changed=(\d+) +unreachable=0 +failed=(\d)", done.stdout) == [("0", "1")]


def test_a_client_that_is_there_for_nothing_is_refused_before_anything_is_written(tmp_path: pathlib.Path) -> None:
    play = tmp_path / "play.yml"
    play.write_text(yaml.safe_dump([{"hosts": "vault", "gather_subset": ["!all", "min"], "roles": ["hpc.virtual_cluster.vault"]}]))
    given = json.dumps({"vault_clients": ["node001", "nas1"]})
    argv = ["ansible-playbook", "--check", "-i", str(EXAMPLE), str(play), *HERE, "-e", given]
    done = subprocess.run(argv, cwd=ROOT, env=environment(**QUIET), capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "nas1: in vault_clients, and in none of the groups hypervisors, frontend_hosts and gates" in done.stdout
    assert re.findall(r"changed=(\d+) +unreachable=0 +failed=(\d)", done.stdout) == [("0", "1")]


def test_the_examples_virtual_clusters_are_accepted() -> None:
    file = EXAMPLE / "group_vars" / "all" / "vc_clusters.yml"
    data = yaml.safe_load(file.read_text(encoding="utf-8"))
    clusters = {item["name"]: definition.parse(item) for item in data["vc_clusters"]}
    hosts = yaml.safe_load((EXAMPLE / "hosts.yml").read_text(encoding="utf-8"))
    for cluster in clusters.values():
        assert {node.host for node in cluster.nodes if node.role == "frontend"} <= set(hosts["frontend_hosts"]["hosts"])
    for wish in data["vc_computesets"]:
        computes = {node.name for node in clusters[wish["cluster"]].nodes if node.role == "compute"}
        assert set(noderange.expand(wish["nodes"])) <= computes
        units.parse_duration(wish["walltime"])


FRONTEND = {"name": "vc1", "owner": "labuser", "account": "physics", "frontend": {"host": "fe1"}}
REFUSED = [
    (
        {"vc_clusters": [{**FRONTEND, "frontend": {"host": "fe1.example.org"}}]},
        r"vc1 frontend\.host fe1\.example\.org: .*use one of fe1, fe2",
    ),
    ({"vc_clusters": [FRONTEND, {**FRONTEND, "name": "vc2"}, FRONTEND]}, "vc1: vc_clusters defines it 2 times"),
    ({"vc_clusters": [{**FRONTEND, "colour": "red"}]}, "vc1: colour in vc_clusters means nothing"),
    (
        {"vc_clusters": [FRONTEND], "vc_computesets": [{"cluster": "vc1", "name": "a", "host": "n1"}]},
        "vc1/a: host in vc_computesets means nothing",
    ),
    ({"vc_clusters": [FRONTEND], "vc_computesets": [{"cluster": "vc2", "name": "a"}]}, "vc2/a: vc_clusters has no cluster vc2"),
]


@pytest.mark.parametrize(("wish", "refusal"), REFUSED, ids=["host", "twice", "word", "word of a set", "set"])
def test_a_wish_that_would_come_to_nothing_is_refused_before_the_first_module(wish: dict[str, Any], refusal: str) -> None:
    argv = [
        "ansible-playbook",
        "-i",
        str(EXAMPLE),
        "-e",
        json.dumps(wish),
        "--tags",
        "networks",
        str(ROOT / "playbooks" / "comet.yml"),
        *HERE,
    ]
    done = subprocess.run(argv, cwd=ROOT, env=environment(**QUIET), capture_output=True, text=True, check=False)
    said = " ".join((done.stdout + done.stderr).split())
    assert re.search(refusal, said), said
    assert re.findall(r"changed=(\d+) +unreachable=0 +failed=(\d)", said) == [("0", "1")]
    assert "Define virtual clusters" not in said


def test_sets_are_handed_on_with_all_that_the_module_takes() -> None:
    plays = yaml.safe_load((ROOT / "playbooks" / "comet.yml").read_text(encoding="utf-8"))
    (task,) = [task for play in plays for task in play["tasks"] if "hpc.virtual_cluster.vc_computeset" in task]
    (known,) = [
        task["vars"]["known"] for play in plays for task in play["tasks"] if "with a word" in task["name"] and "computeset" in task["name"]
    ]
    module = yaml.safe_load((ROOT / "plugins/modules/vc_computeset.py").read_text(encoding="utf-8").split('r"""')[1].split('"""')[0])
    of_machines = {"vms", "cpus", "memory", "ssh_authorized_keys"}
    assert set(known) == set(task["hpc.virtual_cluster.vc_computeset"]) == set(module["options"]) - of_machines


@pytest.mark.parametrize("name", ["site", "comet"])
def test_the_documented_tags_are_those_of_the_playbook(name: str) -> None:
    listed = check("ansible-playbook", "--list-tags", "-i", str(EXAMPLE), str(ROOT / "playbooks" / f"{name}.yml"), **QUIET)
    tags = {tag for line in re.findall(r"TAGS: \[(.*)\]", listed) for tag in re.split(r",\s*", line) if tag} - {"always"}
    assert tags == set(re.findall(r"`(\w+)`", re.findall(rf"(?s)`{name}` takes (?:tags )?(.*?)[.;]", PRODUCTION)[0]))


@pytest.mark.parametrize("playbook", PLAYBOOKS, ids=lambda path: path.stem)
def test_no_variable_has_a_name_of_ansibles_own(playbook: pathlib.Path) -> None:
    asked = set(re.findall(r"(?<![.\w])(\w+)(?: is defined| \| default\()", playbook.read_text(encoding="utf-8")))
    assert not asked & set(get_reserved_names())


def test_the_documented_inventory_of_nodes_is_accepted() -> None:
    (block,) = [block for block in re.findall(r"(?ms)^```yaml\n(.*?)^```", PRODUCTION) if "hpc.virtual_cluster.vc_nodes" in block]
    asked = source.parse(yaml.safe_load(block)["sources"], os.fspath(ROOT))
    assert [one.kind for one in asked] == ["vault", "slurm", "libvirt"]
