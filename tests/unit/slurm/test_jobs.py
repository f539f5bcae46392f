# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What squeue says, in the shapes of its releases.  The 22.05 sample is real; later ones are that sample in the later shape."""

from __future__ import annotations

import copy
import json
import pathlib
from typing import Any

import pytest
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.command import PATH
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.model import noderange
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.planner import view
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.planner.computeset import plan_computeset, rival, worth_asking
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.planner.wish import read_options
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.slurm import jobs
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.slurm.claimed import claimed
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.hostile import every_hostile
from tests.unit.planner.computesets import cluster_dict, flood, options
from tests.unit.refusal import refused

SAMPLE: dict[str, Any] = json.loads((pathlib.Path(__file__).parent / "fixtures" / "squeue-22.05.json").read_text())
OURS = '{"vc":"vc1","set":"sim","nodes":"compute[0-1]","v":1,"images":"debian12@r1"}'


def number(value: Any) -> dict[str, Any]:
    return {"set": value is not None, "infinite": False, "number": value or 0}


def as_release(release: str) -> str:
    data = copy.deepcopy(SAMPLE)
    data["jobs"][0]["comment"] = OURS
    for job in data["jobs"]:
        if release >= "23.02":
            for key in ("time_limit", "priority", "node_count", "cpus", "tasks"):
                job[key] = number(job.get(key))
            job["extra"] = ""
        if release >= "23.11":
            job["job_state"] = [job["job_state"]]
            for key in ("start_time", "end_time", "submit_time", "eligible_time"):
                job[key] = number(job.get(key))
            job["exit_code"] = {"status": ["SUCCESS"], "return_code": number(0), "signal": {"id": number(None), "name": ""}}
        if release >= "24.05":
            listed = job.get("job_resources", {}).get("nodes")
            job["job_resources"] = {
                "select_type": ["CORE"],
                "nodes": {"count": 2, "list": listed, "whole": False, "allocation": []},
                "cpus": 2,
            }
    data["meta"] = {"slurm": {"release": release}}
    return json.dumps(data)


RELEASES = ["22.05", "23.02", "23.11", "24.05", "24.11"]


@pytest.mark.parametrize("release", RELEASES)
def test_every_release_says_the_same(release: str) -> None:
    found = jobs.parse(as_release(release))
    assert found == jobs.parse(as_release("22.05"))
    first = found[0]
    assert (first.job_id, first.user_name, first.account, first.name) == (1, "user1", "alloca", "job.sh")
    assert first.states == {"COMPLETED"}
    assert first.ended
    assert first.reason == ""
    assert first.hosts == ("hv1", "hv2")
    assert (first.start_time, first.end_time, first.time_limit_seconds) == (1795170523, 1795170528, 120)
    assert first.claim == jobs.Claim("vc1", "sim", "compute[0-1]", ("debian12@r1",), 1)
    assert first.claim.nodes == ("compute0", "compute1")


@pytest.mark.parametrize("release", RELEASES)
def test_states_of_the_sample(release: str) -> None:
    found = jobs.parse(as_release(release))
    assert [job.state for job in found] == [job["job_state"] for job in SAMPLE["jobs"]]
    pending = next(job for job in found if job.pending)
    assert pending.hosts == ()
    assert pending.live
    assert pending.reason == next(job["state_reason"] for job in SAMPLE["jobs"] if job["job_state"] == "PENDING")


def test_hosts_come_from_job_resources_when_the_top_level_has_none() -> None:
    assert jobs.nodes({"nodes": "", "job_resources": {"nodes": "hv[1-2]"}}) == ("hv1", "hv2")
    assert jobs.nodes({"job_resources": {"nodes": {"list": "hv[1-2]", "count": 2}}}) == ("hv1", "hv2")
    assert jobs.nodes({"job_resources": None}) == ()


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (7, 7),
        (None, 0),
        (0xFFFFFFFE, 0),
        (0xFFFFFFFF, None),
        ({"set": True, "infinite": False, "number": 7}, 7),
        ({"set": False, "infinite": False, "number": 0}, 0),
        ({"set": True, "infinite": True, "number": 0}, None),
        ({"set": False, "infinite": True, "number": 0}, None),
        ("7", 0),
        (True, 0),
        ([], 0),
    ],
)
def test_numbers(value: Any, expected: Any) -> None:
    assert jobs.num(value) == expected


def test_flags_beside_the_base_state() -> None:
    completing = jobs.Job(1, "u", "a", "n", jobs.states(["CANCELLED", "COMPLETING"]))
    assert completing.stopping
    assert not completing.ended
    assert not completing.live
    assert completing.state == "COMPLETING"
    configuring = jobs.Job(1, "u", "a", "n", jobs.states(["RUNNING", "CONFIGURING"]))
    assert configuring.live
    assert configuring.state == "RUNNING"
    requeued = jobs.Job(1, "u", "a", "n", jobs.states(["PENDING", "REQUEUED"]))
    assert requeued.pending
    assert jobs.states("completing") == {"COMPLETING"}
    assert jobs.states(None) == frozenset()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("hv[1-3]", ("hv1", "hv2", "hv3")),
        ("n[01-03,7]", ("n01", "n02", "n03", "n7")),
        ("Gpu_[1-2]-ib,login", ("Gpu_1-ib", "Gpu_2-ib", "login")),
        ("r[1-2]n[1-2]", ("r1n1", "r1n2", "r2n1", "r2n2")),
        ("a.b-c", ("a.b-c",)),
        ("", ()),
        ("(null)", ()),
        ("n[", ("n",)),
        ("n[x]", ("nx",)),
    ],
)
def test_hosts_as_slurm_prints_them(text: str, expected: tuple[str, ...]) -> None:
    assert jobs.hosts(text) == expected


@given(st.text())
def test_any_host_text_expands_without_failing(text: str) -> None:
    jobs.hosts(text)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"jobs": 5}', '{"jobs": null}', "{}", "slurm_load_jobs error"])
def test_what_is_no_listing_is_refused(text: str) -> None:
    refused("backend", jobs.parse, text)


def test_a_strange_job_does_not_hide_the_others() -> None:
    found = jobs.parse(
        json.dumps({"jobs": [5, None, {}, {"job_id": 3, "comment": {"a": 1}, "nodes": 7, "job_resources": 5, "job_state": 9}]})
    )
    assert [job.job_id for job in found] == [0, 3]


@every_hostile
def test_a_claim_with_a_hostile_name_is_none(hostile: str) -> None:
    good = {"vc": "vc1", "set": "sim", "nodes": "compute0", "v": 1}
    assert jobs.claim(json.dumps(good), 7, 0) is not None
    for key in ("vc", "set"):
        assert jobs.claim(json.dumps({**good, key: hostile}), 7, 0) is None
    claim = jobs.claim(json.dumps({**good, "nodes": hostile}), 7, 0)
    assert claim is None or claim.nodes == ()
    machines = {**good, "vc": "job%j", "vms": "tiny", "cpus": 1, "memory_mib": 512}
    assert jobs.claim(json.dumps(machines), 7, 0) is not None
    assert jobs.claim(json.dumps({**machines, "vms": f"tiny:1,{hostile} "}), 7, 0) is None


@pytest.fixture
def read_out(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The ranges that were expanded."""
    asked: list[str] = []

    def expanded(text: str, most: int) -> list[str]:
        asked.append(text)
        return noderange.expand(text, most)

    monkeypatch.setattr(jobs, "expand", expanded)
    monkeypatch.setattr(view, "expand", expanded)
    return asked


def test_forged_claims_are_not_expanded_whoever_reads_the_queue(read_out: list[str]) -> None:
    listed = jobs.parse(flood(200))
    wish = read_options(options(nodes="compute[0-1]"), "labuser")
    assert worth_asking(wish, listed) == []
    decision = plan_computeset(wish, listed, 0)
    assert [action.verb for action in decision.item.actions] == ["submit"]
    assert len(decision.rejected) == 200
    assert rival(wish, decision.nodes, 999, listed) is None
    told = claimed(listed, 0)
    assert max(len(json.dumps(job)) for job in told) < 512
    seen = view.join([{"vault": {"clusters": {"vc1": {"cluster": cluster_dict(), "leases": {}}}}}, {"slurm": {"jobs": told}}])
    assert (seen["computesets"], read_out) == ([], [])
    assert len(seen["rejected"]) == view.MOST_REJECTED
    assert "180 more jobs of otheruser" in seen["rejected"][-1]["reason"]


def test_throw_away_machines_that_wait_are_not_expanded_either(read_out: list[str]) -> None:
    comment = json.dumps({"vc": "job%j", "set": "try", "nodes": "vm[0-4095]", "v": 1, "vms": "tiny:4096", "cpus": 1, "memory_mib": 512})
    told = claimed(jobs.parse(json.dumps({"jobs": [{"job_id": 7, "user_name": "anybody", "job_state": "PENDING", "comment": comment}]})), 0)
    (seen,) = view.join([{"vault": {"clusters": {}}}, {"slurm": {"jobs": told}}])["computesets"]
    assert (seen["cluster"], seen["nodes"], read_out) == ("job7", [], [])


def test_a_member_cannot_have_more_names_made_than_his_cluster_has(monkeypatch: pytest.MonkeyPatch) -> None:
    limits: list[int] = []

    def expanded(text: str, most: int) -> list[str]:
        limits.append(most)
        return noderange.expand(text, most)

    monkeypatch.setattr(view, "expand", expanded)
    told = claimed(jobs.parse(flood(1, user_name="helper", account="physics")), 0)
    seen = view.join([{"vault": {"clusters": {"vc1": {"cluster": cluster_dict(8), "leases": {}}}}}, {"slurm": {"jobs": told}}])
    assert limits == [9]
    assert ["names more nodes than vc1 has" in job["reason"] for job in seen["rejected"]] == [True]


def test_no_comment_is_read_that_slurm_would_not_take() -> None:
    good = {"vc": "vc1", "set": "sim", "nodes": "compute0", "v": 1, "more": ""}
    room = jobs.MOST_COMMENT - len(json.dumps(good))
    assert jobs.claim(json.dumps({**good, "more": "x" * room}), 7, 0) is not None
    assert jobs.claim(json.dumps({**good, "more": "x" * (room + 1)}), 7, 0) is None


@given(
    st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner))
)
def test_any_comment_is_read_without_failing(value: Any) -> None:
    jobs.claim(value, 7, 0)
    jobs.claim(json.dumps(value), 7, 0)
    jobs.claim(json.dumps({"vc": value, "set": value, "nodes": value, "v": value}), 7, 0)


@pytest.mark.parametrize("comment", ["{" * 60000, '{"a":' * 9000, "[" * 9000, '{"v":1e999}', '{"v":true,"vc":"a","set":"a","nodes":"a"}'])
def test_nested_and_odd_comments(comment: str) -> None:
    assert jobs.claim(comment, 7, 0) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1:00:00", 3600),
        ("2:00", 120),
        ("1-00:00:00", 86400),
        ("UNLIMITED", None),
        ("INVALID", None),
        ("NOT_SET", None),
        ("", None),
        ("x-1:00", None),
    ],
)
def test_times_as_slurm_prints_them(text: str, expected: Any) -> None:
    assert jobs._seconds(text) == expected


def test_the_environment_is_what_slurm_needs_and_no_more() -> None:
    assert jobs.environment({"PATH": "/opt/slurm/bin", "SLURM_CONF": "/x", "LD_PRELOAD": "y"}) == {
        "PATH": f"{PATH}:/opt/slurm/bin",
        "SLURM_CONF": "/x",
    }
    assert jobs.environment({}) == {"PATH": PATH}
