# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter: rows as an aligned table."""

from __future__ import annotations

DOCUMENTATION = r"""
name: vc_table
short_description: Show a list of dictionaries as an aligned table
version_added: "0.1.0"
description:
  - Makes a text table, a list of lines, for people to read. Meant for what P(hpc.virtual_cluster.vc_view#filter) returns.
options:
  _input:
    description: The rows.
    type: list
    elements: dict
    required: true
  columns:
    description: Keys to show, in this order.
    type: list
    elements: str
    default: [cluster, name, role, state, computeset, host, mac, address, left]
  empty:
    description: What to show for a missing or empty value.
    type: str
    default: "-"
author:
  - hpc.virtual_cluster contributors (@hpc-virtual-cluster)
"""

EXAMPLES = r"""
- name: Show jobs that claim a cluster and do not count
  ansible.builtin.debug:
    msg: "{{ view.rejected | hpc.virtual_cluster.vc_table(columns=['cluster', 'job_id', 'user', 'reason']) }}"
"""

RETURN = r"""
_value:
  description: A header and one line per row.
  type: list
  elements: str
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.planner.view import COLUMNS, table


def vc_table(rows: Any, columns: Sequence[str] = COLUMNS, empty: str = "-") -> list[str]:
    """See the documentation above."""
    if isinstance(rows, (str, Mapping)) or not all(isinstance(row, Mapping) for row in rows):
        raise AnsibleFilterError("hpc.virtual_cluster.vc_table wants a list of dictionaries")
    return table(list(rows), list(columns), empty)


class FilterModule:
    """What Ansible loads."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"vc_table": vc_table}
