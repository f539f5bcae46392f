# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run of a role had only written when it was ended is put in force by the next one, and check mode says so.

The roles are the real ones, without what needs root or a package; systemd is a script that writes down what it is told, so that a
run can be ended at any of its daemons.  On real ones: test_ended_run.py.  `tests/static/test_roles.py` holds that no daemon is left out.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from tests.static.checker import BIN, ROOT, environment

SYSTEMCTL = """#!/bin/sh
case "$1" in
show) printf 'LoadState=loaded\\nActiveState=active\\nSubState=running\\nUnitFileState=enabled\\n' ;;
restart) if [ -e {place}/ended ]; then exit 1; fi; echo "$2" >> {place}/restarted ;;
esac
"""
IP = """#!/bin/sh
if [ "$1" = -json ]; then cat {place}/links.json; else echo "$*" >> {place}/links; fi
"""
PROGRAMS = {
    "systemctl": SYSTEMCTL,
    "systemd-tmpfiles": "#!/bin/sh\n",
    "sacctmgr": "#!/bin/sh\necho 'cluster|root|'\n",
    "ip": IP,
    "virsh": "#!/bin/sh\necho ' 1 vc-public'\n",
}
FACTS = {"gather_facts": True, "gather_subset": ["!all", "min"]}


def slurm(place: Path) -> dict[str, Any]:
    """Of a machine that is controller and compute host."""
    names = yaml.safe_load((ROOT / "roles" / "slurm_controller" / "vars" / "Debian.yml").read_text(encoding="utf-8"))
    (place / "database" / "slurm_acct_db").mkdir(parents=True)
    (place / "etc").mkdir()
    (place / "munge.key").write_text("first")
    ours = {"config_dir": "etc", "munge_key": "munge.key", "database_config": "database.cnf", "database_data": "database"}
    return {
        "slurm_controller_paths": {**names["slurm_controller_paths"], **{key: str(place / name) for key, name in ours.items()}},
        "slurm_controller_host": "localhost",
        "slurm_controller_compute_hosts": ["localhost"],
        "slurm_controller_cpus": 1,
        "slurm_controller_memory_mib": 1000,
    }


def hypervisor(place: Path) -> dict[str, Any]:
    paths = {name: str(place / name) for name in ("units", "tmpfiles", "in_force", "programs")}
    return {"hypervisor_paths": paths}


def frontend_host(place: Path) -> dict[str, Any]:
    names = ("units", "tmpfiles", "in_force", "public_port", "configuration", "frontends")
    (place / "configuration").mkdir()
    paths = {**{name: str(place / name) for name in names}, "systemctl": "systemctl", "ip": "ip", "sysctl": "sysctl"}
    return {"frontend_host_paths": paths, "frontend_host_public_interface": "eth2"}


def bare(tasks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The tasks as anybody can carry them out anywhere."""
    for task in tasks:
        for arguments in task.values():
            if isinstance(arguments, dict):
                arguments.pop("owner", None)
                arguments.pop("group", None)
    return [task for task in tasks if "ansible.builtin.package" not in task]


class Site:
    """One host with one role."""

    def __init__(self, place: Path, role: str, variables: Mapping[str, Any]) -> None:
        self._place, self._variables = place, dict(variables)
        copied = place / "roles" / role
        shutil.copytree(ROOT / "roles" / role, copied)
        for path in copied.glob("tasks/*.yml"):
            path.write_text(yaml.safe_dump(bare(yaml.safe_load(path.read_text(encoding="utf-8"))), sort_keys=False))
        (place / "bin").mkdir()
        for name, text in PROGRAMS.items():
            (place / "bin" / name).write_text(text.replace("{place}", str(place)))
            (place / "bin" / name).chmod(0o755)
        (place / "play.yml").write_text(yaml.safe_dump([{"hosts": "localhost", **FACTS, "roles": [role]}]))

    def run(self, *words: str, ended: bool = False, **variables: Any) -> tuple[int, set[str]]:
        """How many tasks have changed something, and which units were restarted; `ended` at the first of them."""
        self._variables |= variables
        (self._place / "restarted").write_text("")
        (self._place / "variables.json").write_text(json.dumps(self._variables))
        argv = [BIN / "ansible-playbook", "-i", "localhost,", "-c", "local", "play.yml", "-e", "@variables.json"]
        argv += ["-e", f"ansible_python_interpreter={sys.executable}", *words]
        inherited = environment(ANSIBLE_NOCOLOR="1")
        inherited["PATH"] = f"{self._place / 'bin'}:{inherited['PATH']}"
        if ended:
            (self._place / "ended").touch()
        done = subprocess.run(argv, cwd=self._place, env=inherited, capture_output=True, text=True, timeout=300, check=False)
        (self._place / "ended").unlink(missing_ok=True)
        recap = re.search(r"changed=(\d+)\s+unreachable=0\s+failed=(\d)", done.stdout)
        assert recap is not None, done.stdout + done.stderr
        assert recap[2] == str(int(ended)), done.stdout
        return int(recap[1]), set((self._place / "restarted").read_text().split())

    def finished(self) -> set[str]:
        """Which units the next run restarts, as foretold; then nothing is left to do."""
        foretold, none = self.run("--check")
        changed, restarted = self.run()
        assert (foretold, none) == (changed, set())
        assert self.run() == (0, set())
        return restarted


def test_slurm_runs_by_the_configuration_and_the_key_that_were_written(tmp_path: Path) -> None:
    site = Site(tmp_path, "slurm_controller", slurm(tmp_path))
    every = {"munge.service", "mariadb.service", "slurmdbd.service", "slurmctld.service", "slurmd.service"}
    assert site.run()[1] == every
    site.run(ended=True, slurm_controller_kill_wait=31)
    assert site.finished() == {"slurmctld.service", "slurmd.service"}
    (tmp_path / "munge.key").write_text("second")
    assert site.run()[1] == every - {"mariadb.service"}
    assert site.run(slurm_controller_cgroup_plugin="cgroup/v1")[1] == {"slurmd.service"}


def test_a_hypervisor_s_units_are_the_written_ones(tmp_path: Path) -> None:
    site = Site(tmp_path, "hypervisor", hypervisor(tmp_path))
    every = {"vc-host.socket", "vc-reap.timer"}
    assert site.run()[1] == every
    site.run(ended=True, hypervisor_flush_retry_seconds=16)
    assert site.finished() == every


def test_a_bridge_that_gets_another_interface_does_not_keep_the_former(tmp_path: Path) -> None:
    def links(port: str) -> None:
        """The host's, with this one in the bridge, and one that somebody else has put there."""
        masters = {"eth2": "", "eth3": "", "site0": "br-public", port: "br-public"}
        listed = [{"ifname": name, "flags": ["UP"], **({"master": master} if master else {})} for name, master in masters.items()]
        (tmp_path / "links.json").write_text(json.dumps(listed))

    site, told = Site(tmp_path, "frontend_host", frontend_host(tmp_path)), tmp_path / "links"
    links("eth2")
    site.run()
    assert not told.exists()
    site.run(ended=True, frontend_host_public_interface="eth3")
    told.unlink(missing_ok=True)
    assert site.run("--check")[1] == set()
    assert not told.exists()
    assert "vc-public.service" in site.run()[1]
    assert told.read_text() == "link set dev eth2 nomaster\n"
    links("eth3")
    assert site.run() == (0, set())
