# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs a module on a lab host some hundred times within seconds: the same files, the same Python, the same backends as in a play,
but interpreters that stay there and fork for each call, instead of one ssh round trip for each."""

from __future__ import annotations

import base64
import io
import json
import os
import subprocess
import threading
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import ansible

from tests.lab.host import ROOT, Failed, attempt, command, on

# Of this run's own: the end of another one must not take it away.
PLACE = f"/run/vc-proof-modules-{os.getpid()}"
# No call takes so long, and a run that hangs tells nothing.
ANSWER_SECONDS = 900

# What Ansible's own wrapper does before it starts a module, and no more; what modules import is there already when they are forked.
CALL = """
import importlib, io, json, os, pkgutil, runpy, sys, tempfile
sys.path.insert(0, @PLACE@)
import ansible.module_utils.basic as basic
OURS = "ansible_collections.hpc.virtual_cluster.plugins."
for found in pkgutil.walk_packages(importlib.import_module(OURS + "module_utils").__path__, OURS + "module_utils."):
    importlib.import_module(found.name)
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
                runpy.run_module(OURS + "modules." + module, run_name="__main__", alter_sys=False)
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
CALLS = (
    CALL
    + """
for line in sys.stdin:
    module, cases = json.loads(line)
    print(json.dumps([call(module, case) for case in cases]), flush=True)
"""
)


class Interpreter:
    """One that stays on a host, as root or as a lab user: a request costs a line to it and a line back."""

    def __init__(self, host: str, user: str, program: str) -> None:
        ensure(host)
        self.host = host
        self._process = subprocess.Popen(
            command(host, "/usr/bin/python3", "-u", "-c", program, user=user),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def ask(self, request: Any) -> Any:
        to, back = self._process.stdin, self._process.stdout
        if to is None or back is None:
            raise Failed("an interpreter without pipes")
        to.write(json.dumps(request) + "\n")
        to.flush()
        limit = threading.Timer(ANSWER_SECONDS, self._process.kill)
        limit.start()
        line = back.readline()
        limit.cancel()
        try:
            return json.loads(line)
        except ValueError:
            raise Failed(f"{self.host}: {request}: {line}{back.read()}") from None

    def gone(self) -> bool:
        """Its host has lost power."""
        return self._process.poll() is not None

    def close(self) -> None:
        self._process.communicate(timeout=10)


# Those that nobody asks anything at the moment, by host and user: of calls at the same time each has its own.
_IDLE: dict[tuple[str, str], list[Interpreter]] = {}


def idle(host: str, user: str) -> Interpreter:
    """One that nobody else has until it is put back."""
    there = _IDLE.setdefault((host, user), [])
    while True:
        try:
            one = there.pop()
        except IndexError:
            return Interpreter(host, user, CALLS)
        if not one.gone():
            return one


def close_all() -> None:
    for there in _IDLE.values():
        while there:
            there.pop().close()


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
    one = idle(host, user)
    answers = one.ask([module, list(cases)])
    _IDLE[host, user].append(one)
    return [(int(status), str(said)) for status, said in answers]
