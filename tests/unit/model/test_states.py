# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""States are the words of the design, and equal their text."""

from __future__ import annotations

import json

from ansible_collections.hpc.virtual_cluster.plugins.module_utils.model.states import NodeState, SetState, node_state

from tests.unit.hostile import every_hostile
from tests.unit.refusal import refused


def test_the_words() -> None:
    assert " ".join(NodeState) == "off queued preparing booting running suspended stopping flushing crashed"
    assert " ".join(SetState) == "pending starting running stopping completed failed cancelled timeout"


def test_states_are_text() -> None:
    assert NodeState.RUNNING == "running"
    assert f"{NodeState.RUNNING}" == "running"
    assert json.dumps({"state": SetState.PENDING}) == '{"state": "pending"}'
    assert node_state("off") is NodeState.OFF


@every_hostile
def test_unknown_states_are_refused(hostile: str) -> None:
    refused("invalid", node_state, hostile)
