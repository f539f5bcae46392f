#!/usr/bin/python
# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Declare the InfiniBand partitions of virtual clusters on the host of the subnet manager."""

from __future__ import annotations

DOCUMENTATION = r"""
module: ib_partition
short_description: Declare the InfiniBand partitions of virtual clusters
version_added: "0.1.0"
description:
  - Writes partitions of virtual clusters into OpenSM's C(partitions.conf), has OpenSM read it again, and looks at the pkey tables of the
    ports themselves until they show it. What they do not show within O(wait_timeout) is taken back, and the item has failed.
  - All changes of a call are one write and one reload. Only lines between our marks are changed; an admin's own lines stay byte for byte.
  - The whole file is read by OpenSM's own rules before anything is written. OpenSM answers a syntax error, wherever it is, by making every
    port a full member of the default partition.
  - Nothing is written while OpenSM does not run.
  - Ports that are not on the fabric are enrolled all the same, and listed. Nothing can be seen of them.
options:
  partitions:
    description:
      - The partitions to declare or remove; others are left alone.
      - An empty list only has the file read, whether OpenSM runs or not, so that a mistake in it is found before OpenSM does.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Name of the virtual cluster.
        type: str
        required: true
      pkey:
        description:
          - Its partition key without the membership bit, as in the C(cluster) that M(hpc.virtual_cluster.vc_cluster) returns.
          - Required for O(partitions[].state=present). The pkey of a partition that is there is not changed.
        type: str
      guids:
        description:
          - Port GUIDs of its full members, for a virtual cluster those of all its nodes.
          - With O(partitions[].limited_guids) this is the whole list of members; a port that is not in it is taken out.
        type: list
        elements: str
        default: []
      limited_guids:
        description: Port GUIDs of limited members, which reach full members but not each other.
        type: list
        elements: str
        default: []
      ipoib:
        description: Whether OpenSM makes the partition's broadcast group, so that IP can run in it. The group is not verified.
        type: bool
        default: false
      state:
        description: Whether the partition is there. Ports lose a removed one at once, whatever runs on them.
        type: str
        choices: [present, absent]
        default: present
  path:
    description: OpenSM's partition file. It has to be there already, with the default partition outside our marks.
    type: path
    default: /etc/opensm/partitions.conf
  unit:
    description: Name of OpenSM's systemd unit, or a pattern that one running unit has. It has to be able to reload.
    type: str
    default: opensm*.service
  wait_timeout:
    description: For how many seconds to look for a change on the fabric before it is taken back, from 1 to 80.
    type: int
    default: 30
requirements:
  - OpenSM 3.3 under systemd
  - libibmad and libibumad, which come with infiniband-diags
extends_documentation_fragment:
  - hpc.virtual_cluster.planned
"""

EXAMPLES = r"""
- name: Enrol the nodes of a virtual cluster
  hpc.virtual_cluster.ib_partition:
    partitions:
      - name: "{{ vc1.cluster.name }}"
        pkey: "{{ vc1.cluster.pkey }}"
        guids: "{{ vc1.cluster.nodes | map(attribute='guid') }}"

- name: Take its partition away
  hpc.virtual_cluster.ib_partition:
    partitions:
      - name: vc1
        state: absent
"""

RETURN = r"""
partitions:
  description: The partitions of the call, in its order; none when the whole call was refused.
  returned: always
  type: list
  elements: dict
  contains:
    name:
      description: Name of the virtual cluster.
      type: str
      returned: always
    state:
      description: V(present) or V(absent).
      type: str
      returned: always
    pkey:
      description: Partition key without the membership bit.
      type: str
      returned: when present
      sample: "0x0001"
    guids:
      description: Full members.
      type: list
      elements: str
      returned: when present
      sample: ["0x0200271100000000", "0x0200271100000001"]
    limited_guids:
      description: Limited members.
      type: list
      elements: str
      returned: when present
    ipoib:
      description: Whether it has a broadcast group for IP.
      type: bool
      returned: when present
    off_fabric:
      description: Members that are not on the fabric now.
      type: list
      elements: str
      returned: when present
    problems:
      description: What the members' own tables lack of it.
      type: list
      elements: str
      returned: when present
actions:
  description: What was done, or would be done; V(reload) is for a partition that the file has and the fabric has not.
  returned: always
  type: list
  elements: dict
  sample: [{"item": "vc1", "verb": "change", "pkey": "0x0001", "set": ["0x0200271100000002"], "drop": [], "ipoib": false}]
results:
  description: For each partition, whether it changed, its state, and why it was refused.
  returned: always
  type: list
  elements: dict
  contains:
    name:
      description: Name of the partition.
      type: str
      returned: always
    changed:
      description: Whether it was changed. One that was taken back was not.
      type: bool
      returned: always
    state:
      description: V(present), V(absent), V(failed) or V(unknown).
      type: str
      returned: always
    actions:
      description: What was done to it.
      type: list
      elements: str
      returned: always
    msg:
      description: Why it failed; empty when it did not.
      type: str
      returned: always
    error_code:
      description: The same for programs.
      type: str
      returned: always
error_code:
  description: Stable code of a failure, such as V(conflict), V(unreachable), V(backend).
  returned: failure
  type: str
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils import module_runner
from ..module_utils.applier.partitions import PartitionActions
from ..module_utils.command import Commands
from ..module_utils.fabric import daemon
from ..module_utils.fabric.partition_file import PATH, PartitionFile
from ..module_utils.model.errors import VcError
from ..module_utils.planner.partition import read_requests

# Twice that, and the lock of the file is given up.
LONGEST_WAIT = 80


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "partitions": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {
                    "name": {"type": "str", "required": True},
                    # A key that every port shows to whoever asks.
                    "pkey": {"type": "str", "no_log": False},
                    "guids": {"type": "list", "elements": "str", "default": []},
                    "limited_guids": {"type": "list", "elements": "str", "default": []},
                    "ipoib": {"type": "bool", "default": False},
                    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
                },
            },
            "path": {"type": "path", "default": PATH},
            "unit": {"type": "str", "default": daemon.UNITS},
            "wait_timeout": {"type": "int", "default": 30},
        },
        supports_check_mode=True,
    )
    wait = module.params["wait_timeout"]
    try:
        requests = read_requests(module.params["partitions"])
        if not 1 <= wait <= LONGEST_WAIT:
            raise VcError("invalid", "wait_timeout", "reading it", f"{wait} is not from 1 to {LONGEST_WAIT}", "leave it out for 30")
        daemon.check_unit("unit", module.params["unit"])
        commands = Commands()
        file = PartitionFile(module.params["path"])
        with file.locked():
            # With nothing to declare nobody is asked: only the file is read.
            running = daemon.find(commands, module.params["unit"]) if requests else daemon.Daemon("", {}, "")
            actions = PartitionActions(commands, file, running, requests, wait)
            module_runner.run(module, "partitions", actions.plan, actions.apply, actions.answer, nothing=[])
    except VcError as error:
        module_runner.refuse(module, error, partitions=[])


if __name__ == "__main__":
    main()
