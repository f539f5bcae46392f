# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filter: virtual clusters as nodes.conf of Warewulf."""

from __future__ import annotations

DOCUMENTATION = r"""
name: vc_warewulf
short_description: Show virtual clusters as nodes.conf of Warewulf
version_added: "0.1.0"
description:
  - Makes the text of C(nodes.conf) of Warewulf 4.6 or newer from what M(hpc.virtual_cluster.vc_info) found on the vault host.
  - Equal registries give equal text.
options:
  profile:
    description:
      - For whom the text is.
      - V(tenant) is for a Warewulf on the frontend of one virtual cluster. It has the computes by their own names, with MAC,
        internal address and netmask.
      - V(owner) is for the site. It has all nodes by names that are unique on the site, with the MAC, the host each runs on as tag
        C(vc_host), and only those addresses that are in the site's own networks.
    type: str
    choices: [tenant, owner]
    default: tenant
  form:
    description:
      - V(file) is a whole C(nodes.conf), for O(profile=tenant) only, because the site's own has other nodes and profiles in it as well.
      - V(import) is what C(wwctl node import) takes. That command merges and removes nothing.
      - Left out, V(file) for O(profile=tenant) and V(import) for O(profile=owner).
    type: str
    choices: [file, import]
  nodeprofiles:
    description:
      - What C(nodes.conf) has under C(nodeprofiles), such as the image, the kernel and the overlays of profile C(default), which
        every node of V(tenant) has. Left out, there is a profile C(default) with a comment in it.
      - Keys that Warewulf 4.6 does not know are refused, and values of another type than it reads there.
      - Not used with O(form=import).
    type: dict
extends_documentation_fragment:
  - hpc.virtual_cluster.export
seealso:
  - plugin: hpc.virtual_cluster.vc_xcat
    plugin_type: filter
"""

EXAMPLES = r"""
- name: Write nodes.conf for the Warewulf inside vc1
  ansible.builtin.copy:
    content: "{{ [vault_info] | hpc.virtual_cluster.vc_warewulf(cluster='vc1', nodeprofiles=profiles) }}"
    dest: nodes.conf
    mode: "0644"
  vars:
    profiles: {default: {image name: debian12, kernel: {args: [quiet]}}}
"""

RETURN = r"""
_value:
  description: The text, a YAML document.
  type: str
"""

from collections.abc import Callable, Mapping
from typing import Any, Optional

from ansible_collections.hpc.virtual_cluster.plugins.module_utils.export.warewulf import nodes_conf
from ansible_collections.hpc.virtual_cluster.plugins.plugin_utils.infos import made_of


def vc_warewulf(
    infos: Any, profile: str = "tenant", cluster: str = "", form: str = "", nodeprofiles: Optional[Mapping[str, Any]] = None
) -> str:
    """See the documentation above."""
    return made_of(infos, "vc_warewulf", nodes_conf, profile, cluster, form, nodeprofiles)


class FilterModule:
    """What Ansible loads."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"vc_warewulf": vc_warewulf}
