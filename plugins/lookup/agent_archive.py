# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Packs what the roles put onto hosts: our programs, units, and other small files."""

from __future__ import annotations

DOCUMENTATION = r"""
name: agent_archive
short_description: Pack programs and small files for hosts
version_added: "0.1.0"
author:
  - hpc.virtual_cluster contributors (@hpc-virtual-cluster)
description:
  - Builds, on the controller, an archive (C(tar)) with the collection's own Python package in a directory named by its content and the
    launchers of its programs, or with files whose text is given, or with both.
  - Unpacked into C(/) with M(ansible.builtin.unarchive) it is one task for any number of files, however many hosts there are.
  - The same input always makes the same bytes, so a second run finds nothing to unpack.
options:
  _terms:
    description:
      - Names of the programs to make launchers for. With none, the archive has neither launchers nor the package.
    type: list
    elements: str
    choices: [vc-prolog, vc-epilog, vc-job, vc-agent, vc-host, vc-flush, vc-vault, vc-overlay, vc-probe, vc-gate,
      vc-gate-helper]
  python:
    description:
      - Absolute path of the hosts' own Python, 3.9 or newer.
    type: str
    default: /usr/bin/python3
  files:
    description:
      - More files. Nothing secret belongs here, the archive lies in the controller's temporary directory.
    type: list
    elements: dict
    default: []
    suboptions:
      path:
        description: Absolute path on the host. Directories on the way to it are made.
        type: str
        required: true
      content:
        description: The file's text.
        type: str
        required: true
      mode:
        description: Permissions, octal.
        type: str
        default: "0644"
"""

EXAMPLES = r"""
- name: Install the programs of a vault host
  ansible.builtin.unarchive:
    src: "{{ lookup('hpc.virtual_cluster.agent_archive', 'vc-vault') }}"
    dest: /
    owner: root
    group: root

- name: Write two units at once
  ansible.builtin.unarchive:
    src: "{{ lookup('hpc.virtual_cluster.agent_archive', files=units) }}"
    dest: /
    owner: root
    group: root
  vars:
    units:
      - {path: /etc/systemd/system/a.service, content: "{{ lookup('ansible.builtin.template', 'a.service.j2') }}"}
      - {path: /etc/systemd/system/b.socket, content: "{{ lookup('ansible.builtin.template', 'b.socket.j2') }}"}
"""

RETURN = r"""
_raw:
  description:
    - The archive's path on the controller, one element. It is gone when the run ends.
  type: list
  elements: path
"""

import hashlib
import io
import os
import tarfile
import tempfile
from pathlib import Path, PurePosixPath

from ansible import constants as C
from ansible.errors import AnsibleLookupError
from ansible.plugins.lookup import LookupBase

PACKAGE = "virtual_cluster"
HOME = "usr/lib/hpc-virtual-cluster"
CONFIGURATION = "etc/hpc-virtual-cluster"
# Needs Ansible, which hosts do not have.
NOT_ON_HOSTS = "module_runner.py"
PROGRAMS = {
    "vc-prolog": "agent.prolog",
    "vc-epilog": "agent.epilog",
    "vc-job": "agent.job",
    "vc-agent": "agent.runner",
    "vc-host": "agent.host",
    "vc-flush": "agent.flush",
    "vc-vault": "vault.command",
    "vc-overlay": "overlay.command",
    "vc-probe": "agent.probe",
    "vc-gate": "gate.front",
    "vc-gate-helper": "gate.helper",
}
LAUNCHER = """#!{python} -I
import sys

sys.path.insert(0, "/{home}/{release}")
from {package}.{module} import main

raise SystemExit(main(sys.argv[1:]))
"""
# Any fixed moment would do.
TAR_TIME = 315532800


def package_files(source):
    """The Python files below `source` as package `virtual_cluster`: what is in them, by name."""
    names = {path.relative_to(source).as_posix(): path for path in source.rglob("*.py") if path.name != NOT_ON_HOSTS}
    return {f"{PACKAGE}/__init__.py": b"", **{f"{PACKAGE}/{name}": path.read_bytes() for name, path in names.items()}}


def release_of(package):
    """A directory's name that tells what is in it."""
    digest = hashlib.sha256()
    for name in sorted(package):
        digest.update(f"{name} {len(package[name])}\n".encode() + package[name])
    return f"{PACKAGE}-{digest.hexdigest()[:16]}"


def host_tar(package, programs, python, files):
    """Everything with its place on a host: bytes of a tar file.

    The name of the package's directory tells what is in it. A program that runs for days goes on reading the one that it was started
    from, and one that starts while a new release comes finds either the old one or the new one, never a half of it: launchers are last.
    """
    release = release_of(package)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:

        def add(name, kind, mode, content=b""):
            info = tarfile.TarInfo(name)
            info.type, info.mode, info.mtime, info.size = kind, mode, TAR_TIME, len(content)
            info.uname = info.gname = "root"
            archive.addfile(info, io.BytesIO(content))

        if programs:
            places = {parent.as_posix() for name in package for parent in PurePosixPath(release, name).parents}
            for directory in (CONFIGURATION, HOME, f"{HOME}/bin", *(f"{HOME}/{place}" for place in sorted(places - {"."}))):
                add(directory, tarfile.DIRTYPE, 0o755)
            for name in sorted(package):
                add(f"{HOME}/{release}/{name}", tarfile.REGTYPE, 0o644, package[name])
        for program in sorted(set(programs)):
            text = LAUNCHER.format(python=python, home=HOME, release=release, package=PACKAGE, module=PROGRAMS[program])
            add(f"{HOME}/bin/{program}", tarfile.REGTYPE, 0o755, text.encode())
        for path, mode, text in files:
            add(path.lstrip("/"), tarfile.REGTYPE, mode, text.encode())
    return buffer.getvalue()


def checked(item):
    """(path, mode, text) of one of the files asked for."""
    try:
        path, text, mode = item["path"], item["content"], int(item.get("mode", "0644"), 8)
    except (KeyError, TypeError, ValueError) as error:
        raise AnsibleLookupError(
            f"agent_archive: a file needs path, content and perhaps an octal mode: {error!r} in {item!r:.200}"
        ) from error
    if not path.startswith("/") or ".." in path.split("/"):
        raise AnsibleLookupError(f"agent_archive: {path!r} is not an absolute path")
    return path, mode, text


class LookupModule(LookupBase):
    """See DOCUMENTATION."""

    def run(self, terms, variables=None, **kwargs):
        self.set_options(var_options=variables, direct=kwargs)
        unknown = sorted(set(terms) - set(PROGRAMS))
        if unknown:
            raise AnsibleLookupError(f"agent_archive: {unknown[0]!r} is not a program of this collection; there are {', '.join(PROGRAMS)}")
        package = package_files(Path(__file__).resolve().parent.parent / "module_utils") if terms else {}
        content = host_tar(package, terms, self.get_option("python"), [checked(item) for item in self.get_option("files")])
        target = os.path.join(C.DEFAULT_LOCAL_TMP, f"{PACKAGE}-{hashlib.sha256(content).hexdigest()[:16]}.tar")
        if not os.path.exists(target):
            # Another fork may be writing the same bytes right now.
            handle, temporary = tempfile.mkstemp(dir=C.DEFAULT_LOCAL_TMP)
            with os.fdopen(handle, "wb") as stream:
                stream.write(content)
            os.replace(temporary, target)
        return [target]
