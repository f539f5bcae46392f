# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What docs/managers.md shows is what the filters make."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.export.warewulf import nodes_conf
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.export.xcat import stanzas

from tests.unit.export.registry import cluster, info

PAGE = (Path(__file__).resolve().parents[3] / "docs/managers.md").read_text(encoding="utf-8")
SAMPLES = re.findall(r"(?ms)^<!-- sample: (\w+) (\w+) -->\n```(?:yaml)?\n(.*?)^```", PAGE)


def test_all_four_are_there() -> None:
    assert sorted((made_by, profile) for made_by, profile, _text in SAMPLES) == [
        (made_by, profile) for made_by in ("vc_warewulf", "vc_xcat") for profile in ("owner", "tenant")
    ]


@pytest.mark.parametrize(("made_by", "profile", "text"), SAMPLES)
def test_a_sample_is_what_is_made(made_by: str, profile: str, text: str) -> None:
    make = {"vc_warewulf": nodes_conf, "vc_xcat": stanzas}[made_by]
    assert text == make([info(cluster(nodes=("frontend", "compute0")), hosts={"compute0": "hv1"})], profile)
