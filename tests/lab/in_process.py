# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs a module on a lab host some hundred times within seconds: the same files, the same Python, the same backends as in a play,
but one interpreter that forks for each call instead of one ssh round trip for each."""

from __future__ import annotations

import base64
import io
import json
import os
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import ansible

from tests.lab.host import ROOT, attempt, on

# Of this run's own: the end of another one must not take it away.
PLACE = f"/run/vc-proof-modules-{os.getpid()}"

# What Ansible's own wrapper does before it starts a module, and no more.
CALL = """
import io, json, os, runpy, sys, tempfile
sys.path.insert(0, @PLACE@)
import ansible.module_utils.basic as basic
def call(module, args):
    with tempfile.TemporaryFile() as out:
        child = os.fork()
        if child == 0:
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            os.dup2(out.fileno(), 1)
            os.dup2(out.fileno(), 2)
            status = 1
            try:
                basic._ANSIBLE_ARGS = json.dumps({"ANSIBLE_MODULE_ARGS": args}).encode()
                basic._ANSIBLE_PROFILE = "legacy"
                runpy.run_module("ansible_collections.hpc.virtual_cluster.plugins.modules." + module, run_name="__main__", alter_sys=False)
            except SystemExit as end:
                status = end.code or 0
            except BaseException:
                import traceback
                traceback.print_exc()
            sys.stdout.flush()
            os._exit(status)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        out.seek(0)
        return [status, out.read().decode(errors="replace")]
""".replace("@PLACE@", repr(PLACE))
RUNNER = CALL + "print(json.dumps([call(@MODULE@, case) for case in json.loads(@CASES@)]))"


def archive() -> str:
    """Ansible's target side and the collection's, as base64 of a zip."""
    buffer = io.BytesIO()
    target_side = Path(ansible.__file__).parent
    collection = "ansible_collections/hpc/virtual_cluster/plugins"
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("ansible/__init__.py", "")
        packed.write(target_side / "release.py", "ansible/release.py")
        for package in ("module_utils", "_internal"):
            for path in (target_side / package).rglob("*.py"):
                packed.write(path, f"ansible/{path.relative_to(target_side)}")
        for path in (ROOT / "plugins").rglob("*.py"):
            packed.write(path, f"{collection}/{path.relative_to(ROOT / 'plugins')}")
    return base64.b64encode(buffer.getvalue()).decode()


def deploy(host: str) -> None:
    unpack = (
        f"mkdir -p {PLACE} && base64 -d > {PLACE}/a.zip && cd {PLACE} && /usr/bin/python3 -m zipfile -e a.zip . && chmod -R a+rX {PLACE}"
    )
    on(host, "sh", "-c", unpack, stdin=archive())


def answers(host: str, module: str, cases: Sequence[Mapping[str, Any]], user: str = "") -> list[dict[str, Any]]:
    """What each call returned to Ansible."""
    return [json.loads(said.strip().splitlines()[-1]) for _status, said in calls(host, module, cases, user)]


def remove(host: str) -> None:
    on(host, "rm", "-rf", PLACE)


def ensure(host: str) -> None:
    """The modules at hand: a host that lost power has lost them."""
    if attempt(host, "test", "-d", PLACE).returncode != 0:
        deploy(host)


def calls(host: str, module: str, cases: Sequence[Mapping[str, Any]], user: str = "") -> list[tuple[int, str]]:
    """(exit status, everything printed) of each call, in order."""
    ensure(host)
    source = RUNNER.replace("@MODULE@", repr(module)).replace("@CASES@", repr(json.dumps(list(cases))))
    answers = json.loads(on(host, "/usr/bin/python3", "-", stdin=source, user=user, timeout=900))
    return [(int(status), str(said)) for status, said in answers]
