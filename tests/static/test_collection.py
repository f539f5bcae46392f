# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The collection as others take it: its documentation, its artifact, what an execution environment needs, its roles' variables."""

from __future__ import annotations

import pathlib
import re
import sys
import tarfile
from typing import Any

import pytest
import yaml

from tests.static import docs_site
from tests.static.checker import COLLECTIONS, ROOT, check

ROLES = sorted(path.name for path in (ROOT / "roles").iterdir() if path.is_dir())
# A host's own, without which it cannot take part; other hosts of the role do not have them.
OF_SOME_HOSTS = {
    "slurm_controller": {"slurm_controller_cpus", "slurm_controller_memory_mib"},
    "vault": {"vault_client_address"},
}


def test_plugin_documentation() -> None:
    references = ["--validate-collection-refs", "all", "--disallow-unknown-collection-refs"]
    check("antsibull-docs", "lint-collection-docs", "--plugin-docs", *references, ".", ANSIBLE_COLLECTIONS_PATH=str(COLLECTIONS))


def test_documentation_site(tmp_path: pathlib.Path) -> None:
    first = docs_site.build(tmp_path, check)
    for plugin in (ROOT / "plugins" / "modules").glob("*.py"):
        assert f"{plugin.stem}_module.html" in first.read_text(encoding="utf-8")


def test_the_artifact_is_accepted(artifact: pathlib.Path) -> None:
    # test_lint.py has run ansible-lint on the same files, with a stricter profile.
    said = check(sys.executable, "-m", "galaxy_importer.main", artifact.name, cwd=artifact.parent, GALAXY_IMPORTER_RUN_ANSIBLE_LINT="no")
    assert "Importer processing completed successfully" in said
    assert not re.findall(r"(?m)^(?:WARNING|ERROR).*", said)


def test_what_is_only_for_a_clone_is_not_released(artifact: pathlib.Path) -> None:
    with tarfile.open(artifact) as archive:
        names = [member.name for member in archive if member.isfile()]
    files = {"CHANGELOG.md", "COPYING", "FILES.json", "MANIFEST.json", "README.md", "execution-environment.yml"}
    directories = {"LICENSES", "changelogs", "docs", "inventory.example", "meta", "playbooks", "plugins", "roles", "tests"}
    assert {name.partition("/")[0] for name in names} == files | directories
    assert [name for name in names if name.startswith("tests/")] == ["tests/config.yml"]


def test_an_execution_environment_gets_what_the_collection_needs() -> None:
    found = yaml.safe_load(check("ansible-builder", "introspect", str(COLLECTIONS)))
    needs = (ROOT / "meta" / "ee-bindep.txt").read_text(encoding="utf-8").splitlines()
    assert [line.partition("  #")[0] for line in found["system"]] == needs
    assert found["python"] == []


def test_an_execution_environment_finds_the_artifact(artifact: pathlib.Path, tmp_path: pathlib.Path) -> None:
    definition = artifact.parent / "execution-environment.yml"
    definition.write_text((ROOT / definition.name).read_text(encoding="utf-8"), encoding="utf-8")
    check("ansible-builder", "create", "-f", str(definition), "-c", str(tmp_path / "context"), cwd=artifact.parent)
    # As the first stage of the image does it, in the directory that it copies.
    install = ["ansible-galaxy", "collection", "install", "--offline", "-r", "requirements.yml", "--collections-path", str(tmp_path)]
    check(*install, cwd=tmp_path / "context" / "_build", ANSIBLE_COLLECTIONS_PATH=str(tmp_path))
    assert (tmp_path / "ansible_collections" / "hpc" / "virtual_cluster" / "MANIFEST.json").is_file()


def test_an_execution_environment_has_the_pinned_ansible() -> None:
    wanted = loaded(ROOT / "execution-environment.yml")["dependencies"]["ansible_core"]["package_pip"]
    assert f"{wanted} ;" in (ROOT / "requirements-dev.txt").read_text(encoding="utf-8")


@pytest.mark.parametrize("role", ROLES)
def test_role_variables_are_specified(role: str) -> None:
    directory = ROOT / "roles" / role
    options = loaded(directory / "meta" / "argument_specs.yml")["argument_specs"]["main"]["options"]
    defaults = loaded(directory / "defaults" / "main.yml")
    required = {name for name, option in options.items() if option.get("required")}
    assert set(options) - required - OF_SOME_HOSTS.get(role, set()) == set(defaults)
    stated = {name: option["default"] for name, option in options.items() if "default" in option}
    assert stated == {name: defaults[name] for name in stated}, "what the specification says is not what the role takes"
    assert not [name for name, option in options.items() if not option.get("description")]


@pytest.mark.parametrize("role", ROLES)
def test_role_variables_are_known(role: str) -> None:
    directory = ROOT / "roles" / role
    options = set(loaded(directory / "meta" / "argument_specs.yml")["argument_specs"]["main"]["options"])
    files = [path for part in ("tasks", "handlers", "templates", "vars") for path in sorted((directory / part).glob("*"))]
    text = "\n".join(path.read_text(encoding="utf-8") for path in files)
    # Not names of files.
    read = set(re.findall(rf"(?<![\w./-]){role}_\w+(?!\w|\(|\.j2)", text))
    made = set(re.findall(rf"(?m)^\s*(?:-\s+)?({role}_\w+):", text)) | set(re.findall(r"(?m)^\s+register: (\w+)", text))
    assert read - made - options == set()
    everywhere = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "roles").glob("*/*/*") if path.parent.name != "meta")
    unused = {
        name for name in options if len(re.findall(rf"\b{name}\b", everywhere)) < (1 if name not in loaded_defaults(directory) else 2)
    }
    assert unused == set()


def loaded_defaults(directory: pathlib.Path) -> dict[str, Any]:
    return loaded(directory / "defaults" / "main.yml")


def loaded(path: pathlib.Path) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return content
