# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an unmodified cloud-init is told about a node: meta-data, user-data and network-config, all JSON, which is YAML too.  Pure.

Who may log in where: every node lets root in with the cluster's ``ssh_authorized_keys`` and with the cluster's own key.  The private
half of that key is on the frontend only.  Computes are throw-away machines that run anybody's job; from one to the next goes whoever
brings an agent along.

Host keys of nodes are not checked between nodes: computes make new ones at every start, and a node cannot send with another's address,
because every host drops such frames.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import Any

from ..model.cluster import Cluster, Node

NETWORK_CARD = "vc0"
PUBLIC_CARD = "public0"
HOSTS_FILE = "/etc/virtual-cluster.hosts"
KEY_FILE = "/etc/ssh/virtual_cluster_key"
SSH_CONFIG = "/etc/ssh/ssh_config.d/50-virtual-cluster.conf"
_BEGIN, _END = "# BEGIN virtual cluster", "# END virtual cluster"
# Users keep their own lines; ours are replaced at every boot.
_MERGE_HOSTS = (
    f"touch /etc/hosts && sed '/^{_BEGIN}/,/^{_END}/d' /etc/hosts | cat - {HOSTS_FILE} > /etc/hosts.new"
    " && chmod 0644 /etc/hosts.new && mv /etc/hosts.new /etc/hosts"
)
# A guest that loses power during its first start has files of no length, and cloud-init would never make the keys again.
_MEND_HOST_KEYS = (
    "if find /etc/ssh -name 'ssh_host_*' -size 0 | grep -q .; then rm -f /etc/ssh/ssh_host_*"
    " && ssh-keygen -q -t ed25519 -N '' -f /etc/ssh/ssh_host_ed25519_key; fi"
)


def documents(cluster: Cluster, node: Node, ssh_private_key: str = "") -> dict[str, bytes]:
    """File name -> content of the seed.  Equal definitions give equal bytes.  `ssh_private_key` is for the frontend."""
    network = network_config(cluster, node)
    # cloud-init sets network and host keys anew when this changes, and only then: adding a compute must not change the frontend's host key.
    identity = hashlib.sha256(f"{node.guid} {json.dumps(network, sort_keys=True)}".encode()).hexdigest()[:12]
    meta_data = {"instance-id": f"{cluster.name}.{node.name}.{identity}", "local-hostname": node.name}
    return {
        "meta-data": _json(meta_data),
        "network-config": _json(network),
        "user-data": b"#cloud-config\n" + _json(user_data(cluster, node, ssh_private_key)),
    }


def network_config(cluster: Cluster, node: Node) -> dict[str, Any]:
    """cloud-init's network configuration, version 2: cards are found by MAC, nothing is asked of the network."""
    cards = {NETWORK_CARD: _card(node.mac, f"{node.address}/{cluster.network.cidr.split('/')[1]}", NETWORK_CARD, cluster.network.mtu)}
    if node.public is not None:
        card = _card(public_mac(node), node.public.address, PUBLIC_CARD, 1500)
        if node.public.gateway:
            card["routes"] = [{"to": "0.0.0.0/0", "via": node.public.gateway}]
        cards[PUBLIC_CARD] = card
    return {"version": 2, "ethernets": cards}


def public_mac(node: Node) -> str:
    """The MAC of a frontend's card in the site's network: as in its own network, with another first octet (06, locally administered)."""
    return f"06{node.mac[2:]}"


def user_data(cluster: Cluster, node: Node, ssh_private_key: str = "") -> dict[str, Any]:
    """cloud-config, without its first line.

    The lists of modules are short because every module costs a guest under emulation a good part of a second.
    """
    files = [_file(HOSTS_FILE, hosts(cluster), "0644"), _file(SSH_CONFIG, ssh_config(cluster, bool(ssh_private_key)), "0644")]
    if ssh_private_key:
        files.append(_file(KEY_FILE, ssh_private_key.rstrip("\n") + "\n", "0600"))
    keys = [*cluster.ssh_authorized_keys, *([cluster.ssh_public_key] if cluster.ssh_public_key else [])]
    modules: list[Any] = [["write-files", "always"], ["bootcmd", "always"]]
    if node.disk_mib:
        modules += ["growpart", "resizefs"]
    modules += ["set_hostname", "update_hostname", ["users-groups", "always"], "ssh"]
    # What a throw-away disk has lost is not missed.
    kept: dict[str, Any] = {"runcmd": [["sync"]]} if node.persistent else {}
    return {
        **kept,
        "hostname": node.name,
        "fqdn": f"{node.name}.{cluster.name}",
        "preserve_hostname": False,
        "prefer_fqdn_over_hostname": False,
        "manage_etc_hosts": False,
        "disable_root": False,
        "ssh_pwauth": False,
        "ssh_genkeytypes": ["ed25519"],
        "ssh": {"emit_keys_to_console": False},
        "users": [{"name": "root", "lock_passwd": False, "ssh_authorized_keys": keys}],
        "write_files": files,
        "bootcmd": [["sh", "-c", _MERGE_HOSTS], ["sh", "-c", _MEND_HOST_KEYS]],
        "updates": {"network": {"when": ["boot"]}},
        "cloud_init_modules": modules,
        # An image may do without this stage.
        "cloud_config_modules": [],
        "cloud_final_modules": [*(["runcmd", "scripts-user"] if kept else []), "final-message"],
        "final_message": f"{up_message(cluster, node)} after $UPTIME s",
    }


def up_message(cluster: Cluster, node: Node) -> str:
    """What cloud-init writes to the console when it has done everything and all services were started."""
    return f"virtual cluster node {cluster.name}/{node.name} is up"


def hosts(cluster: Cluster) -> str:
    """The block of /etc/hosts that names all nodes."""
    lines = [f"{node.address} {node.name} {node.name}.{cluster.name}" for node in cluster.nodes]
    return "\n".join([f"{_BEGIN} {cluster.name} (written at every boot)", *lines, _END, ""])


def ssh_config(cluster: Cluster, has_key: bool) -> str:
    """How ssh treats the cluster's own nodes."""
    return "".join(f"{line}\n" for line in _ssh_lines(cluster, has_key))


def _ssh_lines(cluster: Cluster, has_key: bool) -> Iterator[str]:
    names = [name for node in cluster.nodes for name in (node.name, f"{node.name}.{cluster.name}")]
    if has_key:
        yield f"Match localuser root originalhost {','.join(names)}"
        yield f"    IdentityFile {KEY_FILE}"
    yield f"Host {' '.join(names)}"
    for line in ("StrictHostKeyChecking no", "UserKnownHostsFile /dev/null", "GlobalKnownHostsFile /dev/null", "LogLevel ERROR"):
        yield f"    {line}"


def _card(mac: str, address: str, name: str, mtu: int) -> dict[str, Any]:
    fixed = {"dhcp4": False, "dhcp6": False, "optional": True}
    return {"match": {"macaddress": mac}, "set-name": name, "addresses": [address], "mtu": mtu, **fixed}


def _file(path: str, content: str, mode: str) -> dict[str, str]:
    return {"path": path, "content": content, "permissions": mode, "owner": "root:root"}


def _json(value: Any) -> bytes:
    return (json.dumps(value, indent=1, sort_keys=True) + "\n").encode("ascii")
