# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What role opensm makes of a host where OpenSM was not, or runs on another port; seen on the fabric."""

from __future__ import annotations

import pytest

from tests.lab import in_process, infiniband
from tests.lab import test_fabric as fabric
from tests.lab.host import ROOT, on, play
from tests.lab.infiniband import MANAGER, OWN, UNIT, keys

pytestmark = pytest.mark.usefixtures("demo")


def role(*argv: str) -> str:
    """What role opensm said of its host in the end."""
    said = play(str(ROOT / "tests" / "lab" / "opensm.yml"), *argv).stdout
    return said[said.rindex("PLAY RECAP") :]


def running() -> list[str]:
    listed = on(MANAGER, "systemctl", "list-units", "--plain", "--no-legend", "--state=active", "opensm@*.service")
    return [line.split()[0] for line in listed.splitlines()]


def test_a_new_opensm_never_runs_without_partitions() -> None:
    """Its package starts it as soon as it is unpacked."""
    with infiniband.not_installed():
        assert "failed=0" in role()
        assert running() == [UNIT]
        assert infiniband.starts() == {f"{infiniband.simulated.host_guid(infiniband.simulated.SERVER)} 1"}
        assert keys("hv1", fabric.A, OWN) == {fabric.A: {fabric.LIMITED}, OWN: {fabric.FULL}}
    assert "changed=0" in role()


def test_opensm_on_a_port_that_it_was_not_given_is_ended() -> None:
    """Until then the module and vc_info have to be told which one is meant."""
    other = f"opensm@{fabric.D}.service"
    dropin = f"/run/systemd/system/{other}.d"
    script = f"mkdir -p {dropin} && cat > {dropin}/zz-proof.conf && systemctl daemon-reload && systemctl start {other}"
    on(MANAGER, "sh", "-c", script, stdin="[Service]\nEnvironment=SIM_HOST=v10006n3\n")
    try:
        (unsaid,), (said,) = fabric.calls([fabric.FIRST]), fabric.calls([fabric.FIRST], unit=UNIT)
        assert unsaid["error_code"] == "conflict"
        assert f"several run: {UNIT}, {other}" in unsaid["msg"]
        assert (said["changed"], said.get("failed")) == (True, None)
        done_by_name = [{"gather": ["fabric"], **more} for more in ({}, {"opensm_unit": UNIT})]
        unsaid, said = in_process.answers(MANAGER, "vc_info", done_by_name)
        assert unsaid["error_code"] == "conflict"
        assert "proof-a" in [one["name"] for one in said["fabric"]["partitions"]]
        assert "changed=1 " in role()
        assert running() == [UNIT]
        assert "changed=0 " in role()
    finally:
        fabric.calls(fabric.gone("proof-a"), unit=UNIT)
        on(MANAGER, "sh", "-c", f"systemctl stop {other}; rm -r {dropin}; systemctl daemon-reload")
