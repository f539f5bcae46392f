#!/usr/bin/python
# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Declare the networks of virtual clusters on an overlay host."""

from __future__ import annotations

DOCUMENTATION = r"""
module: ovs_vxlan
short_description: Declare the networks of virtual clusters on an overlay host
version_added: "0.1.0"
description:
  - Makes, repairs or removes the Open vSwitch bridges of virtual clusters on the host it runs on - one bridge for each network, with one
    VXLAN tunnel to each peer and the network's VNI as key.
  - All changes of a call are one OVSDB transaction. What is ours is marked in C(external_ids); foreign bridges and ports are never
    touched, and a name that a foreign one has is refused.
  - A bridge forwards nothing but untagged IPv4 and ARP of its nodes, each with its own MAC and address. Without these flows it forwards
    nothing at all.
  - A network that was not declared here is made when a node of it starts on this host, and goes with its last node. A declared one stays.
  - Whether peers can be reached is not checked; tunnels have no state.
options:
  networks:
    description: The networks to declare or remove; others are left alone.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Name of the virtual cluster.
        type: str
        required: true
      vni:
        description:
          - Its VXLAN network identifier, RV(hpc.virtual_cluster.vc_cluster#module:cluster.network) of M(hpc.virtual_cluster.vc_cluster).
          - Required for O(networks[].state=present).
        type: int
      mtu:
        description: MTU of the network in bytes. The underlay needs 50 more.
        type: int
        default: 1500
      state:
        description:
          - Whether the network is declared on this host.
          - A network is not removed while nodes are attached to it.
        type: str
        choices: [present, absent]
        default: present
  local_ip:
    description: IPv4 address of this host on the underlay. Left out, that of the host's configuration.
    type: str
  peers:
    description:
      - IPv4 addresses of all overlay hosts on the underlay; this host's own may be among them.
      - Left out, those of the host's configuration.
    type: list
    elements: str
  datapath:
    description:
      - Datapath of the bridges, V(system) for the kernel's or V(netdev) for the one in user space.
      - Left out, that of the host's configuration.
    type: str
    choices: [system, netdev]
  underlay_mtu:
    description:
      - MTU of the underlay in bytes. Left out, that of the host's configuration.
      - The interface that has O(local_ip) is looked at as well.
    type: int
  host_config:
    description: The host's configuration. Not read when O(local_ip), O(peers), O(datapath) and O(underlay_mtu) are all given.
    type: path
    default: /etc/hpc-virtual-cluster/host.json
requirements:
  - Open vSwitch 2.10 or newer
  - iproute2
extends_documentation_fragment:
  - hpc.virtual_cluster.planned
"""

EXAMPLES = r"""
- name: Declare the network of a virtual cluster
  hpc.virtual_cluster.ovs_vxlan:
    networks:
      - name: "{{ vc1.cluster.name }}"
        vni: "{{ vc1.cluster.network.vni }}"
        mtu: "{{ vc1.cluster.network.mtu }}"

- name: Take it off this host again
  hpc.virtual_cluster.ovs_vxlan:
    networks:
      - name: vc1
        state: absent
"""

RETURN = r"""
networks:
  description: The networks of the call, in its order; none when the whole call was refused.
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
    vni:
      description: VXLAN network identifier.
      type: int
      returned: when present
    mtu:
      description: MTU in bytes.
      type: int
      returned: when present
    bridge:
      description: Name of its bridge.
      type: str
      returned: when present
      sample: vcb10001
    datapath:
      description: Datapath of the bridge.
      type: str
      returned: when present
    declared:
      description: Whether it stays without a node.
      type: bool
      returned: when present
    tunnels:
      description: Port and peer of each tunnel.
      type: list
      elements: dict
      returned: when present
      sample: [{"port": "v0027110a580016", "peer": "10.88.0.22"}]
    taps:
      description: Ports of nodes that run on this host.
      type: list
      elements: str
      returned: when present
actions:
  description: What was done, or would be done, in order; C(vsctl) are the commands of the transaction.
  returned: always
  type: list
  elements: dict
  sample:
    - item: vc1
      verb: repair
      vni: 10001
      ports: [v0027110a580016]
      vsctl: [[add-port, vcb10001, v0027110a580016]]
results:
  description: For each network, whether it changed, its state, and why it was refused.
  returned: always
  type: list
  elements: dict
  contains:
    name:
      description: Name of the network.
      type: str
      returned: always
    changed:
      description: Whether it was changed.
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
  description: Stable code of a failure, such as V(in_use), V(conflict), V(backend).
  returned: failure
  type: str
"""

from collections.abc import Mapping, Sequence
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils import host_config, module_runner
from ..module_utils.command import Commands
from ..module_utils.model.errors import VcError
from ..module_utils.model.host import OverlayHost
from ..module_utils.overlay import flows, ovsdb, ports, taps
from ..module_utils.overlay.state import Network
from ..module_utils.planner import overlay as planner
from ..module_utils.planner.plan import Action, Done, Plan

SETTINGS = ("local_ip", "peers", "datapath", "underlay_mtu")


def overlay_host(parameters: Mapping[str, Any]) -> OverlayHost:
    given = {key: parameters[key] for key in SETTINGS if parameters[key] is not None}
    if len(given) < len(SETTINGS):
        configured = host_config.load(parameters["host_config"]).overlay
        if configured is None:
            remedy = "give local_ip, peers, datapath and underlay_mtu, or run the role that prepares this host"
            raise VcError("unknown", parameters["host_config"], "looking up this host's place in the overlay", "it has none", remedy)
        given = {**configured.to_dict(), **given}
    return OverlayHost.from_dict(given)


class Networks:
    """The module's call: reads once, plans, writes, reads back."""

    def __init__(self, commands: Commands, items: Sequence[Mapping[str, Any]], host: OverlayHost) -> None:
        self._commands = commands
        self._requests = planner.read_requests(items)
        self._host = host
        self._damaged: list[VcError] = []

    def plan(self) -> Plan:
        current = ovsdb.read(self._commands)
        present = [request.vni for request in self._requests if request.present]
        there = [network for network in current.networks if network.vni in present]
        patience = flows.Patience()
        unpinned = [network.vni for network in there if not self._pinned(network, patience)]
        return planner.plan_networks(self._requests, self._host, taps.underlay(self._commands, self._host.local_ip), current, unpinned)

    def apply(self, actions: Sequence[Action], done: Done) -> Mapping[str, VcError]:
        failures: dict[str, VcError] = {}
        written: list[Action] = []
        for part in ovsdb.batches(actions, lambda action: action.details["vsctl"]):
            sections = [section for action in part for section in action.details["vsctl"]]
            try:
                ovsdb.write(self._commands, sections, "changing the networks " + ", ".join(action.item for action in part))
            except VcError as error:
                failures = {action.item: error for action in actions if action not in written}
                break
            for action in part:
                if action.details["vsctl"]:
                    done(action)
            written += part
        current = ovsdb.read(self._commands)
        patience = flows.Patience()
        for action in written:
            network = current.network(action.details["vni"])
            if action.verb == "remove" or network is None:
                continue
            try:
                ports.check_opened(network)
                flows.install(network, patience)
            except VcError as error:
                failures[action.item] = error
        return failures

    def answer(self, plan: Plan, predicted: bool) -> list[dict[str, Any]]:
        if predicted and self._damaged:
            raise module_runner.Incomplete(self._damaged[0], self._predicted(plan), *self._damaged[1:])
        if predicted:
            return self._predicted(plan)
        current = ovsdb.read(self._commands)
        found = [(request, planner.find(request, current)) for request in self._requests]
        return [planner.absent(request) if network is None else planner.describe(network) for request, network in found]

    def _predicted(self, plan: Plan) -> list[dict[str, Any]]:
        return [dict(item.after) if item.after else planner.absent(request) for item, request in zip(plan.items, self._requests)]

    def _pinned(self, network: Network, patience: flows.Patience) -> bool:
        """Whether it has its flows.  Of one with a port that cannot be understood nobody can say; to pin it will fail, and nothing else."""
        try:
            return flows.installed(network, patience)
        except VcError as error:
            detail = f"{error.item}: {error.detail}"
            self._damaged.append(VcError(error.code, network.cluster, "installing its flows", detail, error.remedy))
            return False


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "networks": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {
                    "name": {"type": "str", "required": True},
                    "vni": {"type": "int"},
                    "mtu": {"type": "int", "default": 1500},
                    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
                },
            },
            "local_ip": {"type": "str"},
            "peers": {"type": "list", "elements": "str"},
            "datapath": {"type": "str", "choices": ["system", "netdev"]},
            "underlay_mtu": {"type": "int"},
            "host_config": {"type": "path", "default": host_config.PATH},
        },
        supports_check_mode=True,
    )
    try:
        networks = Networks(Commands(), module.params["networks"], overlay_host(module.params))
    except VcError as error:
        module_runner.refuse(module, error, networks=[])
    try:
        with ports.locked():
            module_runner.run(module, "networks", networks.plan, networks.apply, networks.answer, nothing=[])
    except VcError as error:
        module_runner.refuse(module, error, networks=[])


if __name__ == "__main__":
    main()
