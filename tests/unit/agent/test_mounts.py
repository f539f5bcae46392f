# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a user has mounted in his directories is in nobody's way; the mounts are real ones, in a name space of the test's own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

_PRELUDE = """
import os, subprocess, sys, time
from pathlib import Path
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.agent import epilog, mounts, removal
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.agent.places import Places
root = Path(sys.argv[1])
job, trash = root / "job", root / "trash"
def mount(path):
    path.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "vc-test", str(path)], check=True)
def mounted():
    return sorted(line.split()[4] for line in open("/proc/self/mountinfo") if str(root) in line)
"""

pytestmark = pytest.mark.skipif(os.getuid() != 0, reason="only root can mount")


def run(root: Path, program: str) -> None:
    argv = ["unshare", "--mount", "--propagation", "private", sys.executable, "-c", _PRELUDE + program, str(root)]
    done = subprocess.run(
        argv, capture_output=True, text=True, timeout=60, check=False, env={**os.environ, "PYTHONPATH": ":".join(sys.path)}
    )
    assert done.returncode == 0, done.stderr


def test_what_lies_under_a_mount_is_the_jobs_again(tmp_path: Path) -> None:
    run(
        tmp_path,
        """
job.mkdir()
(job / "disk").write_text("changes")
mount(job)
mount(job)
mount(job / "with space" / "deep")
mount(root / "jobs")
assert removal.take_file(job, "disk", 0, root / "taken") == "missing"
assert mounts.detach_below(job)
assert mounted() == [str(root / "jobs")]
assert removal.take_file(job, "disk", 0, root / "taken") == ""
assert (root / "taken").read_text() == "changes"
""",
    )


def test_a_link_on_the_way_leads_nowhere(tmp_path: Path) -> None:
    run(
        tmp_path,
        """
mount(job / "sub")
mount(root / "elsewhere" / "sub")
number, path = mounts._mounts(job)[0]
os.rename(job, root / "aside")
job.symlink_to(root / "elsewhere")
assert mounts._detach(number, path) is False
assert mounted() == [str(root / "aside" / "sub"), str(root / "elsewhere" / "sub")]
""",
    )


def test_the_trash_is_emptied_past_a_mount(tmp_path: Path) -> None:
    run(
        tmp_path,
        """
for name in ("a", "b", "c"):
    (trash / name / "deep").mkdir(parents=True)
    (trash / name / "file").touch()
mount(trash / "b" / "mounted")
began = time.monotonic()
assert removal.empty(trash, 20) is False
assert time.monotonic() - began < 5
assert [path.name for path in trash.iterdir()] == ["b"]
assert [path.name for path in (trash / "b").iterdir()] == ["mounted"]
assert mounts.detach_below(trash)
assert removal.empty(trash, 20) is True
assert not trash.exists()
""",
    )


def test_the_epilog_goes_on_where_others_could_not(tmp_path: Path) -> None:
    run(
        tmp_path,
        """
places = Places(run=root / "run", scratch=root / "scratch")
places.make()
mount(places.scratch / "trash" / "old" / "mounted")
assert epilog.empty_trash(places, 10)
assert mounted() == []
""",
    )
