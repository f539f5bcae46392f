# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The power switch of a frontend, also where the vault is away or has given its disk away; seen from libvirt and the console."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.lab.frontend_switch import console, domain_state, module, power, ready, verbs
from tests.lab.host import on
from tests.lab.vault import break_lease
from tests.lab.virtual_cluster import FRONTEND_HOST, VirtualCluster, lone_frontend

NAME = "switched"


@pytest.fixture(scope="module")
def switched(demo: None) -> Iterator[VirtualCluster]:
    with lone_frontend(NAME, "10.14.0.0/24") as cluster:
        yield cluster


@pytest.fixture
def asked(switched: VirtualCluster) -> Iterator[str]:
    """A file with a line for each ssh of this host; the collection's own PATH begins where the word is put."""
    log, word = "/tmp/vc-proof-asked", "/usr/local/sbin/ssh"
    on(FRONTEND_HOST, "tee", word, stdin=f'#!/bin/sh\necho ssh >> {log}\nexec /usr/bin/ssh "$@"\n')
    on(FRONTEND_HOST, "chmod", "755", word)
    on(FRONTEND_HOST, "tee", log, stdin="")
    yield log
    on(FRONTEND_HOST, "rm", word, log)


def test_a_second_run_asks_the_vault_once(switched: VirtualCluster, asked: str) -> None:
    found = module("vc_frontend", switched, started=False)
    assert (found.get("failed"), found["changed"]) == (None, False)
    assert on(FRONTEND_HOST, "cat", asked).split() == ["ssh"]


def test_it_is_reset_and_shuts_down(switched: VirtualCluster) -> None:
    assert verbs(power(switched, state="powered_on")) == ["power_on"]
    ready(switched)
    assert verbs(power(switched, action="reset")) == ["reset"]
    ready(switched, 2)
    assert verbs(power(switched, state="shutdown", wait=True, wait_timeout=30)) == ["shutdown"]
    assert domain_state(switched) == "shut off"
    assert "STOPPING" in console(switched)


def test_it_is_switched_off_while_the_vault_is_away(switched: VirtualCluster) -> None:
    assert verbs(power(switched, state="powered_on")) == ["power_on"]
    on(FRONTEND_HOST, "mv", "/etc/hpc-virtual-cluster/vault_key", "/etc/hpc-virtual-cluster/vault_key.away")
    try:
        assert verbs(power(switched, state="powered_off")) == ["power_off"]
        assert domain_state(switched) == "shut off"
        assert power(switched, state="powered_on")["error_code"] == "unreachable"
    finally:
        on(FRONTEND_HOST, "mv", "/etc/hpc-virtual-cluster/vault_key.away", "/etc/hpc-virtual-cluster/vault_key")


def test_a_frontend_whose_lease_was_taken_is_not_switched_on(switched: VirtualCluster) -> None:
    break_lease(NAME, "frontend", "proof")
    for options in ({"state": "powered_on"}, {"action": "reboot", "wait": True}):
        answer = power(switched, **options)
        assert (answer["error_code"], answer["changed"]) == ("stale_epoch", False)
    assert domain_state(switched) == "shut off"


def test_another_host_and_a_frontend_that_was_never_made(switched: VirtualCluster) -> None:
    other = {**switched.resolved, "nodes": [{**switched.resolved["nodes"][0], "host": "fe2"}]}
    assert power(VirtualCluster(other), state="powered_off")["error_code"] == "conflict"
    assert power(VirtualCluster({**switched.resolved, "name": "nowhere"}), state="powered_off")["error_code"] == "unknown"
