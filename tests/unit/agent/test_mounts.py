# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a user has mounted in his directories is in nobody's way; the mounts are real ones, in a name space of the test's own."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.apart import needs_root, run_apart

_PRELUDE = """
import ctypes, os, subprocess, sys, time
from pathlib import Path
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.agent import epilog, mounts, prolog, record, removal
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.agent.places import Places
from tests.unit.agent.hosts import job as job_of, overlay_directory, places as places_of
from tests.unit.agent.test_processes import ELSEWHERE
USER = 45678
root = Path(sys.argv[1])
job, trash = root / "job", root / "trash"
def mount(path):
    path.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "vc-test", str(path)], check=True)
def mount_of_users(path):
    # As fusermount mounts it; nobody answers, but root would not even be asked for.
    handle = os.open("/dev/fuse", os.O_RDWR)
    options = f"fd={handle},rootmode=40000,user_id={USER},group_id={USER}"
    assert ctypes.CDLL(None).mount(b"user", str(path).encode(), b"fuse.user", 0, options.encode()) == 0
    try:
        path.stat()
    except PermissionError:
        return handle
    raise AssertionError(path)
def mounted():
    return sorted(line.split()[4] for line in open("/proc/self/mountinfo") if str(root) in line)
"""

pytestmark = needs_root


def run(root: Path, program: str) -> None:
    run_apart(_PRELUDE + program, root, "--mount", "--propagation", "private")


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


def test_a_name_of_any_bytes_is_nothing_to_stumble_over(tmp_path: Path) -> None:
    run(
        tmp_path,
        r"""
elsewhere = Path(os.fsdecode(bytes(root) + b"/a\rb\rc\x0bd\xff"))
mount(elsewhere)
mount(job)
assert mounts.detach_below(job)
assert mounts.detach_below(elsewhere)
assert mounted() == []
""",
    )


@pytest.mark.parametrize("which", ["job_directory", "overlay_directory"])
def test_a_users_file_system_on_the_jobs_directory_is_in_nobodys_way(tmp_path: Path, which: str) -> None:
    run(
        tmp_path,
        f"""
places = places_of(root)
directory = places.{which}(7)
directory.mkdir()
handle = mount_of_users(directory)
epilog.Places = lambda: places
os.environ["SLURM_JOB_ID"] = "7"
assert epilog.main([]) == 0
assert mounted() == []
assert not directory.exists()
directory.mkdir()
handle = mount_of_users(directory)
prolog.make_directories(places, job_of())
assert mounted() == []
assert directory.stat().st_uid == USER
""",
    )


def test_a_mount_hides_nothing_from_the_epilog(tmp_path: Path) -> None:
    """A process that holds an overlay under another path is found by the file, which is under the mount."""
    for parent in (tmp_path, *tmp_path.parents):
        parent.chmod(parent.stat().st_mode | 0o011)
    (tmp_path / "elsewhere").mkdir()
    run(
        tmp_path,
        """
places = places_of(root)
disk = overlay_directory(places) / "compute0.qcow2"
disk.write_text("x")
os.chown(disk, USER, -1)
record.Records(places).add(job_of())
argv = ["unshare", "--user", "--map-root-user", "--mount", "/usr/bin/python3", "-c", ELSEWHERE, str(disk), "detached"]
process = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, cwd="/", user=USER)
try:
    assert process.stdout.readline() == "held\\n"
    handle = mount_of_users(disk.parent)
    epilog.settle(places, epilog.Commands(), epilog.Journal("test"), 7)
    assert process.wait(5) == -9
finally:
    process.kill()
""",
    )
