#!/usr/bin/python
# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Start, extend and terminate computesets."""

from __future__ import annotations

DOCUMENTATION = r"""
module: vc_computeset
short_description: Start, extend and terminate the computes of a virtual cluster, or throw-away machines
version_added: "0.1.0"
description:
  - A computeset is a number of a virtual cluster's computes that are started together, as one Slurm job of the cluster's owner.
  - Runs on a host where C(sbatch) works, as the cluster's owner and never as root. The job is charged to the cluster's account and
    holds until it is terminated or its walltime ends. Where Slurm's commands are in a directory of their own, add it to C(PATH) by the
    task's C(environment).
  - With O(vms) it starts throw-away machines instead, for which nobody has to define anything. They are a virtual cluster of their own,
    called C(job) and the job's number, with a network that only they are in, and are gone with the job. Which images a user may start
    them from is the admin's to say, see O(hpc.virtual_cluster.image_vault#module:goldens[].access).
  - A set is identified by O(cluster) and O(name) among the owner's live jobs. A set that already runs as asked is not touched,
    one that has ended, or is just ending, is started again. Other nodes, another image or another account are refused; a different
    walltime is set, if Slurm allows it. Sets of throw-away machines are identified by O(name) alone.
  - A job that Slurm calls running although none of its hypervisors has an agent of it is cancelled, and the set started again. One that
    has lost the hypervisor of its batch script while nodes run on others is reported, and can only be terminated.
  - Terminating asks the guests to shut down; only O(on_timeout=cancel) pulls the power cord.
options:
  cluster:
    description:
      - The resolved cluster, as M(hpc.virtual_cluster.vc_cluster) returns it.
      - Left out, the set is one of throw-away machines; with O(state=absent) then nothing but O(name) is needed.
    type: dict
  name:
    description: Name of the computeset. It is what makes a second run find the first one's job.
    type: str
    required: true
  nodes:
    description:
      - Computes to start, as a node range such as V(compute[0-3]).
      - The range that a set comes to, in its shortest form, has to fit into the 1024 bytes of a Slurm job's comment beside its names.
        A longer one is refused, also one of computes that O(count) has chosen.
    type: str
  count:
    description: How many computes to start; free ones are taken in the order of the definition.
    type: int
  vms:
    description:
      - Throw-away machines to start, as golden images and how many of each, such as V(debian12:4,tiny@r2:1). They are called V(vm0),
        V(vm1) and so on in this order.
      - An image without a revision means its newest one when the first of them starts.
    type: str
  cpus:
    description: CPUs of each throw-away machine; 1 unless given.
    type: int
  memory:
    description: Memory of each throw-away machine; V(512MiB) unless given.
    type: str
  ssh_authorized_keys:
    description: Public keys with which one may log in as root on throw-away machines. Looked at when the set is started.
    type: list
    elements: str
  walltime:
    description:
      - How long the set may run, such as V(30m), V(6h), V(2d) or Slurm's V(1-12:00:00); rounded up to minutes, two at least.
      - Left out, a new set gets the partition's default, and a live set keeps what it has.
      - Slurm lets only its operators lengthen a job that already runs; for others that is refused beforehand.
    type: str
  account:
    description:
      - Slurm account to charge.
      - Defaults to the cluster's own, and any other is refused, because no hypervisor would start its nodes.
      - Throw-away machines default to the user's own default account.
    type: str
  per_host:
    description: How many of the guests each hypervisor gets. Left out, Slurm packs them as it packs tasks.
    type: int
  hosts:
    description: Run on exactly these hypervisors. Every one of them gets at least one node.
    type: list
    elements: str
    default: []
  exclude_hosts:
    description: Never run on these hypervisors.
    type: list
    elements: str
    default: []
  memory_overhead:
    description:
      - Memory that the job asks for beyond each guest's own, for QEMU and the agent.
      - Raise it where guests are emulated rather than run by KVM, or where jobs die of C(OUT_OF_MEMORY).
    type: str
    default: 256MiB
  grace:
    description: How long guests get to shut down by themselves before they are powered off, when the set ends or is terminated.
    type: str
    default: 20s
  partition:
    description: Slurm partition to submit to. Looked at when the set is started, not afterwards.
    type: str
  reservation:
    description: Slurm reservation to submit into. Looked at when the set is started, not afterwards.
    type: str
  qos:
    description: Slurm QOS to submit with. Looked at when the set is started, not afterwards.
    type: str
  state:
    description: V(started) or V(absent), which means that no live job is this set.
    type: str
    choices: [started, absent]
    default: started
  wait:
    description:
      - Wait until every node runs, or with O(state=absent) until the job has left its hypervisors.
      - Without it, O(state=absent) only sees to it that the set knows that it has to stop, and fails when it cannot be told.
    type: bool
    default: true
  wait_timeout:
    description: How long to wait at most, in seconds.
    type: int
    default: 600
  on_timeout:
    description:
      - What becomes of the job when O(wait_timeout) is over. The module fails in either case, with the last state and Slurm's reason,
        unless it had been asked to remove the job and did.
      - V(leave) leaves the job as it is, and the next run waits on. V(cancel) cancels it.
    type: str
    choices: [leave, cancel]
    default: leave
extends_documentation_fragment:
  - hpc.virtual_cluster.planned
seealso:
  - module: hpc.virtual_cluster.vc_cluster
  - module: hpc.virtual_cluster.vc_info
"""

EXAMPLES = r"""
- name: Start two computes, one on each hypervisor
  hpc.virtual_cluster.vc_computeset:
    cluster: "{{ resolved }}"
    name: sim
    nodes: compute[0-1]
    per_host: 1
    walltime: 6h
  become: true
  become_user: "{{ resolved.owner }}"

- name: Start four computes, whichever are free, and give up after five minutes in the queue
  hpc.virtual_cluster.vc_computeset:
    cluster: "{{ resolved }}"
    name: batch
    count: 4
    walltime: 2h
    wait_timeout: 300
    on_timeout: cancel
  become: true
  become_user: "{{ resolved.owner }}"

- name: Start five throw-away machines on a network of their own
  hpc.virtual_cluster.vc_computeset:
    name: try
    vms: debian12:4,tiny:1
    cpus: 2
    memory: 1GiB
    ssh_authorized_keys: ["{{ lookup('ansible.builtin.file', '~/.ssh/id_ed25519.pub') }}"]
    walltime: 2h

- name: Terminate them
  hpc.virtual_cluster.vc_computeset:
    name: try
    state: absent

- name: Terminate the set
  hpc.virtual_cluster.vc_computeset:
    cluster: "{{ resolved }}"
    name: sim
    state: absent
  become: true
  become_user: "{{ resolved.owner }}"
"""

RETURN = r"""
computeset:
  description: The set as it is, or in check mode as it would be; after a failure as far as it is known, empty when the call was refused.
  returned: always
  type: dict
  contains:
    name:
      description: Name of the set.
      type: str
      returned: always
      sample: sim
    cluster:
      description: Name of its cluster; of throw-away machines empty while there is no job.
      type: str
      returned: always
      sample: vc1
    job_id:
      description: Its Slurm job, null if there is none or, in check mode, none yet.
      type: int
      returned: always
      sample: 42
    state:
      description: One of V(pending), V(starting), V(running), V(stopping), V(completed), V(failed), V(cancelled), V(timeout), V(absent).
      type: str
      returned: always
      sample: running
    nodes:
      description:
        - By name, each node's C(state), its hypervisor C(host) (empty while it has none), its C(address) in the cluster's network and
          C(msg), what its agent has to say.
      type: dict
      returned: always
      sample: {compute0: {state: running, host: hv1, address: 10.11.0.2, msg: ""}}
    walltime_seconds:
      description: Its walltime, null if it has no limit or if that is not known yet.
      type: int
      returned: always
      sample: 21600
    remaining_seconds:
      description: What is left of it.
      type: int
      returned: always
      sample: 21570
    account:
      description: The Slurm account that is charged.
      type: str
      returned: always
      sample: physics
    reason:
      description: Slurm's reason for a job that does not run, or what is known about a failure; empty otherwise.
      type: str
      returned: always
      sample: AssocGrpCPUMinutesLimit
    output:
      description: Where the job writes its log, over that of the set's last job, on a file system that the hypervisors see.
      type: str
      returned: always
      sample: /home/labuser/.vc-vc1-sim.log
    rejected_jobs:
      description: The first 100 live jobs of other users that claim this cluster. They are never counted.
      type: list
      elements: dict
      returned: always
      sample: [{job_id: 43, user: otheruser, computeset: sim}]
actions:
  description: What was done, in order, or would be done.
  returned: always
  type: list
  elements: dict
  sample: [{item: vc1/sim, verb: submit, nodes: [compute0], account: physics, walltime_seconds: 21600}]
results:
  description: One entry, with C(name), C(changed), C(state), C(actions), C(msg), C(error_code).
  returned: always
  type: list
  elements: dict
error_code:
  description: Stable code of a failure, such as V(in_use), V(forbidden), V(timeout).
  returned: failure
  type: str
"""

import os
import pwd
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils import module_runner
from ..module_utils.applier.computeset import ComputesetActions
from ..module_utils.command import Commands
from ..module_utils.planner.plan import Plan
from ..module_utils.slurm import jobs


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "cluster": {"type": "dict"},
            "name": {"type": "str", "required": True},
            "nodes": {"type": "str"},
            "count": {"type": "int"},
            "vms": {"type": "str"},
            "cpus": {"type": "int"},
            "memory": {"type": "str"},
            # Public keys.
            "ssh_authorized_keys": {"type": "list", "elements": "str", "no_log": False},
            "walltime": {"type": "str"},
            "account": {"type": "str"},
            "per_host": {"type": "int"},
            "hosts": {"type": "list", "elements": "str", "default": []},
            "exclude_hosts": {"type": "list", "elements": "str", "default": []},
            "memory_overhead": {"type": "str", "default": "256MiB"},
            "grace": {"type": "str", "default": "20s"},
            "partition": {"type": "str"},
            "reservation": {"type": "str"},
            "qos": {"type": "str"},
            "state": {"type": "str", "choices": ["started", "absent"], "default": "started"},
            "wait": {"type": "bool", "default": True},
            "wait_timeout": {"type": "int", "default": 600},
            "on_timeout": {"type": "str", "choices": ["leave", "cancel"], "default": "leave"},
        },
        mutually_exclusive=[["nodes", "count", "vms"], ["cluster", "vms"]],
        required_by={"nodes": "cluster", "count": "cluster", "cpus": "vms", "memory": "vms", "ssh_authorized_keys": "vms"},
        required_if=[["state", "started", ["nodes", "count", "vms"], True]],
        supports_check_mode=True,
    )
    account = pwd.getpwuid(os.geteuid())
    computeset = ComputesetActions(Commands(jobs.environment(os.environ)), module.params, account.pw_name, account.pw_dir)

    def answer(planned: Plan, predicted: bool) -> dict[str, Any]:
        seen, error = computeset.answer(planned, predicted)
        if error is not None:
            raise module_runner.Incomplete(error, seen)
        return seen

    module_runner.run(module, "computeset", computeset.plan, computeset.apply, answer)


if __name__ == "__main__":
    main()
