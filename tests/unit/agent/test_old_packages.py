# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A package stays as long as a job may run that was started from it: counted from when it was replaced, not from when it came."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

from tests.conftest import ROOT

DAY = 86400
PLAY = f"""
- hosts: all
  gather_facts: false
  handlers:
    - ansible.builtin.import_tasks: {ROOT}/roles/agent/handlers/main.yml
  tasks:
    - ansible.builtin.command: {{argv: ["true"]}}
      notify: Remove the packages of old releases
"""
# When a file came is the one time that nobody can set; here the handlers take the other one for it.
CLOCK = """
import os
lstat = os.lstat
def told(path, **keywords):
    found = lstat(path, **keywords)
    return os.stat_result([*found[:9], int(found.st_mtime)]) if "virtual_cluster-" in str(path) else found
os.lstat = told
"""


# Days since each of a host's packages came, and which of them stay.
HOSTS: dict[str, tuple[list[int], list[int]]] = {
    # The one of 61 days was replaced by this upgrade.
    "upgraded": ([61, 0], [61, 0]),
    "busy": ([61, 59, 0], [61, 59, 0]),
    "idle": ([90, 61, 0], [61, 0]),
    "old": ([200, 90, 61, 59], [61, 59]),
    "single": ([100], [100]),
}


def test_which_packages_go(tmp_path: Path) -> None:
    now, hosts = time.time(), {}
    for name, (ages, _left) in HOSTS.items():
        (tmp_path / name / "bin").mkdir(parents=True)
        for age in ages:
            path = tmp_path / name / f"virtual_cluster-{age}"
            (path / "virtual_cluster").mkdir(parents=True)
            os.utime(path, (now, now - age * DAY - 3600))
        hosts[name] = {"agent_paths": {"packages": str(tmp_path / name)}}
    (tmp_path / "hosts.yml").write_text(json.dumps({"all": {"hosts": hosts}}))
    (tmp_path / "play.yml").write_text(PLAY)
    (tmp_path / "sitecustomize.py").write_text(CLOCK)
    given = {"agent_longest_job_days": 60, "ansible_python_interpreter": sys.executable}
    argv = [str(Path(sys.executable).parent / "ansible-playbook"), "-i", str(tmp_path / "hosts.yml"), "-c", "local", "--forks", "2"]
    argv += ["-e", json.dumps(given), str(tmp_path / "play.yml")]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "ANSIBLE_HOME": str(tmp_path / "ansible")}
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    stayed = {name: sorted(path.name for path in (tmp_path / name).iterdir()) for name in HOSTS}
    assert stayed == {name: sorted(["bin", *(f"virtual_cluster-{age}" for age in left)]) for name, (_ages, left) in HOSTS.items()}
