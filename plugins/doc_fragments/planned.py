# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the documentation of every module that plans before it writes says alike."""

from __future__ import annotations


class ModuleDocFragment:
    """Read by ansible-doc."""

    DOCUMENTATION = r"""
attributes:
  check_mode:
    description: Returns exactly what a run would return.
    support: full
  diff_mode:
    description: Shows what changes, before and after.
    support: full
author:
  - hpc.virtual_cluster contributors (@hpc-virtual-cluster)
"""
