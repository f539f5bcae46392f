# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One user cannot take all of the root helper's connections; that the helper asks is proved in the lab."""

from __future__ import annotations

import os
from pathlib import Path

from ansible_collections.hpc.virtual_cluster.plugins.module_utils.agent import slots
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.agent.places import Places

from tests.unit.agent.hosts import places
from tests.unit.refusal import refused


def hold(where: Places, uid: int) -> tuple[int, int]:
    """A process that holds a slot, and the end of a pipe that it ends with."""
    mine, its = os.pipe()
    told, tell = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(its)
        slots.take(where, uid)
        os.write(tell, b"x")
        os.read(mine, 1)
        os._exit(0)
    os.close(mine)
    os.read(told, 1)
    for handle in (told, tell):
        os.close(handle)
    return child, its


def test_a_user_has_so_many_slots_and_others_have_theirs(tmp_path: Path) -> None:
    where = places(tmp_path)
    held = [hold(where, 2001) for _number in range(slots.SLOTS)]
    refused("in_use", slots.take, where, 2001)
    for neighbour in (2000, 2002):
        os.close(slots.take(where, neighbour))
    child, end = held.pop()
    os.close(end)
    os.waitpid(child, 0)
    os.close(slots.take(where, 2001))
    for child, end in reversed(held):
        os.close(end)
        os.waitpid(child, 0)
