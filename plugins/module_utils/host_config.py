# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The host's own configuration, written by the roles, read by everything that runs on the host."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Optional

from .model.addresses import parse_address
from .model.errors import VcError
from .model.host import OverlayHost
from .model.names import host_name, shown, user_name

PATH = "/etc/hpc-virtual-cluster/host.json"
SCHEMA = 1
ACCELERATORS = ("kvm", "tcg")
_KEYS = {"schema", "name", "accelerator", "vault", "overlay"}
_TRIED = "reading the host's configuration"
_REMEDY = "run the role that prepares this host again"


@dataclass(frozen=True)
class HostConfig:
    """A host's name, how it accelerates guests (``kvm`` or ``tcg``), where its vault is, and its place in the overlay, if it has one."""

    name: str
    accelerator: str
    vault_address: str
    vault_user: str
    overlay: Optional[OverlayHost] = None


def load(path: str = PATH) -> HostConfig:
    """Read and validate the file.  Raises VcError: ``unknown`` (not there), ``invalid``, ``version`` (written by a newer release)."""
    try:
        with open(path, encoding="utf-8") as stream:
            data = json.load(stream)
    except FileNotFoundError:
        raise VcError("unknown", path, _TRIED, "there is no such file", _REMEDY) from None
    except (OSError, ValueError) as error:
        raise VcError("invalid", path, _TRIED, str(error), _REMEDY) from None
    if not isinstance(data, dict):
        raise VcError("invalid", path, _TRIED, "it is not a JSON object", _REMEDY)
    try:
        return parse(data)
    except VcError as error:
        raise VcError(error.code, f"{path}: {error.item}", error.tried, error.detail, error.remedy) from None


def parse(data: Mapping[str, Any]) -> HostConfig:
    """Validate the content of the file."""
    schema = data.get("schema")
    if isinstance(schema, int) and schema > SCHEMA:
        raise VcError(
            "version", "schema", _TRIED, f"it has schema {schema}, this release reads {SCHEMA}", "install the same release on all hosts"
        )
    if schema != SCHEMA or isinstance(schema, bool):
        raise VcError("invalid", "schema", _TRIED, f"{shown(schema)} is not {SCHEMA}", _REMEDY)
    unknown = sorted(set(data) - _KEYS)
    if unknown:
        raise VcError("invalid", shown(unknown[0]), _TRIED, "there is no such setting", _REMEDY)
    accelerator = data.get("accelerator")
    if accelerator not in ACCELERATORS:
        raise VcError(
            "invalid", "accelerator", _TRIED, f"{shown(accelerator)} is not an accelerator", f"use one of {', '.join(ACCELERATORS)}"
        )
    vault = data.get("vault")
    if not isinstance(vault, Mapping) or set(vault) != {"address", "user"}:
        raise VcError("invalid", "vault", _TRIED, "it is not {address, user}", _REMEDY)
    overlay = data.get("overlay")
    if overlay is not None and not isinstance(overlay, Mapping):
        raise VcError("invalid", "overlay", _TRIED, "it is not an object", _REMEDY)
    return HostConfig(
        name=host_name(data.get("name")),
        accelerator=str(accelerator),
        vault_address=_address_or_name(vault["address"]),
        vault_user=user_name(vault["user"]),
        overlay=None if overlay is None else OverlayHost.from_dict(overlay),
    )


def _address_or_name(value: Any) -> str:
    try:
        return parse_address(value)
    except VcError:
        return host_name(value)
