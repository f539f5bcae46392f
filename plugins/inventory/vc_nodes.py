# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Inventory: the nodes of all virtual clusters."""

from __future__ import annotations

DOCUMENTATION = r"""
name: vc_nodes
short_description: The nodes of all virtual clusters
version_added: "0.1.0"
author:
  - hpc.virtual_cluster contributors (@hpc-virtual-cluster)
description:
  - Asks the vault which virtual clusters there are, Slurm which computesets, and frontend hosts what their frontends do. Each is asked
    with one command, all of them at the same time, however many nodes there are.
  - A node is called C(NODE.CLUSTER), for example C(compute0.vc1), as it calls itself.
  - A job counts as a computeset only if its nodes are leased to it, or if it is pending and its user and account are authorized for
    that virtual cluster. Any other job that claims to be one appears nowhere.
  - Groups are C(vc_nodes), one for each virtual cluster (C(vc1)), role (C(vc_role_frontend), C(vc_role_compute)),
    computeset (C(vc1__sim)) and state (C(vc_state_running)). In group names, dashes become underscores; of several dashes in a row, all
    but the first become C(D). A virtual cluster whose group would be one of the others, or C(all) or C(ungrouped), gets C(_) in front.
  - Nodes that are switched off are in the inventory as well; V(vc1:&vc_state_running) is a pattern for those that can be reached.
  - Frontends are reached at their public address, computes through the frontend of their virtual cluster. A virtual cluster whose
    frontend has no public address is only reached from where its own network is.
notes:
  - The file name must end with C(.vc_nodes.yml) or C(.vc_nodes.yaml).
  - Ansible goes on without an inventory that it could not read, with a warning. E(ANSIBLE_INVENTORY_ANY_UNPARSED_IS_FAILED) makes that
    an error.
  - Host variables are C(vc_cluster), C(vc_node), C(vc_role), C(vc_state), C(vc_computeset), C(vc_host) (where it runs), C(vc_mac),
    C(vc_address), C(vc_public_address), C(vc_owner), C(vc_account) and C(vc_job_id) (of its job), C(vc_left_seconds) (of its job's
    walltime), C(vc_read_at) (when the sources were asked, in epoch seconds) and C(vc_stale), besides what the connection needs.
  - What sources say is never used as a template.
  - Host keys of computes are not checked, because they are made anew at every start; their hosts drop what another node sends with their
    address.
  - The cache keeps what sources said and not hosts, so that changes of O(compose), O(groups) and O(keyed_groups) count at once.
extends_documentation_fragment:
  - ansible.builtin.constructed
  - ansible.builtin.inventory_cache
options:
  plugin:
    description: Tells that this file is for this plugin.
    type: str
    required: true
    choices: [hpc.virtual_cluster.vc_nodes]
  sources:
    description:
      - Whom to ask. Only O(sources.vault) is needed; without O(sources.slurm) there are no computesets, without O(sources.libvirt)
        the state of a frontend is what the vault was told last.
    type: dict
    required: true
    suboptions:
      vault:
        description:
          - The vault host, as a user who may run C(vc-vault status). A key of its own with the forced command
            C(/usr/lib/hpc-virtual-cluster/bin/vc-vault status) is enough.
        type: dict
        required: true
        suboptions: &source
          host:
            description: Where ssh goes. Either this or C(local) is needed.
            type: str
          local:
            description: Run the command on this machine, without ssh.
            type: bool
            default: false
          user:
            description: Login on that host. Left out, ssh decides.
            type: str
          port:
            description: Port of its sshd. Left out, ssh decides.
            type: int
          private_key_file:
            description: Key for that host. C(~) is expanded, a relative path is counted from the inventory file. Left out, ssh decides.
            type: str
          known_hosts_file:
            description:
              - Where the key of that host is looked for, and nowhere else. C(~) is expanded, a relative path is counted from the inventory
                file. Left out, ssh decides.
            type: str
          ssh_args:
            description: More arguments of ssh, one word each.
            type: list
            elements: str
          command:
            description:
              - What to run there instead, one word each, for example with C(sudo) in front. It prints what the usual command prints.
              - That is C(vc-vault status), C(squeue --json --states=all), and for a frontend host a program of this plugin that prints
                C({"frontends":) C([{"cluster":) C("vc1",) C("node":) C("frontend",) C("state":) C("running",) C("host":) C("fe1"}]}).
              - C(host) is its name in the site's inventory. Left out, it is taken for the right one where no other host is.
            type: list
            elements: str
      slurm:
        description: A host where C(squeue) works, as a user who may see all jobs.
        type: dict
        suboptions: *source
      libvirt:
        description: The frontend hosts, as root or another user who may read the system libvirt.
        type: list
        elements: dict
        suboptions: *source
  source_timeout:
    description: How many seconds a source may take to answer.
    type: int
    default: 30
  on_source_failure:
    description:
      - What to do when a source gives no answer.
      - V(error) is an error that names it.
      - V(stale) shows what was read last, however old that is, with C(vc_stale) set to true and a warning. It needs O(cache) and an
        O(cache_plugin) that keeps files, such as V(ansible.builtin.jsonfile). For answers that are never older than need be, set
        O(cache_timeout) to one second.
    type: str
    choices: [error, stale]
    default: error
  node_user:
    description: Login on the nodes.
    type: str
    default: root
  node_private_key_file:
    description:
      - Key for the nodes, frontends and computes. C(~) is expanded, a relative path is counted from the inventory file.
      - Left out, ssh decides.
    type: str
  frontend_host_keys:
    description:
      - Whether host keys of frontends are checked.
      - V(accept_new) takes a key that is seen for the first time and insists on it from then on.
      - V(check) wants it to be known already.
      - V(ignore) takes any key. Whoever is between this machine and the frontend can then be the frontend.
    type: str
    choices: [accept_new, check, ignore]
    default: accept_new
"""

EXAMPLES = r"""
# site.vc_nodes.yml
plugin: hpc.virtual_cluster.vc_nodes
sources:
  vault: {host: nas, user: root}
  slurm: {host: login1}
  libvirt:
    - {host: fe1, user: root}
    - {host: fe2, user: root}

---
# On the vault host itself; shows the last known state when something is away
plugin: hpc.virtual_cluster.vc_nodes
sources:
  vault: {local: true, command: [sudo, -n, /usr/lib/hpc-virtual-cluster/bin/vc-vault, status]}
  slurm: {host: login1, private_key_file: ~/.ssh/inventory_ed25519}
on_source_failure: stale
cache: true
cache_plugin: ansible.builtin.jsonfile
cache_connection: ~/.cache/vc-nodes
cache_timeout: 60
keyed_groups:
  - {key: vc_owner, prefix: owner}
groups:
  ends_soon: vc_left_seconds is not none and vc_left_seconds < 3600
compose:
  ansible_python_interpreter: "'/usr/bin/python3'"
"""

import contextlib
import hashlib
import os
import time
from typing import Any, Optional

from ansible.errors import AnsibleError, AnsibleParserError
from ansible.plugins.inventory import BaseInventoryPlugin, Cacheable, Constructable, get_cache_plugin
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.inventory import source
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.inventory.hosts import Access, Host, hosts
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.model.errors import VcError

# Of what is kept in the cache; raised when its shape changes.
SCHEMA = 1


class InventoryModule(BaseInventoryPlugin, Constructable, Cacheable):
    """What Ansible loads."""

    NAME = "hpc.virtual_cluster.vc_nodes"

    def verify_file(self, path: str) -> bool:
        return bool(super().verify_file(path)) and path.endswith((".vc_nodes.yml", ".vc_nodes.yaml"))

    def parse(self, inventory: Any, loader: Any, path: str, cache: bool = True) -> None:
        super().parse(inventory, loader, path, cache)
        self._read_config_data(path)
        directory = os.path.dirname(os.path.abspath(path))
        try:
            sources = source.parse(self.get_option("sources"), directory)
            self._insist_on_cache()
            key = source.local_path(self.get_option("node_private_key_file") or "", directory)
            access = Access(str(self.get_option("node_user")), key, self.get_option("frontend_host_keys"))
            found, view = self._hosts(path, sources, access, cache)
        except VcError as error:
            raise AnsibleParserError(f"{self.NAME}: {error}") from error
        for job in view["rejected"]:
            self.display.vv(f"{self.NAME}: job {job['job_id']} is part of no virtual cluster: {job['reason']}")
        for line in view["drift"]:
            self.display.vv(f"{self.NAME}: {line}")
        self._populate(found)

    def _insist_on_cache(self) -> None:
        if self.get_option("on_source_failure") != "stale":
            return
        # Better now than when the source is away.
        if not self.get_option("cache") or str(self.get_option("cache_plugin")).rpartition(".")[2] == "memory":
            remedy = "set cache: true and a cache_plugin that keeps files, such as ansible.builtin.jsonfile, with its cache_connection"
            raise VcError("invalid", "on_source_failure", "using stale", "nothing is kept that could be shown", remedy)

    def _hosts(self, path: str, sources: list[source.Source], access: Access, cache: bool) -> tuple[list[Host], dict[str, Any]]:
        """The nodes and the view they come from: out of the cache, else by asking, else, where that is wanted, as they were last."""
        key, mark = self.get_cache_key(path), hashlib.sha256(repr(sources).encode()).hexdigest()
        is_kept = bool(self.get_option("cache"))
        if is_kept and cache:
            kept = self._kept(self._cache, key, mark)
            if kept is not None:
                with contextlib.suppress(VcError):
                    return hosts(kept, access, int(time.time()))
        try:
            raw = source.read(sources, float(self.get_option("source_timeout")))
            made = hosts(raw, access, int(time.time()))
        except VcError as error:
            if self.get_option("on_source_failure") != "stale":
                raise
            return self._stale(error, key, mark, access)
        # Only now: what no host can be made of must not take the place of what was good.
        if is_kept:
            self._cache[key] = {"schema": SCHEMA, "sources": mark, "raw": raw}
        return made

    def _stale(self, error: VcError, key: str, mark: str, access: Access) -> tuple[list[Host], dict[str, Any]]:
        kept = self._last(key, mark)
        if kept is None:
            raise VcError(error.code, error.item, error.tried, f"{error.detail} (and nothing was read before)", error.remedy)
        made = hosts(kept, access, int(time.time()), stale=True)
        age = max(0, int(time.time()) - int(kept["read_at"]))
        self.display.warning(f"{self.NAME}: {error}. Showing what was read {age} s ago, with vc_stale: true.")
        return made

    def _last(self, key: str, mark: str) -> Optional[dict[str, Any]]:
        """What the cache holds, expired or not."""
        given = {"_uri": self.get_option("cache_connection"), "_prefix": self.get_option("cache_prefix")}
        settings = {name: value for name, value in given.items() if value is not None}
        return self._kept(get_cache_plugin(self.get_option("cache_plugin"), _timeout=0, **settings), key, mark)

    def _kept(self, cache: Any, key: str, mark: str) -> Optional[dict[str, Any]]:
        try:
            entry = cache[key]
        except KeyError:
            return None
        except AnsibleError as error:
            self.display.warning(f"{self.NAME}: the cache cannot be read, asking the sources: {error}")
            return None
        # Other sources, or another release, filled it.
        if not isinstance(entry, dict) or entry.get("schema") != SCHEMA or entry.get("sources") != mark:
            return None
        raw = entry.get("raw")
        return raw if isinstance(raw, dict) else None

    def _populate(self, found: list[Host]) -> None:
        strict = self.get_option("strict")
        compose, groups, keyed_groups = (self.get_option(name) for name in ("compose", "groups", "keyed_groups"))
        for group in sorted({group for host in found for group in host.groups}):
            self.inventory.add_group(group)
        for host in found:
            self.inventory.add_host(host.name)
            for group in host.groups:
                self.inventory.add_child(group, host.name)
            for name, value in host.variables.items():
                self.inventory.set_variable(host.name, name, value)
            variables = host.variables
            if compose:
                self._set_composite_vars(compose, variables, host.name, strict=strict)
                variables = dict(self.inventory.get_host(host.name).vars)
            # All variables are at hand; having Ansible fetch them again costs more than all the rest.
            self._add_host_to_composed_groups(groups, variables, host.name, strict=strict, fetch_hostvars=False)
            self._add_host_to_keyed_groups(keyed_groups, variables, host.name, strict=strict, fetch_hostvars=False)
