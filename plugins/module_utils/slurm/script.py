# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The batch script of a computeset: a shell program of two lines which carries the whole spec, so that the job needs no file of ours."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any, Optional

from ..model.errors import VcError
from ..model.names import OWN_CLUSTER, cluster_name, computeset_name, image_ref, node_name, shown
from ..model.noderange import fold
from ..model.vms import VMS_LABEL, Vms
from .jobs import MOST_COMMENT

SPEC_SCHEMA = 1
RUNNER = "/usr/lib/hpc-virtual-cluster/bin/vc-job"
# Of bytes.  The kernel starts no program with a longer string in its environment, which is the name, =, this and a zero.
MOST_SPEC = 128 * 1024 - len("VC_SPEC=") - 1

_VERSION = re.compile(r"[0-9]+\.[0-9]+\.[0-9]+([.+-][0-9A-Za-z.+-]{1,40})?")
_WORD = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,62}")


@dataclass(frozen=True)
class Spec:
    """What the job is to run.

    Parameters
    ----------
    version : of the collection that submits; the agent compares it with its own
    cluster, computeset : names
    nodes : computes in task order
    grace_seconds : how long guests get to shut down by themselves
    images : image references of these nodes, for the comment only
    vms : throw-away machines, whose cluster will be the job's own; `cluster` is then ``OWN_CLUSTER``
    """

    version: str
    cluster: str
    computeset: str
    nodes: tuple[str, ...]
    grace_seconds: int
    images: tuple[str, ...] = ()
    vms: Optional[Vms] = None

    @property
    def label(self) -> str:
        """What stands for the cluster where a name is shown before the job has a number."""
        return VMS_LABEL if self.vms else self.cluster

    @property
    def item(self) -> str:
        return f"{self.label}/{self.computeset}"

    def to_dict(self) -> dict[str, Any]:
        data: dict[str, Any] = {
            "schema": SPEC_SCHEMA,
            "version": self.version,
            "cluster": self.cluster,
            "computeset": self.computeset,
            "nodes": list(self.nodes),
            "grace_seconds": self.grace_seconds,
        }
        return data if self.vms is None else {**data, "vms": self.vms.to_dict()}


def render(spec: Spec) -> str:
    """The script for sbatch's stdin.

    ``exec`` makes the runner the batch process itself, so that ``scancel --batch`` and ``--signal=B:`` reach it and no shell in between.
    Raises VcError ``invalid`` for anything that is not a plain name: nothing a user can spell reaches the shell; and for what is too long.
    """
    _check(spec)
    # A quote can only be in the comment of a key; JSON has another way to write it.
    data = json.dumps(spec.to_dict(), sort_keys=True, separators=(",", ":"), ensure_ascii=True).replace("'", "\\u0027")
    if len(data) > MOST_SPEC:
        detail = f"what it is to start takes {len(data)} bytes, and the kernel hands {MOST_SPEC} to a program"
        remedy = "start several smaller sets" + (", or name fewer keys" if spec.vms else "")
        raise VcError("invalid", spec.item, "writing the batch script", detail, remedy)
    return (
        "#!/bin/sh\n"
        f"# hpc.virtual_cluster {spec.version}: computeset {spec.computeset} of virtual cluster {spec.label}.\n"
        "# Editing this gives no right: every hypervisor asks the registry what this job's user and account may start.\n"
        f"VC_SPEC='{data}'\n"
        "export VC_SPEC\n"
        # The log is that of all jobs of the set, one after the other.
        f'echo "{headline("$SLURM_JOB_ID")}"\n'
        f"exec {RUNNER}\n"
    )


def headline(job_id: str) -> str:
    """The first line of a job's log."""
    return f"Slurm job {job_id}"


def comment(spec: Spec) -> str:
    """The job's comment: for display, and for identity among the owner's own jobs.  VcError ``invalid`` when Slurm would not take it."""
    _check(spec)
    data: dict[str, Any] = {"vc": spec.cluster, "set": spec.computeset, "nodes": fold(spec.nodes), "v": SPEC_SCHEMA}
    remedy = "name nodes whose numbers follow one another, or start several smaller sets"
    if spec.vms:
        data.update({"vms": spec.vms.text, "cpus": spec.vms.cpus, "memory_mib": spec.vms.memory_mib})
        remedy = "use fewer images in one set, or start several sets"
    # What reads it can do without the images.
    for more in ({"images": ",".join(spec.images)}, {}) if spec.images else ({},):
        text = json.dumps({**data, **more}, separators=(",", ":"), ensure_ascii=True)
        if len(text) <= MOST_COMMENT:
            return text
    detail = f"what it consists of takes {len(text)} bytes, and Slurm takes {MOST_COMMENT}"
    raise VcError("invalid", spec.item, "writing the job's comment", detail, remedy)


def slurm_word(text: Any, kind: str) -> str:
    """The name of a partition, reservation, QOS or host as sites spell them.  Raises VcError ``invalid``."""
    if not isinstance(text, str) or not _WORD.fullmatch(text) or ".." in text:
        raise VcError(
            "invalid",
            shown(text),
            f"reading it as a {kind}",
            "it has a character that is not allowed",
            f"give the {kind}'s name as Slurm shows it",
        )
    return text


def _check(spec: Spec) -> None:
    if spec.vms is None or spec.cluster != OWN_CLUSTER:
        cluster_name(spec.cluster)
    computeset_name(spec.computeset)
    if not spec.nodes:
        raise VcError("invalid", spec.computeset, "writing the batch script", "no nodes", "name at least one compute")
    for name in spec.nodes:
        node_name(name)
    for image in spec.images:
        image_ref(image)
    if not _VERSION.fullmatch(spec.version):
        raise VcError("invalid", shown(spec.version), "writing the batch script", "not a version", "reinstall the collection")
    if not 1 <= spec.grace_seconds <= 3600:
        raise VcError("invalid", spec.computeset, "writing the batch script", "grace must be 1 s to 1 h", "give a shorter grace")
