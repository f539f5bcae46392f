# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""`ansible-test sanity` of one environment's ansible-core, on a copy at the path it insists on."""

from __future__ import annotations

import os
import pathlib
import re
import subprocess
import sys
from collections.abc import Sequence

from tests.static.checker import BIN, ROOT, check, environment, fail

CACHE = ROOT / ".cache" / "sanity"
# ansible-test keeps its environments below the home directory; this one goes away with the other caches.
HOME = CACHE / "home"

PIP_FROM_WHEEL = """import sys
wheel = {wheel!r}
sys.path.insert(0, wheel)
if __name__ == "__main__":
    args = [a for a in sys.argv[1:] if a not in ("--no-setuptools", "--no-wheel") and not a.startswith("pip==")]
    from pip._internal.cli.main import main
    sys.exit(main(["install", "--no-index", "--no-deps"] + args + [wheel]))
"""
WANTED_PIP = "import ansible_test._internal.python_requirements as found; print(open(found.__file__, encoding='utf-8').read())"


def place(directory: pathlib.Path) -> pathlib.Path:
    """Where ansible-test wants the collection to be, below this directory."""
    return directory / "ansible_collections" / "hpc" / "virtual_cluster"


class Sanity:
    """A run that has begun; others may check something else until it ends.

    Parameters
    ----------
    directory : has a copy of the collection where `place` says; outside the checkout, below which all counts as ignored by git, so that
        every test is skipped as passed
    programs : directory of the environment's programs
    """

    def __init__(self, directory: pathlib.Path, programs: pathlib.Path = BIN, options: Sequence[str] = ()) -> None:
        seed_pip(programs)
        self._argv = [str(programs / "ansible-test"), "sanity", "--color", "no", *options]
        self._log = directory / "sanity.log"
        variables = environment(HOME=str(HOME))
        variables["PATH"] = f"{programs}{os.pathsep}{variables['PATH']}"
        with self._log.open("w", encoding="utf-8") as stream:
            # A group to be stopped by; a session of its own would get out of the niceness of this one.
            self._process = subprocess.Popen(
                self._argv, cwd=place(directory), env=variables, stdin=subprocess.DEVNULL, stdout=stream, stderr=stream, process_group=0
            )

    def finish(self) -> None:
        """Wait for its end; fails the calling test with all it said unless everything passed."""
        status = self._process.wait()
        said = self._log.read_text(encoding="utf-8")
        if status != 0 or 'Running sanity test "validate-modules"' not in said:
            fail(self._argv, status, said)

    def stop(self) -> None:
        """End it when nobody waits for it any more."""
        if self._process.poll() is None:
            os.killpg(self._process.pid, 15)
            self._process.wait()


def seed_pip(programs: pathlib.Path) -> None:
    """Put a stub where ansible-test looks for get-pip, so that pip comes from the package index and from nowhere else."""
    found = re.search(r"pip='([0-9.]+)'", check(str(programs / "python"), "-c", WANTED_PIP))
    assert found, "this ansible-core no longer says which pip it wants; look into seed_pip"
    version = found.group(1)
    cache = HOME / ".ansible" / "test" / "cache"
    wheel = cache / "wheels" / f"pip-{version}-py3-none-any.whl"
    if not wheel.exists():
        check(sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", str(wheel.parent), f"pip=={version}")
    stub = cache / f"get_pip_{version.replace('.', '_')}.py"
    stub.write_text(PIP_FROM_WHEEL.format(wheel=str(wheel)), encoding="utf-8")
    # The user's package index settings stay in force below the other home directory.
    settings = pathlib.Path(os.environ["HOME"]) / ".config" / "pip"
    link = HOME / ".config" / "pip"
    if settings.is_dir() and not link.is_symlink():
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(settings)
