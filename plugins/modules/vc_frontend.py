#!/usr/bin/python
# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Run the frontend of a virtual cluster."""

from __future__ import annotations

DOCUMENTATION = r"""
module: vc_frontend
short_description: Run the frontend of a virtual cluster
version_added: "0.1.0"
description:
  - Runs the frontend of a virtual cluster as a persistent libvirt domain on the host that the definition names, or removes it.
  - Its disk is a lease of the vault's, like that of any node. The guest reads its base from the vault; what it writes stays in a local
    file below C(/var/lib/vc-frontends), which is brought home by none of the modules of this release.
  - Its card in the virtual cluster's network is a tap that exists before the domain and comes back, pinned, after a reboot of the host.
  - A running frontend is never switched off. What changes in its definition takes effect at its next power-on.
  - Only C(source.image) is supported in this release.
options:
  cluster:
    description: The resolved cluster, as RV(hpc.virtual_cluster.vc_cluster#module:cluster) of M(hpc.virtual_cluster.vc_cluster).
    type: dict
    required: true
  state:
    description:
      - Whether the frontend is there.
      - V(absent) is refused while it runs. It keeps disk and lease, so that V(present) goes on with them, unless O(remove_disk=true).
    type: str
    choices: [present, absent]
    default: present
  started:
    description: Whether to switch it on when it is off.
    type: bool
    default: true
  autostart:
    description: Whether it starts with its host.
    type: bool
    default: true
  remove_disk:
    description:
      - With O(state=absent), give up the lease and delete what the guest has written. This cannot be undone.
    type: bool
    default: false
  wait:
    description: Whether to wait until the guest has started its services, as its cloud-init says on its console.
    type: bool
    default: true
  wait_timeout:
    description: How long to wait, in seconds.
    type: int
    default: 600
  host_config:
    description: The host's configuration.
    type: path
    default: /etc/hpc-virtual-cluster/host.json
requirements:
  - libvirt with its QEMU driver, and python3-libvirt
  - QEMU with its iSCSI driver
  - Open vSwitch 2.10 or newer
extends_documentation_fragment:
  - hpc.virtual_cluster.planned
"""

EXAMPLES = r"""
- name: Run the frontend
  hpc.virtual_cluster.vc_frontend:
    cluster: "{{ vc1.cluster }}"

- name: Give up a frontend that is switched off, with all that was written in it
  hpc.virtual_cluster.vc_frontend:
    cluster: "{{ vc1.cluster }}"
    state: absent
    remove_disk: true
"""

RETURN = r"""
frontend:
  description: The frontend; empty when the whole call was refused.
  returned: always
  type: dict
  contains:
    cluster:
      description: Name of the virtual cluster.
      type: str
      returned: always
    name:
      description: Name of the node.
      type: str
      returned: always
    state:
      description: V(absent), V(off), V(running), V(suspended), V(stopping) or V(crashed).
      type: str
      returned: always
    host:
      description: Host that it runs on.
      type: str
      returned: always
    domain:
      description: Name of its libvirt domain.
      type: str
      returned: always
      sample: vc1.frontend
    mac:
      description: MAC address in the virtual cluster's network.
      type: str
      returned: always
    address:
      description: Address in the virtual cluster's network.
      type: str
      returned: always
    public_address:
      description: Address in the site's network, without prefix; empty when it has none.
      type: str
      returned: always
    autostart:
      description: Whether it starts with its host.
      type: bool
      returned: always
actions:
  description: What was done, or would be done, in order.
  returned: always
  type: list
  elements: dict
  sample: [{"item": "vc1/frontend", "verb": "start"}]
results:
  description: Whether it changed, its state, and why it was refused.
  returned: always
  type: list
  elements: dict
  contains:
    name:
      description: Cluster and node.
      type: str
      returned: always
      sample: vc1/frontend
    changed:
      description: Whether anything was written.
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
from ..module_utils.frontend.host import FrontendHost
from ..module_utils.libvirt.system import System
from ..module_utils.model.cluster import Cluster
from ..module_utils.model.errors import VcError
from ..module_utils.planner.frontend import Facts, Wish, final_state, not_up, plan_frontend
from ..module_utils.planner.plan import Action, Done, Plan
from ..module_utils.vault.client import VaultClient


def read_wish(parameters: Mapping[str, Any]) -> Wish:
    cluster = Cluster.from_dict(parameters["cluster"])
    node = cluster.frontend
    if node is None:
        raise VcError("unknown", cluster.name, "looking for its frontend", "the definition has none", "add frontend to it")
    present = parameters["state"] == "present"
    if present and parameters["remove_disk"]:
        raise VcError("invalid", "remove_disk", "reading the options", "it is for state=absent only", "leave it out")
    return Wish(cluster, node, present, parameters["started"], parameters["autostart"], parameters["remove_disk"])


class Frontend:
    """The module's call."""

    def __init__(self, wish: Wish, host: FrontendHost, parameters: Mapping[str, Any]) -> None:
        self._wish = wish
        self._host = host
        self._wait = parameters["wait"] and wish.present and wish.started
        self._timeout = parameters["wait_timeout"]
        self._facts: Facts = Facts("")

    def plan(self) -> Plan:
        self._facts = self._host.read()
        return Plan((plan_frontend(self._wish, self._facts),))

    def apply(self, actions: Sequence[Action], done: Done) -> Mapping[str, VcError]:
        try:
            with self._host.locked():
                again = plan_frontend(self._wish, self._host.read())
                if again.error is not None:
                    raise again.error
                if [action.verb for action in again.actions] != [action.verb for action in actions]:
                    detail = "another command is changing it at the same time"
                    raise VcError("conflict", self._wish.item, "carrying out the plan", detail, "run it again")
                self._host.apply(actions, done)
        except VcError as error:
            return {self._wish.item: error}
        return {}

    def answer(self, plan: Plan, predicted: bool) -> dict[str, Any]:
        if predicted and not plan.errors:
            there = self._wish.present
            return self._describe(final_state(self._wish, self._facts) if there else "absent", there and self._wish.autostart)
        facts = self._facts if predicted else self._host.look()
        up = True
        if self._wait and not predicted and facts.state == "running":
            up = self._host.wait(self._timeout)
            facts = self._host.look()
        answer = self._describe("absent" if facts.domain == "missing" else facts.state, facts.autostart)
        error = None if predicted else not_up(self._wish, facts, up, self._timeout, self._host.console)
        if error is not None:
            raise module_runner.Incomplete(error, answer)
        return answer

    def _describe(self, state: str, autostart: bool) -> dict[str, Any]:
        node = self._wish.node
        return {
            "cluster": self._wish.cluster.name,
            "name": node.name,
            "state": state,
            "host": node.host,
            "domain": self._wish.domain,
            "mac": node.mac,
            "address": node.address,
            "public_address": "" if node.public is None else node.public.address.split("/")[0],
            "autostart": autostart,
        }


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "cluster": {"type": "dict", "required": True},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "started": {"type": "bool", "default": True},
            "autostart": {"type": "bool", "default": True},
            "remove_disk": {"type": "bool", "default": False},
            "wait": {"type": "bool", "default": True},
            "wait_timeout": {"type": "int", "default": 600},
            "host_config": {"type": "path", "default": host_config.PATH},
        },
        supports_check_mode=True,
    )
    commands = Commands()
    try:
        wish = read_wish(module.params)
        config = host_config.load(module.params["host_config"])
        host = FrontendHost(commands, config, VaultClient(commands, config), System(), wish)
    except VcError as error:
        module_runner.refuse(module, error, frontend={})
    frontend = Frontend(wish, host, module.params)
    module_runner.run(module, "frontend", frontend.plan, frontend.apply, frontend.answer)


if __name__ == "__main__":
    main()
