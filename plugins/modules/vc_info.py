#!/usr/bin/python
# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Tell what of virtual clusters lives on a host."""

from __future__ import annotations

DOCUMENTATION = r"""
module: vc_info
short_description: Tell what of virtual clusters lives on a host
version_added: "0.1.0"
description:
  - Reads what one host knows about virtual clusters and changes nothing. Every fact is asked of its owner, in one call each.
  - The filter P(hpc.virtual_cluster.vc_view#filter) joins what several hosts answered into one picture.
options:
  gather:
    description:
      - What to read here.
      - V(vault) reads the registry, leases, disks and golden images; on the vault host, as root.
      - V(slurm) reads jobs that claim to be computesets; on any host where C(squeue) works, as any user who may see all jobs.
      - V(libvirt) reads the frontends' domains; on a frontend host, as root.
      - V(fabric) reads the partitions in O(opensm_path) and their ports' own tables; on the subnet manager's host, as root.
    type: list
    elements: str
    choices: [vault, slurm, libvirt, fabric]
    required: true
  cluster:
    description: Only this virtual cluster. Left out, all of them.
    type: str
  vault_root:
    description:
      - Directory of the vault on its host, for V(vault). Left out, the one that role P(hpc.virtual_cluster.vault#role) has made there.
    type: path
  opensm_path:
    description: OpenSM's partition file, for V(fabric).
    type: path
    default: /etc/opensm/partitions.conf
  opensm_unit:
    description: Name of OpenSM's systemd unit, for V(fabric), or a pattern that one running unit has.
    type: str
    default: opensm*.service
attributes:
  check_mode:
    description: Can run in check mode and return what would be.
    support: full
  diff_mode:
    description: Will return details on what has changed.
    support: none
author:
  - hpc.virtual_cluster contributors (@hpc-virtual-cluster)
seealso:
  - plugin: hpc.virtual_cluster.vc_view
    plugin_type: filter
"""

EXAMPLES = r"""
- name: Read the registry and its leases
  hpc.virtual_cluster.vc_info:
    gather: [vault]
  register: vault_info
  become: true

- name: Read the jobs that claim vc1
  hpc.virtual_cluster.vc_info:
    gather: [slurm]
    cluster: vc1
  register: slurm_info
"""

RETURN = r"""
results:
  description: One entry for each kind, in the order asked for; what one host cannot tell keeps nothing back that it can. One entry for
    what is wrong with the options.
  returned: always
  type: list
  elements: dict
  sample: [{name: vault, changed: false, state: read, actions: [], msg: "", error_code: ""}]
vault:
  description: What the vault holds, without secrets.
  returned: when V(vault) was asked for and could be read
  type: dict
  contains:
    clusters:
      description:
        - By name, each with C(cluster) (the resolved cluster), C(leases) (by node), C(disks) (by node) and C(snapshots) (of disks, by node
          and name).
      type: dict
      returned: success
      sample:
        vc1:
          cluster: {name: vc1, owner: labuser}
          leases: {compute0: {epoch: 3, state: running, holder: {kind: job, job_id: 42, host: hv1, user: labuser}}}
          disks: {frontend: {disk_mib: 40960, generation: 1, image: debian12@r1, pristine: true}}
          snapshots: {}
    claims:
      description: VNIs, pkeys, MACs and GUIDs that were given out.
      type: dict
      returned: success
      sample: {vni: {"10001": vc1}}
    goldens:
      description: Golden images and their revisions.
      type: dict
      returned: success
      sample: {debian12: {"debian12@r1": {size_mib: 2048}}}
    isos:
      description: Installation media.
      type: dict
      returned: success
      sample: {"debian-12.iso": {size: 662700032}}
    exports:
      description: iSCSI targets that are served now.
      type: dict
      returned: success
      sample: {}
slurm:
  description: What Slurm knows.
  returned: when V(slurm) was asked for and could be read
  type: dict
  contains:
    jobs:
      description:
        - Jobs that claim to be a computeset and have not ended. A claim is a job's own word, and anybody can forge one;
          only P(hpc.virtual_cluster.vc_view#filter) tells which of them count.
        - C(nodes) is the node range that the job claims, as it wrote it.
        - C(state) is V(pending), V(running) or V(stopping). C(walltime_seconds) and C(remaining_seconds) are null without a limit.
      type: list
      elements: dict
      returned: success
      sample:
        - job_id: 42
          restart_count: 0
          user: labuser
          account: physics
          partition: vc
          state: running
          reason: ""
          cluster: vc1
          computeset: sim
          nodes: compute[0-1]
          hosts: [hv1, hv2]
          walltime_seconds: 21600
          remaining_seconds: 21570
libvirt:
  description: What libvirt runs here.
  returned: when V(libvirt) was asked for and could be read
  type: dict
  contains:
    frontends:
      description: Domains that are frontends of virtual clusters, each with the name of this host as leases have it.
      type: list
      elements: dict
      returned: success
      sample: [{cluster: vc1, node: frontend, domain: vc1.frontend, state: running, autostart: true, host: fe1}]
fabric:
  description: The InfiniBand fabric as far as it is ours.
  returned: when V(fabric) was asked for and could be read
  type: dict
  contains:
    partitions:
      description: As M(hpc.virtual_cluster.ib_partition) returns them.
      type: list
      elements: dict
      returned: success
      sample: [{name: vc1, state: present, pkey: "0x0001", guids: ["0x0200271100000000"], off_fabric: [], problems: []}]
    default_open:
      description: Whether an admin's line makes all ports full members of the default partition, so that partitions separate nobody.
      type: bool
      returned: success
error_code:
  description: Stable code of a failure, such as V(backend) or V(unknown).
  returned: failure
  type: str
"""

import os
import time
from collections.abc import Callable, Mapping
from typing import Any, Optional

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.command import Commands
from ..module_utils.fabric import daemon, ports
from ..module_utils.fabric.document import default_is_open
from ..module_utils.fabric.partition_file import PATH, PartitionFile
from ..module_utils.model import names
from ..module_utils.model.errors import VcError
from ..module_utils.planner.partition import describe
from ..module_utils.slurm import jobs
from ..module_utils.slurm.claimed import claimed
from ..module_utils.vault.command import open_leases
from ..module_utils.vault.place import check_root, check_root_name, root_of


def readers(options: Mapping[str, Any]) -> dict[str, Callable[[], dict[str, Any]]]:
    """What reads each kind that was asked for, in that order.  VcError for options that are wrong on any host."""
    only = "" if options["cluster"] is None else names.cluster_name(options["cluster"])
    if options["vault_root"] is not None:
        check_root_name(options["vault_root"])
    daemon.check_unit("opensm_unit", options["opensm_unit"])
    partitions = PartitionFile(options["opensm_path"], "opensm_path")
    known: dict[str, Callable[[], dict[str, Any]]] = {
        "vault": lambda: read_vault(only, options["vault_root"]),
        "slurm": lambda: read_slurm(only),
        "libvirt": lambda: read_libvirt(only),
        "fabric": lambda: read_fabric(only, partitions, options["opensm_unit"]),
    }
    asked = options["gather"]
    for number, kind in enumerate(asked):
        if kind in asked[:number]:
            detail = f"gather[{asked.index(kind)}] is {kind} too"
            raise VcError("duplicate", f"gather[{number}]", "reading the options", detail, "name every kind once")
    return {kind: known[kind] for kind in asked}


def read_vault(only: str, asked: Optional[str]) -> dict[str, Any]:
    if os.geteuid() != 0:
        raise VcError("forbidden", "vault", "reading the registry", "it is root's", "set `become: true`")
    root = root_of(asked)
    check_root(root)
    return open_leases(root).everything(only)


def read_slurm(only: str) -> dict[str, Any]:
    listed = jobs.read(Commands(jobs.environment(os.environ)))
    return {"jobs": [job for job in claimed(listed, int(time.time())) if only in ("", job["cluster"])]}


def read_libvirt(only: str) -> dict[str, Any]:
    try:
        # Only here: on other hosts there is no libvirt to import.
        from ..module_utils.libvirt.system import read_frontends
    except ImportError as error:
        raise VcError("backend", "libvirt", "reading the frontends", str(error), "ask a frontend host") from None

    return {"frontends": [domain for domain in read_frontends() if only in ("", domain["cluster"])]}


def read_fabric(only: str, file: PartitionFile, unit: str) -> dict[str, Any]:
    commands, document = Commands(), file.read()
    listed = [one for name, one in sorted(document.partitions.items()) if only in ("", name)]
    tables = ports.Ports(daemon.find(commands, unit)).read(ports.expected(([one], one) for one in listed))
    return {"partitions": [describe(one, tables) for one in listed], "default_open": default_is_open(document)}


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "gather": {"type": "list", "elements": "str", "choices": ["vault", "slurm", "libvirt", "fabric"], "required": True},
            "cluster": {"type": "str"},
            "vault_root": {"type": "path"},
            "opensm_path": {"type": "path", "default": PATH},
            "opensm_unit": {"type": "str", "default": daemon.UNITS},
        },
        supports_check_mode=True,
    )
    found: dict[str, Any] = {}
    errors: dict[str, VcError] = {}
    asked: dict[str, Callable[[], dict[str, Any]]] = {}
    try:
        asked = readers(module.params)
    except VcError as error:
        errors[error.item] = error
    for kind, read in asked.items():
        try:
            found[kind] = read()
        except VcError as error:
            errors[kind] = error
        except OSError as error:
            remedy = "mend that as root on this host, then ask again"
            errors[kind] = VcError("backend", kind, "reading what there is", str(error), remedy)
    outcome = {"changed": False, "results": [told(name, errors.get(name)) for name in asked or errors], **found}
    if errors:
        first = next(iter(errors.values()))
        module.fail_json(msg=str(first), error_code=first.code, **outcome)
    module.exit_json(**outcome)


def told(name: str, error: Optional[VcError]) -> dict[str, Any]:
    """One entry of ``results``."""
    why = {"msg": str(error), "error_code": error.code} if error else {"msg": "", "error_code": ""}
    return {"name": name, "changed": False, "state": "unknown" if error else "read", "actions": [], **why}


if __name__ == "__main__":
    main()
