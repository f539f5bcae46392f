#!/usr/bin/python
# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Define virtual clusters in the registry."""

from __future__ import annotations

DOCUMENTATION = r"""
module: vc_cluster
short_description: Define a virtual cluster
version_added: "0.1.0"
description:
  - Defines a virtual cluster in the registry on the vault host, or takes it out, and returns the resolved cluster that the other
    modules take as input.
  - Gives out what the definition leaves open - VNI, pkey, and for each node MAC address, port GUID and address. What was given out
    never changes while the cluster, or the node, exists.
  - Runs on the vault host as root. Nothing is started.
  - A cluster, or a node, is not removed while it holds a lease or has a disk.
options:
  name:
    description: Name of the virtual cluster; lower case letters, digits and inner dashes, at most 20 characters.
    type: str
    required: true
  owner:
    description: Login name of its owner, who starts and terminates its computes. Required for O(state=present).
    type: str
  members:
    description:
      - Login names of others whose jobs the vault accepts for its computes.
      - M(hpc.virtual_cluster.vc_computeset) of this release runs as the owner only.
    type: list
    elements: str
  account:
    description: Slurm account that its computes are charged to. Required for O(state=present).
    type: str
  network:
    description: The cluster's own network.
    type: dict
    suboptions:
      cidr:
        description: IPv4 network of its nodes. Left out, V(10.11.0.0/24); the networks of different clusters may be the same.
        type: str
      vni:
        description: VXLAN network identifier. Left out, a free one is given out.
        type: int
      pkey:
        description: InfiniBand partition key without the membership bit, in quotes. Left out, a free one is given out.
        type: str
      mtu:
        description: MTU of the network in bytes; left out, 1500. The underlay needs 50 more.
        type: int
  ssh_authorized_keys:
    description: Public keys that may log in as root on the nodes.
    type: list
    elements: str
  frontend:
    description: The node that stays up and that users log in to.
    type: dict
    suboptions:
      name:
        description: Its name; left out, V(frontend).
        type: str
      host:
        description: Physical host that it runs on.
        type: str
      cpus:
        description: Number of virtual CPUs.
        type: int
      memory:
        description: Memory, such as V(4GiB).
        type: str
      disk:
        description: Size of its disk, such as V(40GiB). Left out, that of its image. One that is there does not grow.
        type: str
      source:
        description: Where its disk comes from.
        type: dict
        suboptions:
          image:
            description: Golden image, V(name) for its newest revision or V(name@rN).
            type: str
      persistent:
        description: A frontend always keeps its disk; only V(true) is accepted.
        type: bool
      macs:
        description: Its MAC address, as a list of one, in quotes. Left out, one is given out.
        type: list
        elements: raw
      address:
        description: Its address inside O(network.cidr). Left out, one is given out.
        type: str
      public:
        description: Its leg in a network of the site.
        type: dict
        suboptions:
          bridge:
            description: Bridge of the physical host.
            type: str
          address:
            description: Address with prefix, such as V(10.79.0.101/24).
            type: str
          gateway:
            description: Default gateway there. Left out, none.
            type: str
  computes:
    description: The nodes that are started as Slurm jobs, in groups that look alike.
    type: list
    elements: dict
    suboptions:
      nodes:
        description: Their names, as a node range such as V(compute[0-15]).
        type: str
      cpus:
        description: Number of virtual CPUs of each.
        type: int
      memory:
        description: Memory of each, such as V(8GiB).
        type: str
      disk:
        description:
          - Size of the disk of each, such as V(20GiB). Left out, that of the image.
          - One that is there is grown with M(hpc.virtual_cluster.image_vault) before its definition is.
        type: str
      source:
        description: Where the disk comes from.
        type: dict
        suboptions:
          image:
            description: Golden image, V(name) for its newest revision or V(name@rN).
            type: str
      persistent:
        description: Whether each keeps a disk of its own; left out, V(false), and each start begins anew from the image.
        type: bool
      macs:
        description: One MAC address for each node, in quotes. Left out, they are given out.
        type: list
        elements: raw
      address:
        description: Address of the first node, the others follow. Left out, they are given out.
        type: str
  state:
    description: Whether the cluster is defined.
    type: str
    choices: [present, absent]
    default: present
  vault_root:
    description: Directory of the vault on its host. Left out, the one that role P(hpc.virtual_cluster.vault#role) has made there.
    type: path
attributes:
  check_mode:
    description: Returns the same object, with the numbers that would be given out; only a new cluster's SSH key is not known yet.
requirements:
  - ssh-keygen on the vault host
extends_documentation_fragment:
  - hpc.virtual_cluster.planned
"""

EXAMPLES = r"""
- name: Define a virtual cluster
  hpc.virtual_cluster.vc_cluster:
    name: vc1
    owner: labuser
    account: physics
    network:
      cidr: 10.11.0.0/24
    frontend:
      host: fe1
      cpus: 2
      memory: 4GiB
      disk: 40GiB
      source:
        image: debian12
    computes:
      - nodes: compute[0-15]
        cpus: 4
        memory: 8GiB
        source:
          image: debian12@r3
  register: vc1

- name: Show the addresses that were given out
  ansible.builtin.debug:
    msg: "{{ vc1.cluster.nodes | items2dict(key_name='name', value_name='address') }}"

- name: Forget a virtual cluster whose nodes are off and whose disks are gone
  hpc.virtual_cluster.vc_cluster:
    name: vc1
    state: absent
"""

RETURN = r"""
cluster:
  description:
    - The resolved cluster, input of the other modules; empty for O(state=absent), and when the whole call was refused.
    - In check mode it is exactly what a run would return, except that RV(cluster.ssh_public_key) of a new cluster is empty.
  returned: always
  type: dict
  contains:
    schema:
      description: Version of this object's form.
      type: int
      returned: always
    name:
      description: Name of the cluster.
      type: str
      returned: always
    owner:
      description: Login name of its owner.
      type: str
      returned: always
    members:
      description: Login names of its members.
      type: list
      elements: str
      returned: always
    account:
      description: Slurm account.
      type: str
      returned: always
    network:
      description: VNI, IPv4 network and MTU in bytes.
      type: dict
      returned: always
      sample: {"vni": 10001, "cidr": "10.11.0.0/24", "mtu": 1500}
    pkey:
      description: InfiniBand partition key.
      type: str
      returned: always
      sample: "0x0001"
    ssh_authorized_keys:
      description: Public keys that may log in as root on the nodes.
      type: list
      elements: str
      returned: always
    ssh_public_key:
      description: The cluster's own public key; its private half goes to the frontend only. Not predicted in check mode.
      type: str
      returned: always
    nodes:
      description: All nodes in the order of their index.
      type: list
      elements: dict
      returned: always
      sample:
        - name: compute0
          role: compute
          index: 1
          mac: "02:00:27:11:00:01"
          guid: "0x0200271100000001"
          address: 10.11.0.2
          cpus: 4
          memory_mib: 8192
          disk_mib: 0
          image: debian12@r3
          persistent: false
          host: ""
          public: null
actions:
  description: The steps that were taken, or would be.
  returned: always
  type: list
  elements: dict
  sample: [{"item": "vc1", "verb": "define", "vni": 10001, "pkey": "0x0001"}]
results:
  description: One entry for the cluster, with what went wrong, if anything did.
  returned: always
  type: list
  elements: dict
  sample: [{"name": "vc1", "changed": true, "state": "present", "actions": ["define"], "msg": "", "error_code": ""}]
error_code:
  description: Stable code of a failure, such as V(in_use), V(conflict), V(backend).
  returned: failure
  type: str
"""

from collections.abc import Mapping, Sequence
from typing import Any, Optional

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.hpc.virtual_cluster.plugins.module_utils import module_runner
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.applier.clusters import ClusterActions
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.command import Commands
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.model.cluster import Cluster
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.model.errors import VcError
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.planner.plan import Action, Done, Plan
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.vault.place import check_root, root_of
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.vault.registry import Registry
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.vault.store_choice import open_store

NODE = {
    "cpus": {"type": "int"},
    "memory": {"type": "str"},
    "disk": {"type": "str"},
    "source": {"type": "dict", "options": {"image": {"type": "str"}}},
    "persistent": {"type": "bool"},
    "macs": {"type": "list", "elements": "raw"},
    "address": {"type": "str"},
}
PUBLIC = {"bridge": {"type": "str"}, "address": {"type": "str"}, "gateway": {"type": "str"}}
NETWORK = {"cidr": {"type": "str"}, "vni": {"type": "int"}, "pkey": {"type": "str", "no_log": False}, "mtu": {"type": "int"}}
ARGUMENTS = {
    "name": {"type": "str", "required": True},
    "owner": {"type": "str"},
    "members": {"type": "list", "elements": "str"},
    "account": {"type": "str"},
    "network": {"type": "dict", "options": NETWORK},
    "ssh_authorized_keys": {"type": "list", "elements": "str", "no_log": False},
    "frontend": {
        "type": "dict",
        "options": {"name": {"type": "str"}, "host": {"type": "str"}, "public": {"type": "dict", "options": PUBLIC}, **NODE},
    },
    "computes": {"type": "list", "elements": "dict", "options": {"nodes": {"type": "str"}, **NODE}},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "vault_root": {"type": "path"},
}


def main() -> None:
    """Plan against the registry, write, and return the cluster as it is registered then."""
    module = AnsibleModule(argument_spec=ARGUMENTS, required_if=[("state", "present", ("owner", "account"))], supports_check_mode=True)
    commands = Commands()
    try:
        root = root_of(module.params["vault_root"])
        check_root(root)
        store = open_store(commands, root)
    except VcError as error:
        module_runner.refuse(module, error, cluster={})
    clusters = ClusterActions(commands, Registry(root), store)
    wanted = {key: value for key, value in module.params.items() if key not in ("state", "vault_root")}
    planned: dict[str, Any] = {}

    def plan() -> Plan:
        if module.params["state"] == "absent":
            planned["plan"], planned["cluster"] = clusters.plan_absent(wanted["name"]), None
        else:
            planned["plan"], planned["cluster"] = clusters.plan_present(wanted)
        return planned["plan"]

    def apply(_actions: Sequence[Action], done: Done) -> Mapping[str, VcError]:
        if module.params["state"] == "absent":
            return clusters.apply_absent(planned["plan"], done)
        return clusters.apply_present(wanted, planned["plan"], done)

    def answer(_plan: Plan, predicted: bool) -> dict[str, Any]:
        cluster: Optional[Cluster] = planned["cluster"] if predicted else clusters.read(wanted["name"])
        return {} if cluster is None else cluster.to_dict()

    module_runner.run(module, "cluster", plan, apply, answer)


if __name__ == "__main__":
    main()
