# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The states that nodes and computesets go through, as written into leases and shown to people."""

from __future__ import annotations

from enum import Enum

from .errors import VcError
from .names import shown


class NodeState(str, Enum):
    """A node of a virtual cluster."""

    OFF = "off"
    QUEUED = "queued"
    PREPARING = "preparing"
    BOOTING = "booting"
    RUNNING = "running"
    SUSPENDED = "suspended"
    STOPPING = "stopping"
    FLUSHING = "flushing"
    CRASHED = "crashed"

    def __str__(self) -> str:
        return self.value


class SetState(str, Enum):
    """A computeset, that is, its Slurm job."""

    PENDING = "pending"
    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    TIMEOUT = "timeout"

    def __str__(self) -> str:
        return self.value


def node_state(text: object) -> NodeState:
    """The state with this name; VcError ``invalid`` for any other."""
    try:
        return NodeState(text)
    except ValueError:
        states = ", ".join(state.value for state in NodeState)
        raise VcError("invalid", shown(text), "reading it as a node state", "there is no such state", f"use one of {states}") from None
