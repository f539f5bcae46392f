# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter: virtual clusters as stanzas of xCAT."""

from __future__ import annotations

DOCUMENTATION = r"""
name: vc_xcat
short_description: Show virtual clusters as node stanzas of xCAT
version_added: "0.1.0"
description:
  - Makes the text of a stanza file for C(mkdef -z) of xCAT from what M(hpc.virtual_cluster.vc_info) found on the vault host.
  - Equal registries give equal text.
  - Where xCAT would read a name as something else (a range, a stanza of default values), the node is called after its network and
    its number there, such as C(vni10001n1), and its own name is in C(hostnames).
options:
  profile:
    description:
      - For whom the text is.
      - V(tenant) is for an xCAT on the frontend of one virtual cluster. It has the computes by their own names, with MAC and
        internal address.
      - V(owner) is for the site. It has all nodes by names that are unique on the site, with the MAC, the host each runs on as
        C(vmhost), and only those addresses that are in the site's own networks. Nodes are in the groups C(vc) and, by VNI,
        C(vni10001), so in none of the site's own; they have no C(mgt), as xCAT must not start them.
    type: str
    choices: [tenant, owner]
    default: tenant
  netboot:
    description: How computes boot from the network, for O(profile=tenant).
    type: str
    choices: [xnba, pxe, grub2]
    default: xnba
extends_documentation_fragment:
  - hpc.virtual_cluster.export
seealso:
  - plugin: hpc.virtual_cluster.vc_warewulf
    plugin_type: filter
"""

EXAMPLES = r"""
- name: Write stanzas of all virtual clusters for the site's own xCAT
  ansible.builtin.copy:
    content: "{{ [vault_info] | hpc.virtual_cluster.vc_xcat(profile='owner') }}"
    dest: virtual_clusters.stanza
    mode: "0644"
"""

RETURN = r"""
_value:
  description: The text.
  type: str
"""

from collections.abc import Callable
from typing import Any

from ansible_collections.hpc.virtual_cluster.plugins.module_utils.export.xcat import stanzas
from ansible_collections.hpc.virtual_cluster.plugins.plugin_utils.infos import made_of


def vc_xcat(infos: Any, profile: str = "tenant", cluster: str = "", netboot: str = "xnba") -> str:
    """See the documentation above."""
    return made_of(infos, "vc_xcat", stanzas, profile, cluster, netboot)


class FilterModule:
    """What Ansible loads."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"vc_xcat": vc_xcat}
