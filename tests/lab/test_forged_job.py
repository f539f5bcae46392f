# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A job that only claims to be part of a cluster is shown as rejected, counts for nothing and gets nothing."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.lab import forgery
from tests.lab.virtual_cluster import VirtualCluster


@pytest.fixture
def genuine(small: VirtualCluster) -> Iterator[int]:
    job = small.start(hosts=["hv1"], nodes="compute0", per_host=None)
    yield job
    small.terminate()


def test_a_forged_job_is_rejected(small: VirtualCluster, genuine: int) -> None:
    with forgery.forged(small, genuine, "hv1") as (job, answers):
        forgery.got_nothing(answers)
        again = small.computeset(nodes="compute0", hosts=["hv1"], walltime="1h")
        assert again["changed"] is False
        assert again["computeset"]["job_id"] == genuine
        assert again["computeset"]["nodes"]["compute0"]["state"] == "running"
        assert [rejected["job_id"] for rejected in again["computeset"]["rejected_jobs"]] == [job]
