# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every power switch of a real frontend, with its boots counted on the console."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.lab.frontend_switch import console, domain_state, power, ready, verbs
from tests.lab.host import on
from tests.lab.vault import lease
from tests.lab.virtual_cluster import FRONTEND_HOST, VirtualCluster, lone_frontend

NAME = "switches"


@pytest.fixture
def switched(demo: None) -> Iterator[VirtualCluster]:
    with lone_frontend(NAME, "10.14.0.0/24") as cluster:
        yield cluster


def test_every_switch(switched: VirtualCluster) -> None:
    assert verbs(power(switched, check=True, state="powered_on")) == ["power_on"]
    assert domain_state(switched) == "shut off"
    assert verbs(power(switched, state="powered_on")) == ["power_on"]
    assert domain_state(switched) == "running"
    assert lease(NAME, "frontend")["state"] == "running"
    assert verbs(power(switched, state="powered_on")) == []
    ready(switched)
    assert verbs(power(switched, action="reset")) == ["reset"]
    ready(switched, 2)
    # It waits for services, which this image has none of; what it was asked for is done all the same.
    answer = power(switched, action="reboot", wait=True, wait_timeout=15)
    assert (answer["error_code"], answer["changed"], answer["nodes"]["frontend"]["state"]) == ("timeout", True, "booting")
    ready(switched)
    assert "STOPPING" not in console(switched)
    on(FRONTEND_HOST, "virsh", "-q", "suspend", f"{NAME}.frontend")
    assert power(switched, state="shutdown")["error_code"] == "conflict"
    assert verbs(power(switched, state="powered_on")) == ["power_on"]
    assert domain_state(switched) == "running"
    assert verbs(power(switched, state="shutdown", wait=True, wait_timeout=30)) == ["shutdown"]
    assert domain_state(switched) == "shut off"
    assert "STOPPING" in console(switched)
    assert lease(NAME, "frontend")["state"] == "off"
    assert verbs(power(switched, state="shutdown")) == []
