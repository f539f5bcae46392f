# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What three hosts tell of the demo's cluster, each of its own backend."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from tests.lab.contract import clusters
from tests.lab.contract.station import on
from tests.lab.contract.subject import Change, Contract, Fault, Names, Refused, Trial
from tests.lab.virtual_cluster import SUBMIT_HOST, VAULT_HOST

READS = "it only reads"
EMPTY = "/var/tmp/vc-contract-vault"
OTHER_FILE = "/var/tmp/vc-contract.conf"


@contextlib.contextmanager
def vaults() -> Iterator[Names]:
    """A second cluster beside the demo's, and a vault that has none."""
    on(VAULT_HOST, "mkdir", EMPTY)
    with clusters.computes("contractinfo", "compute0"):
        yield {}
    on(VAULT_HOST, "rmdir", EMPTY)


VAULT = Trial(
    name="vault",
    present={"gather": ["vault"]},
    absent=None,
    changes=(Change("cluster", "contractinfo"), Change("vault_root", EMPTY, also={"cluster": None})),
    refused=(Refused("vault_root", "/nosuch", "backend", "there is no vault"),),
    faults=(
        Fault(
            "one of two kinds cannot be read on this host",
            "backend",
            ("libvirt",),
            changed=False,
            present={"gather": ["vault", "libvirt"]},
            settle=False,
        ),
    ),
    host=VAULT_HOST,
    prepare=vaults,
)
SLURM = Trial(
    unpredicted={"slurm.jobs.*.remaining_seconds": "it counts down"},
    name="slurm",
    present={"gather": ["slurm"]},
    absent=None,
    changes=(Change("cluster", "nosuch"),),
    host=SUBMIT_HOST,
    user="labuser",
)
LIBVIRT = Trial(name="libvirt", present={"gather": ["libvirt"]}, absent=None, changes=(Change("cluster", "nosuch"),), host="fe1")


@contextlib.contextmanager
def another_file() -> Iterator[Names]:
    """A partition file beside OpenSM's own, without any partition of ours."""
    on("head", "tee", OTHER_FILE, stdin="Default=0x7fff : ALL=full ;\n")
    yield {}
    on("head", "rm", OTHER_FILE)


FABRIC = Trial(
    name="fabric",
    present={"gather": ["fabric"]},
    absent=None,
    changes=(Change("cluster", "nosuch"), Change("opensm_path", OTHER_FILE)),
    host="head",
    prepare=another_file,
)

CONTRACT = Contract(
    host=VAULT_HOST,
    dumps={VAULT_HOST: ("vault",), SUBMIT_HOST: ("jobs", "fabric"), "fe1": ("frontends", "overlay")},
    trials=(VAULT, SLURM, LIBVIRT, FABRIC),
    apart={
        "gather": "says what is read; each kind has a trial",
        "opensm_unit": "says which OpenSM is asked; `tests/lab/slow/test_opensm_role.py`",
    },
    without={"absent": READS, "kept": READS, "items": "what is wrong on one host only is a failure on the way"},
)
