#!/usr/bin/python
# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Switch nodes of a virtual cluster on and off."""

from __future__ import annotations

DOCUMENTATION = r"""
module: vc_power
short_description: Switch nodes of a virtual cluster on and off
version_added: "0.1.0"
description:
  - Uses the power switch, the power button and the reset button of nodes that are there already.
  - Computes are switched on a host where C(srun) works, as the cluster's owner; the frontend on its own host, as root.
  - A compute belongs to the job of its running set. Switched off, it keeps its place in that job, its lease and what it has written, and is
    switched on again in the same job; the account goes on being charged. What is in no running set cannot be switched on; see
    M(hpc.virtual_cluster.vc_computeset).
  - A compute that switches itself off can be switched on as long as other guests of the set run on its hypervisor. The job ends
    when the last guest has switched itself off and none is held by this module.
  - Switching a frontend on does what M(hpc.virtual_cluster.vc_frontend) does, with all its checks.
options:
  cluster:
    description: The resolved cluster, as M(hpc.virtual_cluster.vc_cluster) returns it.
    type: dict
    required: true
  nodes:
    description: The nodes to switch, as a node range such as V(compute[0-3]). All of them computes, or the frontend alone.
    type: str
    required: true
  state:
    description:
      - What the nodes are to be. One that is so already is not touched.
      - V(powered_on) also lets a suspended node go on, and takes back a request to shut down that is still under way.
      - V(powered_off) pulls the plug. V(shutdown) presses the power button until the guest has switched itself off.
    type: str
    choices: [powered_on, powered_off, shutdown]
  action:
    description:
      - What is done to the nodes, every time.
      - V(reboot) shuts a node down and switches it on again; one that is off is switched on. V(reset) presses its reset button.
    type: str
    choices: [reboot, reset]
  wait:
    description:
      - Wait until all nodes are off, or run.
      - Without it, nobody looks what becomes of it. What is still under way then is returned as V(stopping) or V(booting).
      - Without it, a frontend that is asked to reboot is only asked to shut down, because nobody stays to switch it on again;
        so that is refused.
    type: bool
    default: true
  wait_timeout:
    description: How long to wait at most, in seconds. It is also how long a guest has to react to its power button.
    type: int
    default: 300
  on_timeout:
    description:
      - What becomes of a node that does not react to its power button within O(wait_timeout).
      - V(leave) leaves it as it is, and the module fails. V(force) pulls the plug of a node that was to shut down, and resets one that
        was to reboot.
    type: str
    choices: [leave, force]
    default: leave
  host_config:
    description: The configuration of a frontend host.
    type: path
    default: /etc/hpc-virtual-cluster/host.json
extends_documentation_fragment:
  - hpc.virtual_cluster.planned
seealso:
  - module: hpc.virtual_cluster.vc_computeset
  - module: hpc.virtual_cluster.vc_frontend
"""

EXAMPLES = r"""
- name: Shut two computes down, and pull the plug after a minute
  hpc.virtual_cluster.vc_power:
    cluster: "{{ resolved }}"
    nodes: compute[0-1]
    state: shutdown
    wait_timeout: 60
    on_timeout: force
  become: true
  become_user: "{{ resolved.owner }}"

- name: Switch them on again, in the same job
  hpc.virtual_cluster.vc_power:
    cluster: "{{ resolved }}"
    nodes: compute[0-1]
    state: powered_on
  become: true
  become_user: "{{ resolved.owner }}"

- name: Reset the frontend, on its host
  hpc.virtual_cluster.vc_power:
    cluster: "{{ resolved }}"
    nodes: frontend
    action: reset
"""

RETURN = r"""
nodes:
  description:
    - By name, each node as it is, or in check mode as it would be. Empty when the whole call was refused.
    - C(state) is its node state, such as V(running), V(off), V(suspended) or V(crashed). C(host) is where it is, empty for a compute in no
      running set. C(msg) is what its agent has to say. C(computeset) and C(job_id) are a compute's running set; empty and null without.
  returned: always
  type: dict
  sample: {compute0: {state: "off", host: hv1, msg: switched off on request, computeset: sim, job_id: 42}}
actions:
  description: What was done, or would be done, in order.
  returned: always
  type: list
  elements: dict
  sample: [{item: vc1/compute0, verb: power_off, node: compute0, host: hv1, job_id: 42}]
results:
  description: One entry for each node, with C(name), C(changed), C(state), C(actions), C(msg), C(error_code).
  returned: always
  type: list
  elements: dict
error_code:
  description: Stable code of the first failure, such as V(conflict), V(forbidden), V(timeout).
  returned: failure
  type: str
"""

import os
import pwd
from collections.abc import Mapping
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils import host_config, module_runner
from ..module_utils.applier.compute_power import ComputeSwitches
from ..module_utils.applier.power import PowerActions, Switches
from ..module_utils.command import Commands
from ..module_utils.model.errors import VcError
from ..module_utils.planner.plan import Plan
from ..module_utils.planner.power import Wish, read_options
from ..module_utils.slurm import jobs


def open_switches(wish: Wish, options: Mapping[str, Any]) -> Switches:
    """Those of this host that the wish is about."""
    if wish.role == "compute":
        return ComputeSwitches(Commands(jobs.environment(os.environ)), wish, pwd.getpwuid(os.geteuid()).pw_name)
    # Only here: on other hosts there is no libvirt to import.
    from ..module_utils.frontend.host import FrontendHost
    from ..module_utils.frontend.power import FrontendSwitch
    from ..module_utils.libvirt.system import System
    from ..module_utils.planner import frontend
    from ..module_utils.vault.client import VaultClient

    config, commands, system = host_config.load(options["host_config"]), Commands(), System()
    host = FrontendHost(commands, config, VaultClient(commands, config), system, frontend.Wish(wish.cluster, wish.nodes[0]))
    return FrontendSwitch(wish, config.name, system, host)


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "cluster": {"type": "dict", "required": True},
            "nodes": {"type": "str", "required": True},
            "state": {"type": "str", "choices": ["powered_on", "powered_off", "shutdown"]},
            "action": {"type": "str", "choices": ["reboot", "reset"]},
            "wait": {"type": "bool", "default": True},
            "wait_timeout": {"type": "int", "default": 300},
            "on_timeout": {"type": "str", "choices": ["leave", "force"], "default": "leave"},
            "host_config": {"type": "path", "default": host_config.PATH},
        },
        mutually_exclusive=[["state", "action"]],
        required_one_of=[["state", "action"]],
        supports_check_mode=True,
    )
    options = module.params
    try:
        wish = read_options(options)
        switches = open_switches(wish, options)
    except VcError as error:
        module_runner.refuse(module, error, nodes={})
    power = PowerActions(wish, switches, options["wait_timeout"], options["on_timeout"] == "force")

    def answer(planned: Plan, predicted: bool) -> dict[str, Any]:
        nodes, errors = power.answer(planned, predicted)
        if errors:
            raise module_runner.Incomplete(errors[0], nodes, *errors[1:])
        return nodes

    module_runner.run(module, "nodes", power.plan, power.apply, answer)


if __name__ == "__main__":
    main()
