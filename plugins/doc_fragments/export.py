# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the documentation of the filters for cluster managers says alike."""

from __future__ import annotations


class ModuleDocFragment:
    """Read by ansible-doc."""

    DOCUMENTATION = r"""
options:
  _input:
    description: Results of M(hpc.virtual_cluster.vc_info), in any order; one of them with C(gather=[vault]).
    type: list
    elements: dict
    required: true
  cluster:
    description:
      - Only this virtual cluster. With O(profile=tenant) it may be left out if there is only one.
      - Throw-away machines of M(hpc.virtual_cluster.vc_computeset) are left out unless their cluster, such as V(job42), is named.
    type: str
    default: ""
author:
  - hpc.virtual_cluster contributors (@hpc-virtual-cluster)
"""
