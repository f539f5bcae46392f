# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The site of all plugins' and roles' documentation; `make docs-site` builds it into .cache/docs-site."""

from __future__ import annotations

import pathlib
import shutil
import subprocess
import sys
from collections.abc import Callable
from typing import Any

from tests.static.checker import COLLECTIONS, ROOT, environment

NAME = "hpc.virtual_cluster"
# References into Ansible's own documentation need its index from the network. Our own are held by antsibull-docs' linter.
OFFLINE = """
intersphinx_mapping = {}
nitpicky = False
suppress_warnings = ["ref.ref", "ref.envvar"]
"""


def build(target: pathlib.Path, run: Callable[..., Any]) -> pathlib.Path:
    """Make the site below `target`; `run` takes argv and the keywords cwd and ANSIBLE_COLLECTIONS_PATH.  Returns its first page."""
    target.mkdir(parents=True, exist_ok=True)
    init = ["antsibull-docs", "sphinx-init", "--use-current", "--squash-hierarchy", "--fail-on-error", "--dest-dir", str(target)]
    run(*init, "--project", NAME, "--title", NAME, NAME, cwd=ROOT, ANSIBLE_COLLECTIONS_PATH=str(COLLECTIONS))
    with (target / "conf.py").open("a", encoding="utf-8") as conf:
        conf.write(OFFLINE)
    run("bash", str(target / "build.sh"), cwd=target, ANSIBLE_COLLECTIONS_PATH=str(COLLECTIONS))
    return target / "build" / "html" / "index.html"


def main() -> int:
    target = ROOT / ".cache" / "docs-site"
    shutil.rmtree(target, ignore_errors=True)
    try:
        print(build(target, lambda *argv, cwd, **env: subprocess.run(argv, cwd=cwd, env=environment(**env), check=True)))
    except subprocess.CalledProcessError as error:
        return error.returncode
    return 0


if __name__ == "__main__":
    sys.exit(main())
