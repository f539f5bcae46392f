# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The program that a frontend host is handed.

It has no command of ours that lists its domains, so it gets the very modules that vc_info uses there, in one text for its Python.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import json
from types import ModuleType

from ..libvirt import system

_ROOT = __name__.rpartition(".")[0].rpartition(".")[0]
_PROGRAM = """import json, sys, types
def load(name, source):
    parent = name.rpartition(".")[0]
    if parent and parent not in sys.modules:
        load(parent, None)
    module = types.ModuleType(name)
    module.__package__ = name if source is None else parent
    if source is None:
        module.__path__ = []
    sys.modules[name] = module
    exec(compile(source or "", name, "exec"), module.__dict__)
for part in json.loads(@PARTS@):
    load(*part)
try:
    print(json.dumps({"frontends": sys.modules["vc.libvirt.system"].read_frontends()}))
except sys.modules["vc.model.errors"].VcError as error:
    sys.exit(str(error))
"""


def frontend_reader() -> str:
    """Prints ``{"frontends": [...]}`` of the system libvirt of the host whose Python runs it."""
    parts: dict[str, str] = {}
    _add(system, parts)
    return _PROGRAM.replace("@PARTS@", ascii(json.dumps(list(parts.items()))))


def _add(module: ModuleType, parts: dict[str, str]) -> None:
    """The module's source, after that of every module of ours that it imports."""
    name, source = f"vc{module.__name__[len(_ROOT) :]}", inspect.getsource(module)
    if name in parts:
        return
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.level:
            dots = "." * node.level
            for wanted in [node.module] if node.module else [alias.name for alias in node.names]:
                _add(importlib.import_module(f"{dots}{wanted}", module.__package__), parts)
    parts[name] = source
