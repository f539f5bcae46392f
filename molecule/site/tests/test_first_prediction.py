# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an admin runs behind the first `site`: what would his first virtual cluster be?"""

from __future__ import annotations

from pathlib import Path

from testinfra.host import Host

testinfra_hosts = ["local://"]
LAB = Path(__file__).resolve().parents[2] / "lab" / "lab"


def test_check_mode_predicts_the_first_cluster_of_a_new_site(host: Host) -> None:
    said = host.run(f"{LAB} play comet --check --diff")
    assert said.rc == 0, said.stdout + said.stderr
    assert "vc1" in said.stdout
    assert "unreachable=0    failed=0" in said.stdout
    registry = host.run(f"{LAB} exec nas /usr/lib/hpc-virtual-cluster/bin/vc-vault status")
    assert '"clusters": {}' in registry.stdout
