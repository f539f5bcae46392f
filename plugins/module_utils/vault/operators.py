# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who somebody is to a virtual cluster, for the gates of the site.  The site's operators are in a file that role vault writes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..model import names
from ..model.errors import VcError
from ..model.rights import roles_of
from .registry import Registry

OPERATORS = "/etc/hpc-virtual-cluster/operators.json"
SCHEMA = 1


def read_operators(path: str) -> frozenset[str]:
    """Their login names; nobody where there is no such file.  VcError ``invalid`` for one that cannot be understood."""
    try:
        data = json.loads(Path(path).read_text(encoding="utf-8"))
        if data["schema"] != SCHEMA or not isinstance(data["operators"], list):
            raise ValueError("it is not of this release")
        return frozenset(names.user_name(name) for name in data["operators"])
    except FileNotFoundError:
        return frozenset()
    except (OSError, ValueError, KeyError, TypeError, VcError) as error:
        raise VcError("invalid", path, "reading the site's operators", str(error), "run role vault again") from None


def authorize(registry: Registry, args: Mapping[str, Any]) -> dict[str, Any]:
    """``{cluster, user}`` -> ``{roles, cluster}``.

    VcError ``forbidden`` for a stranger, who does not learn whether there is such a cluster.
    """
    name, user = names.cluster_name(args.get("cluster")), names.user_name(args.get("user"))
    cluster = registry.read().clusters.get(name)
    operators = read_operators(OPERATORS)
    roles = () if cluster is None else roles_of(cluster, user, operators)
    if cluster is None or not roles:
        detail = f"there is no such virtual cluster, or {user} is neither its owner nor a member nor an operator of the site"
        raise VcError("forbidden", name, "asking for it", detail, "ask its owner to be made a member")
    return {"roles": list(roles), "cluster": cluster.to_dict()}
