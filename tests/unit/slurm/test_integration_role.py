# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Role slurm_integration on a host whose Slurm has no directories for prologs yet, or has them its own way."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

PLAY = """
- hosts: all
  gather_facts: true
  gather_subset: ["!all", min]
  roles:
    - hpc.virtual_cluster.slurm_integration
"""


def test_directories_are_made_where_they_are_missing_and_kept_as_they_are(tmp_path: Path) -> None:
    prologs, epilogs = tmp_path / "slurm" / "prolog.d", tmp_path / "slurm" / "epilog.d"
    epilogs.mkdir(parents=True)
    epilogs.chmod(0o750)
    (epilogs / "10-site").touch()
    directories = {"slurm_integration_prolog_dir": str(prologs), "slurm_integration_epilog_dir": str(epilogs)}
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("vc-prolog", "vc-epilog"):
        (programs / name).touch()
    wanted = {**directories, "slurm_integration_order": 60, "slurm_integration_paths": {"programs": str(programs)}}
    # What Slurm itself says is looked at on the lab.
    (tmp_path / "variables.json").write_text(json.dumps({**wanted, "slurm_integration_check": False}))
    (tmp_path / "play.yml").write_text(PLAY)
    argv = [str(Path(sys.executable).parent / "ansible-playbook"), "-i", "localhost,", "-c", "local", str(tmp_path / "play.yml")]
    argv += ["-e", f"@{tmp_path}/variables.json", "-e", f"ansible_python_interpreter={sys.executable}"]
    environment = {**os.environ, "ANSIBLE_NOCOLOR": "1", "ANSIBLE_HOME": str(tmp_path / "ansible")}
    for mode, changed in (("--check", "changed=2 "), ("--diff", "changed=2 "), ("--diff", "changed=0 ")):
        done = subprocess.run([*argv, mode], env=environment, capture_output=True, text=True, timeout=120, check=False)
        assert changed in done.stdout, done.stdout + done.stderr
    links = {str(path.relative_to(tmp_path)): os.readlink(path) for path in tmp_path.glob("slurm/*/60-virtual-cluster")}
    assert links == {
        "slurm/prolog.d/60-virtual-cluster": f"{programs}/vc-prolog",
        "slurm/epilog.d/60-virtual-cluster": f"{programs}/vc-epilog",
    }
    assert (epilogs / "10-site").exists()
    assert [path.stat().st_mode & 0o777 for path in (prologs, epilogs)] == [0o755, 0o750]
