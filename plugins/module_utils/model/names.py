# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Names that users choose.  Everything that later becomes part of a path, a host name or a command line passes here first."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Optional

from .errors import VcError

# A node is reachable as <node>.<cluster> and, beside the cluster, as <cluster>-<node>: both must fit into one 63 character host name label.
_CLUSTER = re.compile(r"[a-z](?:[a-z0-9-]*[a-z0-9])?")
_CLUSTER_LENGTH = 20
_NODE_LENGTH = 32
_SET_LENGTH = 20
_USER = re.compile(r"[a-z_](?:[a-z0-9_.-]*[a-z0-9_-])?")
_USER_LENGTH = 32
_ACCOUNT = re.compile(r"[a-z0-9_](?:[a-z0-9_.-]*[a-z0-9_-])?")
_ACCOUNT_LENGTH = 40
_IMAGE = re.compile(r"[a-z0-9](?:[a-z0-9._-]*[a-z0-9])?")
_IMAGE_LENGTH = 48
_REVISION = re.compile(r"r([1-9][0-9]{0,5})")
_HOST = re.compile(r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*")
# What a job's comment and spec say of its own cluster before the job has a number; as file names in Slurm do.
OWN_CLUSTER = "job%j"
_OWN_CLUSTER = re.compile(r"job[1-9][0-9]*(?:-[1-9][0-9]*)?")
# What the kernel takes as a host name.
_HOST_LENGTH = 64
_BRIDGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
# The kernel's IFNAMSIZ without the terminating zero.
_INTERFACE_LENGTH = 15
_SHOWN_LENGTH = 60


def shown(value: Any) -> str:
    """The value as it may appear in a message or a log: one line, ASCII, bounded."""
    text = value if isinstance(value, str) and value.isascii() and value.isprintable() and value else ascii(value)
    return text if len(text) <= _SHOWN_LENGTH else f"{text[: _SHOWN_LENGTH - 3]}..."


def _checked(value: Any, kind: str, pattern: re.Pattern[str], longest: int, remedy: str) -> str:
    if not isinstance(value, str):
        raise VcError("invalid", shown(value), f"reading it as {kind}", "it is not text", remedy)
    if not value:
        raise VcError("invalid", shown(value), f"reading it as {kind}", "it is empty", remedy)
    if len(value) > longest:
        raise VcError("invalid", shown(value), f"reading it as {kind}", f"it has {len(value)} characters, {longest} are allowed", remedy)
    if not pattern.fullmatch(value) or ".." in value:
        raise VcError("invalid", shown(value), f"reading it as {kind}", "it has a character or a form that is not allowed", remedy)
    return value


def cluster_name(text: Any) -> str:
    """The name of a virtual cluster: lower case letters, digits, inner dashes, at most 20 characters."""
    return _checked(
        text, "a cluster name", _CLUSTER, _CLUSTER_LENGTH, f"use a-z, 0-9 and inner dashes, first a letter, at most {_CLUSTER_LENGTH}"
    )


def own_cluster(job_id: int, restart_count: int) -> str:
    """The name of the cluster that a job's throw-away machines are."""
    return f"job{job_id}-{restart_count}" if restart_count else f"job{job_id}"


def is_own_cluster(name: str) -> bool:
    """Whether only a job can have such a cluster."""
    return _OWN_CLUSTER.fullmatch(name) is not None


def claimed_cluster(text: Any, job_id: int, restart_count: int) -> str:
    """The cluster that a job claims: a name, or its own.  VcError ``invalid``."""
    return own_cluster(job_id, restart_count) if text == OWN_CLUSTER else cluster_name(text)


def node_name(text: Any) -> str:
    """The name of one node, which is its host name inside the cluster."""
    remedy = f"use a-z, 0-9 and inner dashes, first a letter, at most {_NODE_LENGTH}, not localhost"
    name = _checked(text, "a node name", _CLUSTER, _NODE_LENGTH, remedy)
    if name == "localhost":
        raise VcError("invalid", name, "reading it as a node name", "every machine calls itself so", remedy)
    return name


def computeset_name(text: Any) -> str:
    """The name of a computeset; unique among the live sets of its cluster."""
    return _checked(
        text, "a computeset name", _CLUSTER, _SET_LENGTH, f"use a-z, 0-9 and inner dashes, first a letter, at most {_SET_LENGTH}"
    )


def stored_name(text: Any, kind: str) -> str:
    """What an administrator calls something in the store: an ISO, a snapshot."""
    return _checked(text, kind, _IMAGE, _IMAGE_LENGTH, f"use a-z, 0-9 and inner . _ -, at most {_IMAGE_LENGTH} characters")


def user_name(text: Any) -> str:
    """A login name on the site's hosts."""
    return _checked(text, "a user name", _USER, _USER_LENGTH, "give a login name as getent passwd shows it (a-z, 0-9, _ . -), not a uid")


def account_name(text: Any) -> str:
    """A Slurm account (an allocation)."""
    return _checked(text, "an account", _ACCOUNT, _ACCOUNT_LENGTH, "give an account as sacctmgr shows it (a-z, 0-9, _ . -)")


def host_name(text: Any) -> str:
    """A physical host, as its own host.json calls it."""
    return _checked(text, "a host name", _HOST, _HOST_LENGTH, "give the host's name in lower case, without user or port")


def bridge_name(text: Any) -> str:
    """A network bridge of a host that a site administrator made."""
    return _checked(text, "a bridge name", _BRIDGE, _INTERFACE_LENGTH, "give the interface name that ip link shows, at most 15 characters")


@dataclass(frozen=True)
class ImageRef:
    """A golden image and, unless its newest is meant, one of its revisions."""

    name: str
    revision: Optional[int] = None

    def __str__(self) -> str:
        return self.name if self.revision is None else f"{self.name}@r{self.revision}"


def image_ref(text: Any) -> ImageRef:
    """``debian12`` or ``debian12@r3``; revisions count from 1."""
    remedy = f"write NAME or NAME@rN, e.g. debian12@r3; a name has a-z, 0-9 and inner . _ -, at most {_IMAGE_LENGTH}"
    if not isinstance(text, str) or "@" not in text:
        return ImageRef(_checked(text, "an image", _IMAGE, _IMAGE_LENGTH, remedy))
    name, _at, revision = text.partition("@")
    matched = _REVISION.fullmatch(revision)
    if matched is None:
        raise VcError("invalid", shown(text), "reading it as an image", "what follows @ is not a revision", remedy)
    try:
        return ImageRef(_checked(name, "an image", _IMAGE, _IMAGE_LENGTH, remedy), int(matched.group(1)))
    except VcError as error:
        raise VcError("invalid", shown(text), error.tried, error.detail, remedy) from None
