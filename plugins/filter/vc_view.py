# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter: one picture of all virtual clusters."""

from __future__ import annotations

DOCUMENTATION = r"""
name: vc_view
short_description: Join results of vc_info into one picture of all virtual clusters
version_added: "0.1.0"
description:
  - Joins what M(hpc.virtual_cluster.vc_info) found on the vault host, on a submit host and on frontend hosts.
  - A job counts as part of a virtual cluster only if its computes are leased to it, or if it is pending and its user and account
    are authorized for that cluster. Everything else that claims a cluster is listed under C(rejected), with the reason.
options:
  _input:
    description: Results of M(hpc.virtual_cluster.vc_info), in any order.
    type: list
    elements: dict
    required: true
author:
  - hpc.virtual_cluster contributors (@hpc-virtual-cluster)
seealso:
  - plugin: hpc.virtual_cluster.vc_table
    plugin_type: filter
"""

EXAMPLES = r"""
- name: Show all nodes
  ansible.builtin.debug:
    msg: "{{ ([vault_info, slurm_info] | hpc.virtual_cluster.vc_view).rows | hpc.virtual_cluster.vc_table }}"
"""

RETURN = r"""
_value:
  description: The picture.
  type: dict
  contains:
    rows:
      description:
        - One per node, by cluster, frontends first.
        - Each has C(cluster), C(name), C(role), C(state), C(computeset), C(host), C(mac), C(address), C(account), C(job_id),
          C(left_seconds) and C(left), the walltime that is left as text.
      type: list
      elements: dict
    computesets:
      description:
        - One per job that counts.
        - Each has C(cluster), C(name), C(job_id), C(state), C(user), C(account), C(nodes), C(hosts), C(reason), C(left_seconds)
          and C(left). C(nodes) is empty for throw-away machines that wait.
      type: list
      elements: dict
    rejected:
      description:
        - Jobs that claim a cluster and do not count. Of those that wait in the queue there are at most 20 of each user, and the last one's
          reason says how many more there are.
        - Each has C(cluster), C(computeset), C(job_id), C(user), C(account), C(state) and C(reason).
      type: list
      elements: dict
    uncounted:
      description:
        - Computes that are leased to a job that does not count for them, one that still runs or one that is gone.
        - Each has C(cluster), C(name), C(job_id), C(host) and C(why).
      type: list
      elements: dict
    drift:
      description: Sentences about what does not fit together, such as a lease of a job that Slurm no longer has.
      type: list
      elements: str
"""

from collections.abc import Callable
from typing import Any

from ansible_collections.hpc.virtual_cluster.plugins.module_utils.planner.view import join
from ansible_collections.hpc.virtual_cluster.plugins.plugin_utils.infos import made_of


def vc_view(infos: Any) -> dict[str, Any]:
    """See the documentation above."""
    return made_of(infos, "vc_view", join)


class FilterModule:
    """What Ansible loads."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"vc_view": vc_view}
