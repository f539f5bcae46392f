# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The frontend on its host: drift is seen and repaired under the running guest, and nothing but its owner's word removes it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.lab import in_process, vault
from tests.lab.host import on

HOST, CLUSTER, DOMAIN, TAP = "fe1", "vc1", "vc1.frontend", "t002711n0"


@pytest.fixture(scope="module")
def cluster(demo: None) -> dict[str, Any]:
    return vault.resolved(CLUSTER)


def frontend(cluster: dict[str, Any], check: bool = False, **options: Any) -> dict[str, Any]:
    return in_process.answers(HOST, "vc_frontend", [{"cluster": cluster, **options, "_ansible_check_mode": check}])[0]


def verbs(answer: dict[str, Any]) -> list[str]:
    assert not answer.get("failed"), answer.get("msg")
    return [action["verb"] for action in answer["actions"]]


def process() -> str:
    return on(HOST, "cat", f"/run/libvirt/qemu/{DOMAIN}.pid")


@pytest.mark.parametrize(
    ("harm", "verb"),
    [
        (["ovs-vsctl", "del-port", TAP], "attach"),
        (["ovs-ofctl", "del-flows", "vcb10001"], "attach"),
        # As ovs-vswitchd does with one that it finds before it is up.
        (["ip", "link", "set", TAP, "down"], "attach"),
        (["virsh", "-q", "autostart", "--disable", DOMAIN], "autostart"),
        (["virsh", "-q", "setvcpus", DOMAIN, "3", "--maximum", "--config"], "define"),
        (["virsh", "-q", "detach-disk", DOMAIN, "vdb", "--config"], "define"),
    ],
)
def test_drift_is_predicted_and_repaired_under_the_running_guest(cluster: dict[str, Any], harm: list[str], verb: str) -> None:
    guest = process()
    on(HOST, *harm)
    predicted, done = frontend(cluster, check=True), frontend(cluster)
    assert verbs(predicted) == verbs(done) == [verb]
    assert predicted["frontend"] == done["frontend"]
    assert verbs(frontend(cluster)) == []
    assert process() == guest
    # Its tap was not made anew: QEMU still holds it.
    assert on(HOST, "cat", f"/sys/class/net/{TAP}/carrier").strip() == "1"


def test_a_running_frontend_is_not_removed(cluster: dict[str, Any]) -> None:
    for options in ({"state": "absent"}, {"state": "absent", "remove_disk": True}):
        answer = frontend(cluster, **options)
        assert answer["error_code"] == "in_use"
        assert not answer["changed"]
    assert on(HOST, "virsh", "domstate", DOMAIN).strip() == "running"


def test_a_definition_that_is_not_the_registrys_changes_nothing(cluster: dict[str, Any]) -> None:
    forged = json.loads(json.dumps(cluster))
    forged["nodes"][0]["address"] = "10.11.0.200"
    before = on(HOST, "ovs-vsctl", "list", "port")
    assert frontend(forged)["error_code"] == "conflict"
    assert on(HOST, "ovs-vsctl", "list", "port") == before


def test_the_object_of_a_cluster_that_is_gone_removes_nothing_of_the_one_that_has_its_vni_now(cluster: dict[str, Any]) -> None:
    guest, before = process(), on(HOST, "ovs-vsctl", "list", "port")
    answer = frontend({**cluster, "name": "gone"}, state="absent", remove_disk=True)
    assert verbs(answer) == []
    assert on(HOST, "ovs-vsctl", "list", "port") == before
    assert on(HOST, "cat", f"/sys/class/net/{TAP}/carrier").strip() == "1"
    assert process() == guest


def test_no_secret_is_in_the_domain_or_on_a_command_line(cluster: dict[str, Any]) -> None:
    values = [on(HOST, "base64", "-d", path) for path in on(HOST, "sh", "-c", "ls /etc/libvirt/secrets/*.base64").split()]
    assert all(values)
    shown = on(HOST, "virsh", "dumpxml", "--security-info", DOMAIN) + on(HOST, "sh", "-c", "cat /proc/[0-9]*/cmdline | tr '\\0' ' '")
    kept = on(HOST, "cat", f"/var/log/libvirt/qemu/{DOMAIN}.log", f"/var/lib/vc-frontends/{CLUSTER}/record.json")
    header = on(HOST, "head", "-c", "65536", f"/var/lib/vc-frontends/{CLUSTER}/disk.qcow2")
    assert not [place for place in (shown, kept, header) for value in values if value in place]
