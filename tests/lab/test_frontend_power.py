# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The power switch of a frontend, on a host where the vault may be away; seen from libvirt, the vault and the console."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.lab import in_process
from tests.lab.host import on
from tests.lab.vault import break_lease, lease
from tests.lab.virtual_cluster import VirtualCluster, awaited, boots, lone_frontend

HOST, NAME = "fe1", "switched"
DOMAIN = f"{NAME}.frontend"
CONSOLE = f"/var/lib/vc-frontends/{NAME}/console.log"


def module(name: str, cluster: VirtualCluster, **options: Any) -> dict[str, Any]:
    return in_process.answers(HOST, name, [{"cluster": cluster.resolved, "wait": False, **options}])[0]


@pytest.fixture(scope="module")
def switched(demo: None) -> Iterator[VirtualCluster]:
    with lone_frontend(NAME, "10.14.0.0/24") as cluster:
        yield cluster


def power(cluster: VirtualCluster, check: bool = False, **options: Any) -> dict[str, Any]:
    return module("vc_power", cluster, nodes="frontend", _ansible_check_mode=check, **options)


def domain_state() -> str:
    return on(HOST, "virsh", "domstate", DOMAIN).strip()


def ready(count: int = 1) -> None:
    awaited(lambda: len(boots(NAME)) == count, f"{count} boots on the console")


def verbs(answer: dict[str, Any]) -> list[str]:
    assert not answer.get("failed"), answer
    return [action["verb"] for action in answer["actions"]]


@pytest.fixture
def asked(switched: VirtualCluster) -> Iterator[str]:
    """A file with a line for each ssh of this host; the collection's own PATH begins where the word is put."""
    log, word = "/tmp/vc-proof-asked", "/usr/local/sbin/ssh"
    on(HOST, "tee", word, stdin=f'#!/bin/sh\necho ssh >> {log}\nexec /usr/bin/ssh "$@"\n')
    on(HOST, "chmod", "755", word)
    on(HOST, "tee", log, stdin="")
    yield log
    on(HOST, "rm", word, log)


def test_a_second_run_asks_the_vault_once(switched: VirtualCluster, asked: str) -> None:
    found = module("vc_frontend", switched, started=False)
    assert (found.get("failed"), found["changed"]) == (None, False)
    assert on(HOST, "cat", asked).split() == ["ssh"]


def test_every_switch(switched: VirtualCluster) -> None:
    assert verbs(power(switched, check=True, state="powered_on")) == ["power_on"]
    assert domain_state() == "shut off"
    assert verbs(power(switched, state="powered_on")) == ["power_on"]
    assert domain_state() == "running"
    assert lease(NAME, "frontend")["state"] == "running"
    assert verbs(power(switched, state="powered_on")) == []
    ready()
    assert verbs(power(switched, action="reset")) == ["reset"]
    ready(2)
    # It waits for services, which this image has none of; what it was asked for is done all the same.
    answer = power(switched, action="reboot", wait=True, wait_timeout=15)
    assert (answer["error_code"], answer["changed"], answer["nodes"]["frontend"]["state"]) == ("timeout", True, "booting")
    ready()
    assert "STOPPING" not in on(HOST, "cat", CONSOLE)
    on(HOST, "virsh", "-q", "suspend", DOMAIN)
    assert power(switched, state="shutdown")["error_code"] == "conflict"
    assert verbs(power(switched, state="powered_on")) == ["power_on"]
    assert domain_state() == "running"
    assert verbs(power(switched, state="shutdown", wait=True, wait_timeout=30)) == ["shutdown"]
    assert domain_state() == "shut off"
    assert "STOPPING" in on(HOST, "cat", CONSOLE)
    assert lease(NAME, "frontend")["state"] == "off"
    assert verbs(power(switched, state="shutdown")) == []


def test_it_is_switched_off_while_the_vault_is_away(switched: VirtualCluster) -> None:
    assert verbs(power(switched, state="powered_on")) == ["power_on"]
    on(HOST, "mv", "/etc/hpc-virtual-cluster/vault_key", "/etc/hpc-virtual-cluster/vault_key.away")
    try:
        assert verbs(power(switched, state="powered_off")) == ["power_off"]
        assert domain_state() == "shut off"
        assert power(switched, state="powered_on")["error_code"] == "unreachable"
    finally:
        on(HOST, "mv", "/etc/hpc-virtual-cluster/vault_key.away", "/etc/hpc-virtual-cluster/vault_key")


def test_a_frontend_whose_lease_was_taken_is_not_switched_on(switched: VirtualCluster) -> None:
    break_lease(NAME, "frontend", "proof")
    for options in ({"state": "powered_on"}, {"action": "reboot", "wait": True}):
        answer = power(switched, **options)
        assert (answer["error_code"], answer["changed"]) == ("stale_epoch", False)
    assert domain_state() == "shut off"


def test_another_host_and_a_frontend_that_was_never_made(switched: VirtualCluster) -> None:
    other = {**switched.resolved, "nodes": [{**switched.resolved["nodes"][0], "host": "fe2"}]}
    assert power(VirtualCluster(other), state="powered_off")["error_code"] == "conflict"
    assert power(VirtualCluster({**switched.resolved, "name": "nowhere"}), state="powered_off")["error_code"] == "unknown"
