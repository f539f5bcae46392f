# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One user cannot take all of the root helper's connections; that the helper asks is proved in the lab."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

from ansible_collections.hpc.virtual_cluster.plugins.module_utils.agent import slots
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.agent.places import Places
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.agent.record import Records

from tests.unit.agent.hosts import job, places
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


_HELPER = """
import sys
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.agent import host
from tests.unit.agent.hosts import places, Path
where = places(Path(sys.argv[1]))
host.Places = lambda: where
raise SystemExit(host.main([]))
"""


def test_whatever_keeps_the_helper_from_listening_the_caller_gets_an_answer(tmp_path: Path) -> None:
    where = places(tmp_path)
    Records(where).add(job(uid=os.getuid()))
    # Nothing can be opened under this name.
    (where.run / "calls").mkdir()
    ours, its = socket.socketpair()
    with ours, its:
        argv = [sys.executable, "-c", _HELPER, str(tmp_path)]
        environment = {**os.environ, "PYTHONPATH": ":".join(sys.path)}
        done = subprocess.run(argv, stdin=its, env=environment, capture_output=True, text=True, timeout=60, check=False)
        its.close()
        ours.settimeout(10)
        answer = json.loads(ours.makefile().read() or "null")
    assert done.returncode == 0, done.stderr
    assert (answer["ok"], answer["error"]["code"]) == (False, "backend")
    assert "directory" in answer["error"]["detail"]
