# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who may do what: every role against every right."""

from __future__ import annotations

import pytest
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.model.cluster import Cluster
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.model.rights import RIGHTS, ROLES, insist, roles_of

from tests.unit.planner.computesets import cluster_dict
from tests.unit.refusal import refused

CLUSTER = Cluster.from_dict(cluster_dict(members=["anna"]))
TABLE = {
    "status": "owner member operator",
    "start": "owner member",
    "terminate": "owner member operator",
    "power": "owner member operator",
    "power_frontend": "owner operator",
    "console": "owner",
}


def test_roles() -> None:
    assert roles_of(CLUSTER, "labuser", []) == ("owner",)
    assert roles_of(CLUSTER, "anna", ["olga"]) == ("member",)
    assert roles_of(CLUSTER, "olga", ["olga"]) == ("operator",)
    assert roles_of(CLUSTER, "anna", ["olga", "anna"]) == ("member", "operator")
    assert roles_of(CLUSTER, "otheruser", ["olga"]) == ()


def test_the_table_is_whole() -> None:
    assert set(TABLE) == set(RIGHTS)


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("right", sorted(TABLE))
def test_each_role_has_its_rights_and_no_other(right: str, role: str) -> None:
    if role in TABLE[right].split():
        insist(right, [role], "anna", "vc1")
    else:
        refused("forbidden", insist, right, [role], "anna", "vc1")


def test_two_roles_have_the_rights_of_both_and_a_stranger_has_none() -> None:
    insist("power_frontend", ["member", "operator"], "anna", "vc1")
    insist("start", ["member", "operator"], "anna", "vc1")
    for right in TABLE:
        refused("forbidden", insist, right, [], "anna", "vc1")
