# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an agent answers while its last guest is off and it is only on its way out."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.agent.places import Places
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.agent.runner import Agent
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.model.states import NodeState
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.model.version import VERSION
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.slurm import script


@pytest.fixture
def agent(tmp_path: Path) -> Agent:
    spec = script.Spec(VERSION, "vc1", "sim", ("compute0", "compute1"), 20)
    env = {"VC_SPEC": json.dumps(spec.to_dict()), "SLURM_JOB_ID": "7", "SLURM_NODEID": "0", "SLURM_TASKS_PER_NODE": "2"}
    return Agent(env, Places(run=tmp_path))


@pytest.mark.parametrize(
    ("states", "held", "ended"),
    [
        ((NodeState.OFF, NodeState.CRASHED), False, True),
        ((NodeState.OFF, NodeState.RUNNING), False, False),
        # Switched off on request, they wait to be switched on again.
        ((NodeState.OFF, NodeState.OFF), True, False),
    ],
)
def test_one_whose_guests_are_done_says_so(agent: Agent, states: tuple[NodeState, ...], held: bool, ended: bool) -> None:
    for guest, state in zip(agent._guests.values(), states):
        guest.state, guest.held = state, held
    assert agent._answer("status", {}).get("ended", False) is ended
