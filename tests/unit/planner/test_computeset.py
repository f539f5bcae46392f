# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which set is which, what is refused, and what is done about the rest."""

from __future__ import annotations

from typing import Any, Optional

import pytest
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.model.errors import VcError
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.planner import computeset as planner
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.planner.wish import read_options
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.slurm.condition import Condition
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.slurm.jobs import Job
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.hostile import HOSTILE, NOT_TEXT
from tests.unit.planner.computesets import cluster_dict, job, node_dict, options
from tests.unit.refusal import refused

PENDING = frozenset({"PENDING"})
COMPLETING = frozenset({"COMPLETED", "COMPLETING"})
ENDED = frozenset({"COMPLETED"})
NODES = ("compute0", "compute1")


def plan(
    jobs: Optional[list[Job]] = None,
    now: int = 1100,
    user: str = "labuser",
    conditions: Optional[dict[int, Condition]] = None,
    **changes: Any,
) -> planner.Decision:
    return planner.plan_computeset(read_options(options(**changes), user), jobs or [], now, conditions or {})


def refusal(code: str, *says: str, **keywords: Any) -> VcError:
    decision = plan(**keywords)
    error = decision.item.error
    assert error is not None
    assert decision.item.actions == ()
    assert error.code == code
    assert error.item
    assert error.tried
    assert error.remedy
    for text in says:
        assert text in str(error)
    return error


def verbs(decision: planner.Decision) -> list[str]:
    assert decision.item.error is None
    return [action.verb for action in decision.item.actions]


def test_a_new_set_is_submitted() -> None:
    decision = plan(nodes="compute[0-1]", walltime="1h")
    assert verbs(decision) == ["submit"]
    assert decision.nodes == ("compute0", "compute1")
    assert decision.item.before is None
    assert decision.item.after == {"cluster": "vc1", "nodes": ["compute0", "compute1"], "account": "physics", "walltime_seconds": 3600}


def test_walltime_is_rounded_up_to_minutes() -> None:
    assert (plan(nodes="compute0", walltime="3601s").item.after or {})["walltime_seconds"] == 3660
    assert (plan(nodes="compute0").item.after or {})["walltime_seconds"] is None


@pytest.mark.parametrize("changes", [{"nodes": "compute[0-1]"}, {"nodes": "compute1,compute0"}, {"count": 2}])
def test_a_running_set_is_left_alone(changes: dict[str, Any]) -> None:
    for walltime in (None, "1h"):
        decision = plan([job(5)], walltime=walltime, **changes)
        assert verbs(decision) == []
        assert decision.item.before == decision.item.after
        assert decision.jobs == (job(5),)


def test_a_pending_set_is_left_alone() -> None:
    assert verbs(plan([job(5, states=PENDING, start_time=0)], nodes="compute[0-1]")) == []


def test_an_ended_set_is_started_again() -> None:
    decision = plan([job(5, states=ENDED)], nodes="compute[0-1]")
    assert verbs(decision) == ["submit"]
    assert decision.after == ()


def test_a_set_that_is_being_cleaned_up_is_started_behind_it() -> None:
    decision = plan([job(5, states=COMPLETING), job(6, "other", ("compute7",), states=COMPLETING)], nodes="compute[0-1]")
    assert verbs(decision) == ["submit"]
    assert decision.after == (5,)
    assert decision.item.actions[0].details["after_jobs"] == [5]


def test_a_set_that_is_just_going_is_started_behind_it() -> None:
    going = {5: Condition.GOING, 6: Condition.GOING}
    decision = plan([job(5), job(6, "other", ("compute1", "compute2"))], nodes="compute[0-1]", conditions=going)
    assert verbs(decision) == ["submit"]
    assert decision.after == (5, 6)
    assert decision.jobs == ()
    stopped = plan([job(5)], state="absent", conditions=going)
    assert verbs(stopped) == []
    assert stopped.after == (5,)


def test_a_dead_set_is_cancelled_and_started_behind_it() -> None:
    decision = plan([job(5)], nodes="compute[0-1]", conditions={5: Condition.DEAD})
    assert verbs(decision) == ["cancel", "submit"]
    assert decision.item.actions[0].details == {"job_id": 5}
    assert decision.after == (5,)
    assert verbs(plan([job(5)], state="absent", conditions={5: Condition.DEAD})) == ["cancel"]
    # Somebody else's set is his to end.
    refusal("in_use", "set other", jobs=[job(5, "other")], nodes="compute0", conditions={5: Condition.DEAD})


def test_a_set_that_lost_its_batch_host_is_reported_and_can_be_stopped() -> None:
    broken = {5: Condition.BROKEN}
    jobs = [job(5, hosts=("hv2",), batch_host="hv1")]
    refusal("conflict", "has lost hv1", "still runs on hv2", "terminate set sim", jobs=jobs, nodes="compute[0-1]", conditions=broken)
    assert verbs(plan(jobs, state="absent", conditions=broken)) == ["cancel"]


def test_whose_condition_is_asked() -> None:
    jobs = [job(5), job(6, "other", ("compute1",)), job(7, "third", ("compute5",)), job(8, user_name="otheruser"), job(9, cluster="vc2")]

    def asked(user: str = "labuser", **changes: Any) -> list[int]:
        return [found.job_id for found in planner.worth_asking(read_options(options(**changes), user), jobs)]

    assert asked(nodes="compute[0-1]") == [5, 6]
    assert asked(count=2) == [5]
    assert asked(state="absent") == [5]
    assert asked("otheruser", nodes="compute[0-1]") == []


@pytest.mark.parametrize(
    ("changes", "live", "says"),
    [
        ({"nodes": "compute[0-2]"}, {}, "compute[0-1]"),
        ({"count": 3}, {}, "compute[0-1]"),
        ({"nodes": "compute[0-1]"}, {"account": "chemistry"}, "chemistry"),
        ({"nodes": "compute[0-1]"}, {"images": ("debian11",)}, "debian11"),
        ({"nodes": "compute[0-1]", "cluster": cluster_dict(1)}, {}, "no longer has"),
    ],
    ids=["nodes", "count", "account", "image", "removed"],
)
def test_a_different_live_set_is_refused(changes: dict[str, Any], live: dict[str, Any], says: str) -> None:
    refusal("conflict", "vc1/sim", "job 5", says, "terminate set sim", jobs=[job(5, **live)], **changes)


def test_two_jobs_of_one_name_are_refused_but_can_be_stopped() -> None:
    twins = [job(9), job(5, nodes=("compute3",))]
    refusal("conflict", "5, 9", jobs=twins, nodes="compute[0-1]")
    decision = plan(twins, state="absent")
    assert [action.details["job_id"] for action in decision.item.actions] == [5, 9]


def test_walltime_of_a_pending_set_is_set_either_way() -> None:
    for walltime, seconds in (("2h", 7200), ("30m", 1800)):
        decision = plan([job(5, states=PENDING, start_time=0)], nodes="compute[0-1]", walltime=walltime)
        assert verbs(decision) == ["set_walltime"]
        assert decision.item.actions[0].details == {"job_id": 5, "from_seconds": 3600, "walltime_seconds": seconds}
        assert not planner.raises_limit_of_running_job(decision)


def test_only_lengthening_a_running_set_needs_a_privilege() -> None:
    longer = plan([job(5)], nodes="compute[0-1]", walltime="2h")
    assert planner.raises_limit_of_running_job(longer)
    assert not planner.raises_limit_of_running_job(plan([job(5)], nodes="compute[0-1]", walltime="30m"))
    wish = read_options(options(nodes="compute[0-1]", walltime="2h"), "labuser")
    error = planner.refuse_extension(wish, longer).item.error
    assert error is not None
    assert error.code == "forbidden"
    assert "TimeLimit=120" in error.remedy


def test_a_walltime_that_is_already_over_is_refused() -> None:
    refusal("invalid", "already runs for 40m", jobs=[job(5)], nodes="compute[0-1]", walltime="30m", now=3400)


def test_a_node_of_another_live_set_is_refused() -> None:
    for states in (frozenset({"RUNNING"}), PENDING):
        refusal("in_use", "vc1/compute1", "set other", "job 7", jobs=[job(7, "other", states=states)], nodes="compute[1-2]")


def test_nodes_that_are_no_computes_are_refused() -> None:
    refusal("unknown", "vc1/compute8", "compute[0-7]", nodes="compute[7-8]")
    refusal("invalid", "vc1/frontend", nodes="frontend")


def test_count_takes_free_computes_in_order() -> None:
    decision = plan([job(7, "other", ("compute0", "compute2")), job(8, "old", ("compute1",), states=ENDED)], count=3)
    assert decision.nodes == ("compute1", "compute3", "compute4")
    refusal("in_use", "8 computes, 6 of them free", "other (job 7)", jobs=[job(7, "other", ("compute0", "compute2"))], count=7)


def test_jobs_of_others_never_count() -> None:
    forged = job(66, user_name="otheruser", account="chemistry")
    decision = plan([forged], nodes="compute[0-1]")
    assert verbs(decision) == ["submit"]
    assert decision.rejected == (forged,)
    decision = plan([forged], state="absent")
    assert verbs(decision) == []
    assert decision.jobs == ()
    assert decision.rejected == (forged,)


def test_jobs_of_another_cluster_never_count() -> None:
    decision = plan([job(5, cluster="vc2")], nodes="compute[0-1]")
    assert verbs(decision) == ["submit"]
    assert decision.rejected == ()


def test_who_may() -> None:
    refusal("forbidden", "become_user: labuser", nodes="compute0", user="root")
    refusal("forbidden", "become_user: labuser", state="absent", user="root")
    refusal("forbidden", "belongs to labuser", nodes="compute0", user="helper")
    refusal("forbidden", "authorized for account physics only", nodes="compute0", account="chemistry")
    assert verbs(plan(nodes="compute0", account="physics")) == ["submit"]


def test_absent() -> None:
    assert verbs(plan(state="absent")) == []
    assert verbs(plan([job(5)], state="absent")) == ["terminate"]
    assert verbs(plan([job(5, states=PENDING)], state="absent")) == ["withdraw"]
    # A signal to a batch script that has not begun is lost.
    assert verbs(plan([job(5, reason="Prolog")], state="absent")) == ["cancel"]
    stopping = plan([job(5, states=COMPLETING)], state="absent")
    assert verbs(stopping) == []
    assert stopping.after == (5,)


def test_of_two_runs_at_the_same_time_the_first_job_wins() -> None:
    wish = read_options(options(nodes="compute[0-1]"), "labuser")
    same, overlapping, other = job(5), job(6, "other", ("compute1", "compute2")), job(7, "third", ("compute5",))
    for rival in (same, overlapping):
        assert planner.rival(wish, NODES, 9, [job(9), other, rival]) == rival
        assert planner.rival(wish, NODES, 4, [job(4), other, rival]) is None
    strangers = [job(5, user_name="otheruser"), job(6, states=ENDED), job(7, states=COMPLETING), job(8, cluster="vc2")]
    assert planner.rival(wish, NODES, 9, [job(9), other, *strangers]) is None
    assert "job 5" in str(planner.lost_to(wish, same))


def test_placement_that_cannot_fit_is_refused() -> None:
    refusal("invalid", "3 hypervisors for 2 nodes", nodes="compute[0-1]", hosts=["hv1", "hv2", "hv3"])
    refusal("invalid", "do not fit", nodes="compute[0-4]", hosts=["hv1", "hv2"], per_host=2)
    assert verbs(plan(nodes="compute[0-3]", hosts=["hv1", "hv2"], per_host=2)) == ["submit"]


def test_resources_hold_the_largest_guest() -> None:
    cluster = cluster_dict(2)
    cluster["nodes"][2] = node_dict("compute1", "compute", 2, cpus=4, memory_mib=100)
    wish = read_options(options(cluster=cluster, nodes="compute[0-1]"), "labuser")
    assert planner.resources(wish.cluster, ("compute0", "compute1"), 256) == (4, 768)


STRING_OPTIONS = ("name", "nodes", "walltime", "account", "memory_overhead", "grace", "partition", "reservation", "qos")


@pytest.mark.parametrize("option", STRING_OPTIONS)
@pytest.mark.parametrize("text", list(HOSTILE.values()), ids=list(HOSTILE))
def test_hostile_text_in_any_option_is_refused(option: str, text: str) -> None:
    refused("invalid", read_options, options(**{"nodes": "compute0", option: text}), "labuser")


@pytest.mark.parametrize("option", ["hosts", "exclude_hosts"])
@pytest.mark.parametrize("text", list(HOSTILE.values()), ids=list(HOSTILE))
def test_hostile_hosts_are_refused(option: str, text: str) -> None:
    refused("invalid", read_options, options(**{"nodes": "compute0", option: ["hv1", text]}), "labuser")


@pytest.mark.parametrize("value", list(NOT_TEXT.values()), ids=list(NOT_TEXT))
def test_what_is_no_cluster_is_refused(value: Any) -> None:
    refused("invalid", read_options, options(nodes="compute0", cluster=value), "labuser")


@pytest.mark.parametrize(
    "changes",
    [
        {"count": 0},
        {"count": -1},
        {"count": 10**9},
        {"per_host": 0},
        {"wait_timeout": -1},
        {"walltime": "1m"},
        {"walltime": "5m", "grace": "3m"},
        {"grace": "11m"},
    ],
)
def test_numbers_out_of_range_are_refused(changes: dict[str, Any]) -> None:
    refused("invalid", read_options, options(**{"nodes": "compute0", **changes}), "labuser")


@pytest.mark.parametrize("option", ["hosts", "exclude_hosts"])
def test_a_host_that_is_named_twice_is_refused_by_its_index(option: str) -> None:
    error = refused("duplicate", read_options, options(**{"nodes": "compute0", option: ["hv1", "hv2", "hv1"]}), "labuser")
    assert (error.item, error.detail) == (f"{option}[2]", f"{option}[0] is hv1 too")


def test_a_host_that_is_wanted_and_excluded_is_refused() -> None:
    refused("conflict", read_options, options(nodes="compute0", hosts=["hv1"], exclude_hosts=["hv1"]), "labuser")


JOBS = st.builds(
    job,
    st.integers(1, 99),
    st.sampled_from(["sim", "other"]),
    st.lists(st.sampled_from([f"compute{number}" for number in range(10)]), min_size=1, unique=True).map(tuple),
    user_name=st.sampled_from(["labuser", "otheruser"]),
    states=st.sampled_from([frozenset({"RUNNING"}), PENDING, COMPLETING, ENDED]),
    cluster=st.sampled_from(["vc1", "vc2"]),
)


@given(st.lists(JOBS, unique_by=lambda job: job.job_id), st.integers(1, 8), st.booleans())
def test_no_plan_ever_touches_what_is_not_its_own(jobs: list[Job], count: int, started: bool) -> None:
    decision = plan(jobs, count=count, state="started" if started else "absent")
    mine = {
        job.job_id
        for job in jobs
        if job.user_name == "labuser" and job.claim and (job.claim.cluster, job.claim.computeset) == ("vc1", "sim")
    }
    assert {action.details["job_id"] for action in decision.item.actions if "job_id" in action.details} <= mine
    if "submit" in [action.verb for action in decision.item.actions]:
        assert len(decision.nodes) == count
        held = {
            name
            for job in jobs
            if job.live and job.user_name == "labuser" and job.claim and job.claim.cluster == "vc1"
            for name in job.claim.nodes
        }
        assert not held & set(decision.nodes)
