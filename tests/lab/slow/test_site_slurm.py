# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Role slurm_integration on a Slurm that lacks a setting: it says which, and leaves slurm.conf to the site."""

from __future__ import annotations

import pytest

from tests.lab.host import on, play

CONFIGURATION, OTHER = "/etc/slurm/slurm.conf", "/etc/slurm/proof.d"
HYPERVISORS = ("hv1", "hv2")


@pytest.mark.usefixtures("demo")
def test_a_missing_setting_is_named_and_not_written() -> None:
    before = {host: on(host, "stat", "--format=%Y %i", CONFIGURATION) for host in ("head", *HYPERVISORS)}
    only = ["--tags", "slurm", "--skip-tags", "slurm_controller", "--limit", ",".join(HYPERVISORS)]
    try:
        done = play("site.yml", *only, check=False, slurm_integration_prolog_dir=OTHER)
        assert done.returncode != 0
        said = done.stdout.replace("\\n", "\n").replace('"', "\n").splitlines()
        # The other settings are as the role wants them.
        assert {line for line in said if line.startswith(("Prolog", "Epilog", "Propagate"))} == {f"Prolog={OTHER}/*"}
        assert {host: on(host, "stat", "--format=%Y %i", CONFIGURATION) for host in before} == before
    finally:
        for host in HYPERVISORS:
            on(host, "rm", "-rf", OTHER)
