# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Properties of leases over any history."""

from __future__ import annotations

from ansible_collections.hpc.virtual_cluster.plugins.module_utils.model.errors import VcError
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.model.states import NodeState
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.vault.lease_record import (
    Caller,
    Holder,
    Lease,
    broken,
    released,
    reported,
    take,
)
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from tests.unit.vault.site import BOOTS, caller, job

HOSTS = ["hv1", "hv2"]


def holder(host: str, job_id: int, boot: int) -> Holder:
    return Holder.from_request(job(job_id=job_id, boot_id=BOOTS[boot]), caller(host), "2026-11-20T00:00:00Z")


class Histories(RuleBasedStateMachine):
    """Any order of lease, release, state, break, removal of the node, by any host, with any epoch it has ever seen or made up."""

    def __init__(self) -> None:
        super().__init__()
        self.lease = Lease("vc1", "compute0")
        self.floor = 0
        self.owners: dict[int, tuple[object, ...]] = {}
        self.highest = 0
        self.valid: set[tuple[str, int]] = set()

    @staticmethod
    def refused(error: VcError, *codes: str) -> None:
        assert error.code in codes

    @rule(host=st.sampled_from(HOSTS), job_id=st.integers(1, 3), boot=st.integers(0, 2))
    def lease_it(self, host: str, job_id: int, boot: int) -> None:
        wanted = holder(host, job_id, boot)
        held = self.lease.holder
        try:
            after = take(self.lease, wanted, self.floor, "later")
        except VcError as error:
            self.refused(error, "leased", "not_flushed")
            assert held is not None
            return
        if after.epoch != self.lease.epoch:
            assert after.epoch > self.highest
            assert after.epoch not in self.owners
            assert held is None or (held.host == host and held.boot_id != BOOTS[boot] and self.lease.exported)
            self.owners[after.epoch] = wanted.identity
            self.valid = {(host, after.epoch)}
        else:
            assert held is not None
            assert held.identity == wanted.identity == self.owners[after.epoch]
        self.lease = after

    @rule(host=st.sampled_from(HOSTS), epoch=st.integers(0, 12), outcome=st.sampled_from(["discarded", "kept"]))
    def give_back(self, host: str, epoch: int, outcome: str) -> None:
        before = self.lease
        try:
            after = released(before, host, epoch, outcome, "later")
        except VcError as error:
            self.refused(error, "stale_epoch", "forbidden")
            return
        assert (host, epoch) in self.valid
        assert after.epoch == before.epoch == epoch
        assert (after.holder is None) == (outcome == "discarded")
        self.lease = after

    @rule(host=st.sampled_from(HOSTS), epoch=st.integers(0, 12))
    def say(self, host: str, epoch: int) -> None:
        try:
            after = reported(self.lease, host, epoch, NodeState.RUNNING, "later")
        except VcError:
            return
        assert (host, epoch) in self.valid
        assert after.holder is not None
        self.lease = after

    @rule()
    def break_it(self) -> None:
        if self.lease.holder is not None:
            self.lease = broken(self.lease, "why", "later")
            self.valid = set()

    @rule()
    def remove_the_node(self) -> None:
        if self.lease.holder is None:
            self.floor = max(self.floor, self.lease.epoch)
            self.lease = Lease("vc1", "compute0")
            self.valid = set()

    @invariant()
    def epochs_only_grow(self) -> None:
        # A node that was removed and came back starts from nothing, above the floor.
        assert max(self.lease.epoch, self.floor) >= self.highest
        self.highest = max(self.highest, self.lease.epoch)

    @invariant()
    def a_lease_survives_its_file(self) -> None:
        assert Lease.from_dict(self.lease.to_dict()) == self.lease


TestHistories = Histories.TestCase
TestHistories.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)


def test_an_address_that_changed_is_followed() -> None:
    wanted = holder("hv1", 1, 0)
    lease = take(Lease("vc1", "compute0"), wanted, 0, "now")
    moved = Holder.from_request(job(job_id=1), Caller("hv1", "10.77.0.99", "10.77.0.12:3260"), "later")
    after = take(lease, moved, 0, "later")
    assert after.epoch == lease.epoch
    assert after.holder is not None
    assert (after.holder.address, after.holder.since) == ("10.77.0.99", wanted.since)
