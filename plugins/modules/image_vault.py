#!/usr/bin/python
# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Manage golden images, node disks, snapshots and ISOs in the vault."""

from __future__ import annotations

DOCUMENTATION = r"""
module: image_vault
short_description: Manage golden images, node disks, snapshots and ISOs in the vault
version_added: "0.1.0"
description:
  - Imports golden images into the vault as numbered revisions, makes, grows and removes the disks of persistent nodes, gives names to
    their states, and keeps installation media.
  - Runs on the vault host as root. Stored images never change; what changes gets a new revision.
  - Exactly one of O(goldens), O(disks), O(snapshots) and O(isos) is given. If any item is refused, nothing is written.
  - Nothing is removed on the side. A golden image with disks that were made from it, and a disk with snapshots, are refused by name.
  - The same with each kind of store; which one a vault has is a variable of role P(hpc.virtual_cluster.vault#role).
options:
  goldens:
    description: Golden images.
    type: list
    elements: dict
    suboptions:
      name:
        description: Name of the image, without a revision.
        type: str
        required: true
      source:
        description:
          - Absolute path of the file to import, on the vault host; not a symbolic link. Required unless O(goldens[].state=absent).
        type: str
      format:
        description:
          - Format of O(goldens[].source). It is never guessed, because a guest could have written a header into a raw disk.
          - A qcow2 file must be complete in itself, without backing file or external data.
        type: str
        choices: [raw, qcow2]
        default: raw
      revision:
        description:
          - Number of the revision. Left out, a file that was imported before is found again, another one becomes the next revision;
            with O(goldens[].state=absent) it means all revisions.
        type: int
      access:
        description:
          - Who may start throw-away machines from the image, with M(hpc.virtual_cluster.vc_computeset) and no virtual cluster.
          - Entries are V(user:NAME), V(account:NAME) (a Slurm account that the job is charged to) or V(all).
          - It is the image's, whichever revision. Left out, it stays as it is, which for a new image means nobody. It ends with the
            last revision.
        type: list
        elements: str
      state:
        description:
          - Whether the image is in the vault. One that a node runs on, needs at its next start, or has a disk that was made from it, is
            not removed.
        type: str
        choices: [present, absent]
        default: present
  disks:
    description: Disks of persistent nodes. A node without one gets it at its first start, so this is for making them earlier or larger.
    type: list
    elements: dict
    suboptions:
      cluster:
        description: Name of the virtual cluster, which must be registered.
        type: str
        required: true
      node:
        description: Name of the node.
        type: str
        required: true
      image:
        description: Golden image to begin with. Left out, what the node's definition says. It is not changed afterwards.
        type: str
      size:
        description: Size, such as V(40GiB). Left out, what the definition says. Disks only grow, and only while nothing runs on them.
        type: str
      state:
        description:
          - Whether the node has a disk. Removing one loses its content; refused while the node is leased or not flushed, or has snapshots.
        type: str
        choices: [present, absent]
        default: present
  snapshots:
    description:
      - States of node disks that are kept under a name.
      - A snapshot is of what the vault has. So none is taken while the node is leased or not flushed. One that is there is left as it is.
    type: list
    elements: dict
    suboptions:
      cluster:
        description: Name of the virtual cluster.
        type: str
        required: true
      node:
        description: Name of the node, which must have a disk in the vault.
        type: str
        required: true
      name:
        description: Name of the snapshot.
        type: str
        required: true
      state:
        description: Whether the disk has this snapshot.
        type: str
        choices: [present, absent]
        default: present
  isos:
    description: Installation media, stored byte for byte. Nothing boots from them in this release.
    type: list
    elements: dict
    suboptions:
      name:
        description: Name of the ISO in the vault.
        type: str
        required: true
      source:
        description:
          - Absolute path of the file to import, on the vault host; not a symbolic link. Required unless O(isos[].state=absent).
        type: str
      checksum:
        description: What the file must be, as V(sha256:) and 64 hexadecimal digits. It is checked in check mode as well.
        type: str
      state:
        description: Whether the ISO is in the vault. A name that is there is never given other content.
        type: str
        choices: [present, absent]
        default: present
  vault_root:
    description: Directory of the vault on its host. Left out, the one that role P(hpc.virtual_cluster.vault#role) has made there.
    type: path
attributes:
  check_mode:
    description: Returns what a run would return, with the revisions that it would give.
requirements:
  - qemu-img on the vault host, for qcow2
extends_documentation_fragment:
  - hpc.virtual_cluster.planned
"""

EXAMPLES = r"""
- name: Import a golden image
  hpc.virtual_cluster.image_vault:
    goldens:
      - name: debian12
        source: /srv/images/debian-12.qcow2
        format: qcow2

- name: Let everybody who computes for physics start machines from it
  hpc.virtual_cluster.image_vault:
    goldens:
      - name: debian12
        source: /srv/images/debian-12.qcow2
        format: qcow2
        access: ["account:physics"]

- name: Make the frontend's disk before its first start
  hpc.virtual_cluster.image_vault:
    disks:
      - cluster: vc1
        node: frontend
        size: 40GiB

- name: Keep the state that a disk has in the vault
  hpc.virtual_cluster.image_vault:
    snapshots:
      - cluster: vc1
        node: frontend
        name: before-upgrade

- name: Import an installation medium
  hpc.virtual_cluster.image_vault:
    isos:
      - name: debian-12.iso
        source: /srv/isos/debian-12.iso
        checksum: "sha256:{{ debian_12_sha256 }}"

- name: Remove an old revision that nobody needs
  hpc.virtual_cluster.image_vault:
    goldens:
      - name: debian12
        revision: 1
        state: absent
"""

RETURN = r"""
images:
  description: One entry for each item, in the order given; none when the whole call was refused.
  returned: always
  type: list
  elements: dict
  contains:
    name:
      description: Name of a golden image, a snapshot or an ISO.
      type: str
      returned: for goldens, snapshots and isos
    revision:
      description: Its revision; 0 where all were meant.
      type: int
      returned: for goldens
    image:
      description: Image and revision, as a definition names it; for a disk, what it was made from.
      type: str
      returned: when there is one
      sample: debian12@r1
    format:
      description: Format that it was imported from.
      type: str
      returned: for goldens that are present
    size_mib:
      description: Size of the disk that a guest sees, in MiB.
      type: int
      returned: for goldens that are present
    access:
      description: Who may start throw-away machines from the image.
      type: list
      elements: str
      returned: for goldens that are present
      sample: ["account:physics"]
    cluster:
      description: Virtual cluster of a disk.
      type: str
      returned: for disks and snapshots
    node:
      description: Node of a disk.
      type: str
      returned: for disks and snapshots
    generation:
      description: Newest generation of a disk; the one that a snapshot keeps.
      type: int
      returned: for disks and snapshots that are present
    disk_mib:
      description: Size of a disk in MiB.
      type: int
      returned: for disks and snapshots that are present
    pristine:
      description: Whether nothing was brought home to the disk since it was made from its image.
      type: bool
      returned: for disks and snapshots that are present
    size_bytes:
      description: Size of an ISO.
      type: int
      returned: for isos that are present
    sha256:
      description: SHA-256 of an ISO.
      type: str
      returned: for isos that are present
    state:
      description: V(present), V(absent) or V(failed).
      type: str
      returned: always
actions:
  description: The steps that were taken, or would be.
  returned: always
  type: list
  elements: dict
  sample: [{"item": "debian12", "verb": "import", "revision": 1, "source": "/srv/images/debian-12.qcow2", "format": "qcow2"}]
results:
  description: One entry for each item, with what went wrong, if anything did.
  returned: always
  type: list
  elements: dict
  sample: [{"name": "debian12", "changed": true, "state": "present", "actions": ["import"], "msg": "", "error_code": ""}]
error_code:
  description: Stable code of a failure, such as V(in_use), V(conflict), V(backend).
  returned: failure
  type: str
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.hpc.virtual_cluster.plugins.module_utils import module_runner
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.applier.images import ImageActions
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.applier.isos import IsoActions
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.applier.snapshots import SnapshotActions
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.command import Commands
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.model.errors import VcError
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.planner.images import parse_disks, parse_goldens
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.planner.isos import parse_isos
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.planner.plan import Plan
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.planner.snapshots import parse_snapshots
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.vault.place import check_root, root_of
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.vault.registry import Registry
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.vault.store_choice import open_store

STATE = {"type": "str", "choices": ["present", "absent"], "default": "present"}
GOLDEN = {
    "name": {"type": "str", "required": True},
    "source": {"type": "str"},
    "format": {"type": "str", "choices": ["raw", "qcow2"], "default": "raw"},
    "revision": {"type": "int"},
    "access": {"type": "list", "elements": "str"},
    "state": STATE,
}
DISK = {
    "cluster": {"type": "str", "required": True},
    "node": {"type": "str", "required": True},
    "image": {"type": "str"},
    "size": {"type": "str"},
    "state": STATE,
}
SNAPSHOT = {
    "cluster": {"type": "str", "required": True},
    "node": {"type": "str", "required": True},
    "name": {"type": "str", "required": True},
    "state": STATE,
}
ISO = {
    "name": {"type": "str", "required": True},
    "source": {"type": "str"},
    "checksum": {"type": "str"},
    "state": STATE,
}
KINDS = ("goldens", "disks", "snapshots", "isos")
ARGUMENTS = {
    "goldens": {"type": "list", "elements": "dict", "options": GOLDEN},
    "disks": {"type": "list", "elements": "dict", "options": DISK},
    "snapshots": {"type": "list", "elements": "dict", "options": SNAPSHOT},
    "isos": {"type": "list", "elements": "dict", "options": ISO},
    "vault_root": {"type": "path"},
}


def main() -> None:
    """Plan against the store, write, and return every item as it is then."""
    module = AnsibleModule(argument_spec=ARGUMENTS, mutually_exclusive=[KINDS], required_one_of=[KINDS], supports_check_mode=True)
    try:
        root = root_of(module.params["vault_root"])
        check_root(root)
        store = open_store(Commands(), root)
    except VcError as error:
        module_runner.refuse(module, error, images=[])
    registry = Registry(root)
    images, snapshots, isos = ImageActions(registry, store), SnapshotActions(registry, store), IsoActions(registry, store)
    kind = next(kind for kind in KINDS if module.params[kind] is not None)
    parse, plan_items, apply = {
        "goldens": (parse_goldens, images.plan_goldens, images.apply_goldens),
        "disks": (parse_disks, images.plan_disks, images.apply_disks),
        "snapshots": (parse_snapshots, snapshots.plan, snapshots.apply),
        "isos": (parse_isos, isos.plan, isos.apply),
    }[kind]
    requests: list[Any] = []
    planned: list[dict[str, Any]] = []

    def look() -> tuple[Plan, list[dict[str, Any]]]:
        return plan_items(requests)

    def plan() -> Plan:
        requests.extend(parse(module.params[kind]))
        wanted, shown = look()
        planned.extend(shown)
        return wanted

    def answer(wanted: Plan, predicted: bool) -> list[dict[str, Any]]:
        if predicted or not wanted.actions:
            return planned
        left, shown = look()
        # What still has something to do has failed on the way.
        return [{**entry, "state": "failed"} if item.actions or item.error else entry for item, entry in zip(left.items, shown)]

    module_runner.run(module, "images", plan, apply, answer, nothing=[])


if __name__ == "__main__":
    main()
