# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sets of throw-away machines, from the options of a call to the job that carries them, and back from the queue."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.model.version import VERSION
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.model.vms import parse
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.planner.computeset import plan_computeset, resources, rival
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.planner.view import join
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.planner.wish import Wish, read_options
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.slurm import jobs, script, submit
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.slurm.claimed import claimed

from tests.unit.hostile import every_hostile
from tests.unit.planner.computesets import cluster_dict, options
from tests.unit.refusal import refused

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f it's mine"


def asked(**changes: Any) -> dict[str, Any]:
    return options(**{"cluster": None, "vms": "tiny:2,debian12:1", "ssh_authorized_keys": [KEY], **changes})


def wish(user: str = "labuser", **changes: Any) -> Wish:
    return read_options(asked(**changes), user)


def submitted(wanted: Wish) -> script.Spec:
    assert wanted.vms is not None
    return script.Spec(VERSION, "job%j", wanted.name, wanted.vms.nodes, 20, vms=wanted.vms)


def running(wanted: Wish, job_id: int = 7, **changes: Any) -> jobs.Job:
    claim = jobs.claim(script.comment(submitted(wanted)), job_id, 0)
    given = {"user_name": "labuser", "account": "physics", "name": "x", "states": frozenset({"RUNNING"}), "claim": claim, **changes}
    return jobs.Job(job_id=job_id, **given)


@pytest.mark.parametrize(
    ("text", "images"),
    [
        ("tiny", (("tiny", 1),)),
        ("tiny:32,debian12@r3:512", (("tiny", 32), ("debian12@r3", 512))),
        ("a:1,b,a:2,a", (("a", 1), ("b", 1), ("a", 3))),
        ("a:4096", (("a", 4096),)),
    ],
)
def test_what_is_read(text: str, images: tuple[tuple[str, int], ...]) -> None:
    assert parse(text) == images


@pytest.mark.parametrize(
    "text", ["", ":", "a:", "a:0", "a:-1", "a:1:2", "a:x", ",", "a,", "a, b", "a:4097", "a:4000,b:97", "A:1", "a@3:1", 5, None]
)
def test_what_is_refused(text: Any) -> None:
    refused("invalid", parse, text)


@every_hostile
def test_hostile_options_are_refused(hostile: str) -> None:
    for option in ("name", "vms", "memory"):
        refused("invalid", wish, **{option: hostile})
    refused("invalid", wish, ssh_authorized_keys=[hostile])


def test_numbers_out_of_range_are_refused() -> None:
    for changes in ({"cpus": 0}, {"cpus": 1025}, {"memory": "63MiB"}):
        refused("invalid", wish, **changes)
    refused("invalid", wish, vms=None)
    refused("invalid", wish, cluster=cluster_dict(name="job7"), vms=None, nodes="compute0")


def test_a_set_is_submitted_by_whoever_asks() -> None:
    decision = plan_computeset(wish("anybody"), [], 0)
    assert decision.nodes == ("vm0", "vm1", "vm2")
    (action,) = decision.item.actions
    assert (action.verb, action.details["nodes"]) == ("submit", ["vm0", "vm1", "vm2"])
    refusal = plan_computeset(wish("root"), [], 0).item.error
    assert refusal is not None
    assert refusal.code == "forbidden"


def test_the_script_carries_the_machines_and_the_comment_tells_them() -> None:
    wanted = wish(cpus=2, memory="1GiB")
    spec = submitted(wanted)
    line = next(line for line in script.render(spec).splitlines() if line.startswith("VC_SPEC="))
    # As the shell reads it: between single quotes nothing means anything.
    quoted = line[len("VC_SPEC=") :]
    assert quoted.count("'") == 2
    data = json.loads(quoted.strip("'"))
    assert data["cluster"] == "job%j"
    assert data["vms"] == {"images": "tiny:2,debian12:1", "cpus": 2, "memory_mib": 1024, "ssh_authorized_keys": [KEY]}
    claim = jobs.claim(script.comment(spec), 7, 0)
    assert claim == jobs.Claim("job7", "sim", "vm[0-2]", vms="tiny:2,debian12:1", cpus=2, memory_mib=1024)
    assert jobs.claim(script.comment(spec), 7, 1) == replace(claim, cluster="job7-1")
    for forged in ({"vc": "job8"}, {"vc": "job7"}, {"vms": "a:0"}, {"vms": None}, {"cpus": "2"}):
        assert jobs.claim(json.dumps({**json.loads(script.comment(spec)), **forged}), 7, 0) is None
    request = submit.Request(spec, "", *resources(wanted.cluster, spec.nodes, 256), 60, 40, "/home/labuser")
    argv = submit.sbatch_argv(request)
    assert {"--job-name=vc-vms-sim", "--cpus-per-task=2", "--mem-per-cpu=640M", "--ntasks=3"} <= set(argv)
    assert not any(word.startswith("--account") for word in argv)
    assert "--account=physics" in submit.sbatch_argv(replace(request, account="physics"))


def test_a_live_set_is_found_by_its_name() -> None:
    for found in (running(wish()), running(wish(), states=frozenset({"PENDING"}))):
        decision = plan_computeset(wish(), [found], 0)
        assert (decision.item.actions, decision.jobs, decision.item.error) == ((), (found,), None)
    others = [running(wish(name="other")), running(wish(), 8, user_name="otheruser")]
    decision = plan_computeset(wish(), others, 0)
    assert [action.verb for action in decision.item.actions] == ["submit"]
    # Another user's set of the same name is his own, nothing that was forged.
    assert decision.rejected == ()


@pytest.mark.parametrize(
    "other",
    [
        {"vms": "tiny:3"},
        {"vms": "tiny:1,debian12:2"},
        {"vms": "tiny@r1:2,debian12:1"},
        {"cpus": 2},
        {"memory": "1GiB"},
        {"account": "other"},
    ],
)
def test_a_live_set_of_other_machines_is_refused(other: dict[str, Any]) -> None:
    error = plan_computeset(wish(**other), [running(wish())], 0).item.error
    assert error is not None
    assert error.code == "conflict"
    assert "job 7" in error.detail


def test_a_set_is_ended_by_its_name() -> None:
    decision = plan_computeset(
        wish(state="absent", vms=None, ssh_authorized_keys=None), [running(wish()), running(wish(name="other"), 8)], 0
    )
    assert [(action.verb, action.details) for action in decision.item.actions] == [("terminate", {"job_id": 7})]
    assert plan_computeset(wish(state="absent", vms=None), [], 0).item.actions == ()


def test_a_cluster_and_throw_away_machines_never_meet() -> None:
    machines = running(wish())
    assert plan_computeset(read_options(options(nodes="compute0"), "labuser"), [machines], 0).item.actions[0].verb == "submit"
    nodes = jobs.Claim("vc1", "sim", "compute0")
    assert plan_computeset(wish(), [replace(machines, claim=nodes)], 0).item.actions[0].verb == "submit"


def test_of_two_runs_at_the_same_time_the_first_wins() -> None:
    assert rival(wish(), ("vm0",), 9, [running(wish())]) == running(wish())
    assert rival(wish(), ("vm0",), 9, [running(wish(name="other"))]) is None


def test_the_view_shows_it_while_it_waits_and_while_it_runs() -> None:
    waiting = claimed([running(wish(), states=frozenset({"PENDING"}))], 0)
    view = join([{"vault": {"clusters": {}}}, {"slurm": {"jobs": waiting}}])
    assert (view["rejected"], view["rows"]) == ([], [])
    assert [(found["cluster"], found["name"], found["state"]) for found in view["computesets"]] == [("job7", "sim", "pending")]
    # Once it runs, only leases tell that it is what it says.
    view = join([{"vault": {"clusters": {}}}, {"slurm": {"jobs": claimed([running(wish())], 0)}}])
    assert [found["reason"] for found in view["rejected"]] == ["the registry has no cluster job7"]
