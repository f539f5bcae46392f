# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How filters take the results of vc_info: whatever a play puts in, its author is told what is wrong with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from ansible.errors import AnsibleFilterError
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.model.errors import VcError

T = TypeVar("T")


def made_of(infos: Any, name: str, make: Callable[..., T], *options: Any) -> T:
    """What `make` makes of these results; AnsibleFilterError in the name of the filter for anything else."""
    if isinstance(infos, (str, Mapping)):
        raise AnsibleFilterError(f"hpc.virtual_cluster.{name} wants a list of results of vc_info; put a single one into [ ]")
    try:
        return make(infos, *options)
    except VcError as error:
        raise AnsibleFilterError(f"hpc.virtual_cluster.{name}: {error}") from error
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        said = f"{type(error).__name__}: {error}"
        raise AnsibleFilterError(f"hpc.virtual_cluster.{name}: this is not what vc_info returns: {said}") from error
