# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Slurm takes jobs on all hypervisors, and runs them."""

from __future__ import annotations

from testinfra.host import Host

testinfra_hosts = ["ssh://head"]


def test_the_daemons_run_and_come_back_at_boot(host: Host) -> None:
    for name in ("slurmctld", "slurmdbd", "munge"):
        assert host.service(name).is_running
        assert host.service(name).is_enabled


def test_all_hypervisors_take_jobs(host: Host) -> None:
    states = dict(line.split() for line in host.check_output("sinfo --noheader --Node --format '%N %T'").splitlines())
    assert states == {"hv1": "idle", "hv2": "idle"}


def test_a_plain_job_of_a_plain_user_runs_as_before(host: Host) -> None:
    asked = "setpriv --reuid=2001 --regid=2001 --clear-groups env HOME=/home/labuser srun --account=physics --nodes=2 --chdir=/ id -un"
    assert host.check_output(asked).split() == ["labuser", "labuser"]
