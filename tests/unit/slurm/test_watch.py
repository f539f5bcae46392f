# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Waiting, against a Slurm that plays a script: every squeue of a job shows its next scene."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.command import Commands, Result
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.slurm import watch

GONE = "slurm_load_jobs error: Invalid job id specified"


@dataclass
class Scene:
    """What Slurm says from now on; ``guests`` by host, ``done`` the hosts whose agents only have to go."""

    state: str
    reason: str = "None"
    hosts: str = "hv[1-2]"
    guests: dict[str, dict[str, str]] = field(default_factory=dict)
    done: tuple[str, ...] = ()


class Play(Commands):
    """Answers as squeue, srun, sacct and scancel would; the last scene stays."""

    def __init__(self, *scenes: Scene, nodes: int = 2, ended: str = "COMPLETED|0:0") -> None:
        super().__init__()
        self.scenes = list(scenes)
        self.scene = self.scenes[0]
        self.nodes = nodes
        self.ended = ended
        self.ran: list[str] = []
        self.after_cancel: list[Scene] = []

    def run(self, argv: Sequence[str], stdin: str = "", timeout: float = 120.0, holding: Sequence[int] = ()) -> Result:
        self.count += 1
        self.ran.append(" ".join(argv))
        if argv[0] == "squeue":
            self.scene = self.scenes.pop(0) if len(self.scenes) > 1 else self.scenes[0]
            if self.scene.state == "GONE":
                return Result(1, "", GONE)
            hosts, batch_host = ("", "n/a") if self.scene.state == "PENDING" else (self.scene.hosts, "hv1")
            job_id = next(word for word in argv if word.startswith("--jobs=")).partition("=")[2]
            line = f"{job_id}|{self.scene.state}|{self.scene.reason}|{hosts}|1:00:00|59:00|labuser|physics|{batch_host}|vc-vc1-sim"
            return Result(0, f"{line}\n", "")
        if argv[0] == "srun":
            lines = [
                json.dumps(
                    {"host": host, "nodes": {name: {"state": state} for name, state in nodes.items()}, "ended": host in self.scene.done}
                )
                for host, nodes in self.scene.guests.items()
            ]
            return Result(0, "\n".join(lines), "")
        if argv[0] == "sacct":
            return Result(0, f"7|{self.ended}\n", "")
        if argv[0] == "scancel":
            self.scenes = self.after_cancel or self.scenes
            return Result(0, "", "")
        raise AssertionError(argv)


class FakeClock(watch.Clock):
    """Sleeps take no time and are written down."""

    def __init__(self) -> None:
        slept: list[float] = []
        super().__init__(now=lambda: sum(slept), sleep=slept.append)
        object.__setattr__(self, "slept", slept)

    slept: list[float]


BOOTING = Scene("RUNNING", guests={"hv1": {"compute0": "booting"}, "hv2": {"compute1": "preparing"}})
RUNNING = Scene("RUNNING", guests={"hv1": {"compute0": "running"}, "hv2": {"compute1": "running"}})
NODES = ("compute0", "compute1")


def start(play: Play, cancel: bool = False, timeout: float = 30, nodes: Sequence[str] = NODES) -> Any:
    clock = FakeClock()
    seen, error = watch.until_running(play, "vc1/sim", 7, nodes, timeout, cancel, "/nowhere/log", clock)
    assert all(pause <= 1.0 for pause in clock.slept)
    return seen, error


def stop(play: Play, cancel: bool = False, timeout: float = 30) -> Any:
    return watch.until_gone(play, "vc1/sim", [7], NODES, timeout, cancel, FakeClock())


def test_from_the_queue_to_running() -> None:
    seen, error = start(Play(Scene("PENDING", "Priority"), Scene("RUNNING", "Prolog"), BOOTING, RUNNING))
    assert error is None
    assert seen.state == "running"
    assert {name: (guest.state, guest.host) for name, guest in seen.guests.items()} == {
        "compute0": ("running", "hv1"),
        "compute1": ("running", "hv2"),
    }
    assert seen.job.end_time > 0


def test_no_agent_is_asked_before_the_prologs_are_done() -> None:
    play = Play(Scene("PENDING"), Scene("RUNNING", "Prolog"), RUNNING)
    start(play)
    assert [line.split()[0] for line in play.ran] == ["squeue", "squeue", "squeue", "srun"]


@pytest.mark.parametrize("count", [1, 8, 64])
def test_the_number_of_execs_does_not_depend_on_the_number_of_nodes(count: int) -> None:
    names = [f"compute{number}" for number in range(count)]
    play = Play(Scene("PENDING"), Scene("RUNNING", guests={"hv1": dict.fromkeys(names, "running")}))
    seen, error = start(play, nodes=names)
    assert error is None
    assert len(seen.guests) == count
    assert play.count == 3


def test_a_pending_job_is_left_with_its_reason() -> None:
    play = Play(Scene("PENDING", "AssocGrpCPUMinutesLimit"))
    seen, error = start(play, timeout=5)
    assert error.code == "timeout"
    assert "job 7 is pending after 5 s, Slurm's reason is AssocGrpCPUMinutesLimit" in error.detail
    assert "stays so (on_timeout: leave)" in error.detail
    assert "allocation" in error.remedy
    assert seen.state == "pending"
    assert not [line for line in play.ran if line.startswith("scancel")]


def test_a_pending_job_is_cancelled_when_asked() -> None:
    play = Play(Scene("PENDING", "Resources"), ended="CANCELLED by 2001|0:0")
    play.after_cancel = [Scene("CANCELLED")]
    seen, error = start(play, cancel=True, timeout=5)
    assert error.code == "timeout"
    assert "was cancelled" in error.detail
    assert seen.state == "cancelled"
    assert "scancel 7" in play.ran


def test_zero_seconds_look_once() -> None:
    play = Play(Scene("PENDING", "Resources"))
    _seen, error = start(play, timeout=0)
    assert error.code == "timeout"
    assert play.count == 1


@pytest.mark.parametrize("reason", ["BadConstraints", "JobHeldUser", "(launch failed requeued held)", "launch failed requeued held"])
def test_a_hopeless_reason_ends_the_wait(reason: str) -> None:
    play = Play(Scene("PENDING", reason))
    _seen, error = start(play, timeout=1000)
    assert error.code == "timeout"
    assert play.count == 1


def test_slow_nodes_are_named() -> None:
    _seen, error = start(Play(BOOTING), timeout=3)
    assert "compute0 is booting on hv1, compute1 is preparing on hv2" in error.detail


def test_a_job_that_ends_early_is_told_with_its_state() -> None:
    seen, error = start(Play(BOOTING, Scene("FAILED"), ended="FAILED|3:0"))
    assert error.code == "backend"
    assert "job 7 ended FAILED, exit code 3" in error.detail
    assert seen.state == "failed"
    assert {guest.state for guest in seen.guests.values()} == {"off"}


def test_a_crashed_node_ends_the_wait() -> None:
    for other in ("running", "booting"):
        crashed = Scene("RUNNING", guests={"hv1": {"compute0": other}, "hv2": {"compute1": "crashed"}})
        seen, error = start(Play(BOOTING, crashed, RUNNING), timeout=1000)
        assert error.code == "backend"
        assert "compute1 is crashed on hv2" in error.detail
        assert seen.job.live


def test_a_job_on_its_way_out_is_awaited_to_tell_why() -> None:
    play = Play(Scene("COMPLETING"), Scene("COMPLETING"), Scene("FAILED"), ended="FAILED|1:0")
    seen, error = start(play, timeout=0)
    assert error.code == "backend"
    assert "job 7 ended FAILED" in error.detail
    assert seen.state == "failed"


def test_agents_cannot_invent_nodes() -> None:
    liar = Scene("RUNNING", guests={"hv1": {"compute0": "running", "evil": "running"}, "hv2": {"compute1": "running"}})
    seen, error = start(Play(liar))
    assert error is None
    assert set(seen.guests) == set(NODES)


def test_gone_in_order() -> None:
    seen, error = stop(Play(RUNNING, Scene("COMPLETING"), Scene("COMPLETED")))
    assert error is None
    assert seen.state == "completed"


def test_gone_and_forgotten() -> None:
    seen, error = stop(Play(Scene("COMPLETING"), Scene("GONE"), ended="CANCELLED by 2001|0:0"))
    assert error is None
    assert seen.state == "cancelled"


def test_a_job_that_does_not_stop_is_left() -> None:
    seen, error = stop(Play(RUNNING), timeout=5)
    assert error.code == "timeout"
    assert "on_timeout: cancel" in error.remedy
    assert seen.state == "stopping"


def test_the_power_cord() -> None:
    play = Play(RUNNING)
    play.after_cancel = [Scene("COMPLETING"), Scene("CANCELLED")]
    seen, error = stop(play, cancel=True, timeout=5)
    assert error is None
    assert "scancel 7" in play.ran
    assert seen.ended is not None


def test_all_jobs_share_the_time_and_each_has_its_cord_pulled() -> None:
    for cancel, seconds in ((False, 5.0), (True, 5.0 + watch.CANCEL_SECONDS)):
        play, clock = Play(Scene("RUNNING", "Prolog")), FakeClock()
        seen, error = watch.until_gone(play, "vc1/sim", [7, 8], NODES, 5, cancel, clock)
        assert error is not None
        assert seen is not None
        assert "job 7 is still stopping, job 8 is still stopping after 5 s" in error.detail
        assert seen.state == "stopping"
        assert clock.now() == pytest.approx(seconds)
        assert [f"scancel {job}" in play.ran for job in (7, 8)] == [cancel, cancel]
        # Both hear again of what they may have missed, also while the other is waited for.
        assert {f"scancel --batch --signal=TERM {job}" in play.ran for job in (7, 8)} == {cancel}


def test_nothing_to_wait_for_is_over() -> None:
    assert watch.until_gone(Play(RUNNING), "vc1/sim", [], NODES, 5, True, FakeClock()) == (None, None)


def test_a_withdrawn_job_that_started_after_all_is_terminated() -> None:
    play = Play(Scene("PENDING"), RUNNING)
    play.after_cancel = [Scene("COMPLETING"), Scene("COMPLETED")]
    _seen, error = stop(play)
    assert error is None
    assert "scancel --batch --signal=TERM 7" in play.ran


def test_a_job_that_lost_its_batch_host_is_not_waited_for() -> None:
    seen, error = start(Play(RUNNING, Scene("RUNNING", hosts="hv2", guests={"hv2": {"compute1": "booting"}})), nodes=(*NODES, "compute2"))
    assert error.code == "backend"
    assert "compute0 is crashed (its job has lost hv1)" in error.detail
    assert seen.guests["compute1"].state == "booting"


def tell(play: Play, clock: FakeClock) -> Any:
    return watch.until_told(play, "vc1/sim", 7, NODES, clock)


TOLD = Scene("RUNNING", guests={"hv1": {"compute0": "stopping"}, "hv2": {"compute1": "off"}})
TERM = "scancel --batch --signal=TERM 7"


def test_who_does_not_wait_waits_until_the_agents_know() -> None:
    play = Play(RUNNING, RUNNING, TOLD, Scene("COMPLETED"))
    seen, error = tell(play, FakeClock())
    assert (seen.state, error) == ("stopping", None)
    assert len([line for line in play.ran if line.startswith("squeue")]) == 3
    assert TERM not in play.ran
    for scene, state in ((Scene("COMPLETING"), "stopping"), (Scene("COMPLETED"), "completed"), (Scene("PENDING"), "pending")):
        seen, error = tell(Play(scene), FakeClock())
        assert (seen.state, error) == (state, None)


@pytest.mark.parametrize("scene", [RUNNING, BOOTING, Scene("RUNNING", "Prolog")])
def test_who_was_asked_in_vain_is_asked_again(scene: Scene) -> None:
    play = Play(scene)
    play.after_cancel = [TOLD]
    seen, error = tell(play, FakeClock())
    assert (seen.state, error) == ("stopping", None)
    assert play.ran.count(TERM) == 1


def test_a_set_that_nobody_could_tell_to_stop_is_not_called_stopping() -> None:
    play, clock = Play(RUNNING), FakeClock()
    seen, error = tell(play, clock)
    assert seen.state == "running"
    assert error.code == "timeout"
    assert "job 7 is still running" in error.detail
    assert "wait: true" in error.remedy
    assert play.ran.count(TERM) >= 2
    assert sum(clock.slept) < 2 * watch.TOLD_SECONDS


def test_a_set_whose_agents_are_done_is_going_and_one_that_is_switched_off_is_not() -> None:
    off = {"hv1": {"compute0": "off"}, "hv2": {"compute1": "off"}}
    for done, state in ((("hv1", "hv2"), "stopping"), (("hv1",), "running"), ((), "running")):
        assert watch.view(Play(Scene("RUNNING", guests=off, done=done)), 7, NODES).state == state


def test_a_lost_signal_is_repeated() -> None:
    play = Play(Scene("RUNNING", "Prolog"))
    _seen, error = stop(play, timeout=12)
    assert error.code == "timeout"
    assert len([line for line in play.ran if line.startswith("scancel --batch")]) == 2
