# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Nobody takes all of the gate's connections; that its helper asks is proved in the lab."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from ansible_collections.hpc.virtual_cluster.plugins.module_utils.gate import slots

from tests.unit.proofs import ROOT
from tests.unit.refusal import refused

MEMBER, OPERATOR = ("member",), ("owner", "operator")


@contextlib.contextmanager
def served(take: Callable[[], object]) -> Iterator[None]:
    """A call that is being served by a process of its own."""
    end, ends = os.pipe()
    told, tell = os.pipe()
    child = os.fork()
    if child == 0:
        with contextlib.suppress(BaseException):
            take()
            os.close(ends)
            os.write(tell, b"x")
            os.read(end, 1)
        os._exit(0)
    os.close(end)
    os.close(tell)
    try:
        assert os.read(told, 1) == b"x"
        yield
    finally:
        os.close(ends)
        os.close(told)
        os.waitpid(child, 0)


def test_a_user_has_so_many_places_and_others_have_theirs(tmp_path: Path) -> None:
    with contextlib.ExitStack() as calls:
        for _number in range(slots.EACH - 1):
            calls.enter_context(served(lambda: slots.take_own(tmp_path, "anna")))
        with served(lambda: slots.take_own(tmp_path, "anna")):
            assert "anna" in str(refused("in_use", slots.take_own, tmp_path, "anna"))
            for other in ("ann", "olga"):
                os.close(slots.take_own(tmp_path, other))
        os.close(slots.take_own(tmp_path, "anna"))


def test_what_all_members_have_together_is_less_than_there_is(tmp_path: Path) -> None:
    with contextlib.ExitStack() as calls:
        for _number in range(slots.COMMON):
            calls.enter_context(served(lambda: slots.take_common(tmp_path, "anna", MEMBER)))
        refused("in_use", slots.take_common, tmp_path, "labuser", MEMBER)
        slots.take_common(tmp_path, "olga", OPERATOR)
        # Their own places are others than those for all.
        os.close(slots.take_own(tmp_path, "olga"))


def test_the_socket_takes_more_than_members_can_have() -> None:
    unit = (ROOT / "roles" / "gate" / "templates" / "vc-gate.socket.j2").read_text(encoding="utf-8")
    (most,) = re.findall(r"(?m)^MaxConnections=([0-9]+)$", unit)
    assert int(most) >= slots.COMMON + 2 * slots.EACH
