# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from ansible_collections.hpc.virtual_cluster.plugins.module_utils.agent import reap


def test_states_are_read_by_job() -> None:
    assert reap.states("8|COMPLETING\n 11|RUNNING \n\nslurm: warning\nx|FAILED\n") == {8: "COMPLETING", 11: "RUNNING"}


def test_only_jobs_that_ended_or_are_forgotten_are_over() -> None:
    known = {1: "RUNNING", 2: "COMPLETING", 3: "CANCELLED", 4: "PENDING", 5: "NODE_FAIL", 6: "SUSPENDED"}
    assert reap.over([7, 1, 2, 3, 4, 5, 6], known) == [3, 5, 7]
