# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The batch script, sbatch's command line and the agents' answers."""

from __future__ import annotations

import dataclasses
import itertools
import json
import subprocess

import pytest
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.model.version import VERSION
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.slurm import jobs, script, submit

from tests.unit.hostile import every_hostile
from tests.unit.refusal import refused

SPEC = script.Spec(VERSION, "vc1", "sim", ("compute0", "compute1"), 20, ("debian12@r1",))
REQUEST = submit.Request(SPEC, "physics", 3, 1024, 360, 40, "/home/labuser")


def test_the_script_hands_the_runner_its_spec(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    text = script.render(SPEC).replace(f"exec {script.RUNNER}", 'exec printf %s "$VC_SPEC"')
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    done = subprocess.run(["/bin/sh"], input=text, capture_output=True, text=True, check=True)
    first, _newline, spec = done.stdout.partition("\n")
    assert first == script.headline("7")
    assert json.loads(spec) == {
        "schema": 1,
        "version": VERSION,
        "cluster": "vc1",
        "computeset": "sim",
        "nodes": ["compute0", "compute1"],
        "grace_seconds": 20,
    }


@every_hostile
def test_nothing_hostile_reaches_the_shell(hostile: str) -> None:
    for key in ("version", "cluster", "computeset"):
        refused("invalid", script.render, dataclasses.replace(SPEC, **{key: hostile}))
    refused("invalid", script.render, dataclasses.replace(SPEC, nodes=("compute0", hostile)))
    refused("invalid", script.render, dataclasses.replace(SPEC, images=(hostile,)))
    refused("invalid", script.comment, dataclasses.replace(SPEC, cluster=hostile))
    refused("invalid", script.slurm_word, hostile, "partition")


@pytest.mark.parametrize("grace", [0, -1, 3601])
def test_grace_is_bounded(grace: int) -> None:
    refused("invalid", script.render, dataclasses.replace(SPEC, grace_seconds=grace))


def test_the_comment_reads_back_as_the_claim() -> None:
    claim = jobs.claim(script.comment(SPEC), 7, 0)
    assert claim == jobs.Claim("vc1", "sim", "compute[0-1]", ("debian12@r1",), 1)


def test_the_command_line_of_sbatch() -> None:
    argv = submit.sbatch_argv(REQUEST)
    assert argv[0] == "sbatch"
    for option in ("--no-requeue", "--no-kill", "--signal=B:TERM@40", "--ntasks=2", "--cpus-per-task=3", "--time=360", "--account=physics"):
        assert option in argv
    # 3 x 342 MiB hold 1024 MiB, 3 x 341 do not.
    assert "--mem-per-cpu=342M" in argv
    assert "--output=/home/labuser/.vc-vc1-sim.log" in argv
    assert not [option for option in argv if option.startswith(("--nodes", "--partition", "--qos", "--dependency", "--export"))]


def test_placement_options() -> None:
    argv = submit.sbatch_argv(dataclasses.replace(REQUEST, per_host=1, after=(7, 9), partition="vc", qos="high", reservation="course"))
    for option in (
        "--ntasks-per-node=1",
        "--nodes=2-2",
        "--dependency=afterany:7,afterany:9",
        "--partition=vc",
        "--qos=high",
        "--reservation=course",
    ):
        assert option in argv
    argv = submit.sbatch_argv(dataclasses.replace(REQUEST, on_hosts=("hv2",), exclude_hosts=("hv1", "hv3")))
    for option in ("--nodes=1-1", "--nodelist=hv2", "--exclude=hv1,hv3"):
        assert option in argv


@pytest.mark.parametrize("count", [1, 8, 64])
def test_the_command_line_grows_by_nothing_but_its_numbers(count: int) -> None:
    spec = dataclasses.replace(SPEC, nodes=tuple(f"compute{number}" for number in range(count)))
    argv = submit.sbatch_argv(dataclasses.replace(REQUEST, spec=spec))
    assert len(argv) == len(submit.sbatch_argv(REQUEST))
    assert sum(map(len, argv)) < sum(map(len, submit.sbatch_argv(REQUEST))) + 10


def test_answers_of_the_agents() -> None:
    text = (
        '{"host":"hv1","nodes":{"compute0":{"state":"running","since":1.5}}}\n'
        "srun: warning: something\n"
        '{"host":"hv2","nodes":{"compute1":{"state":"crashed","msg":"QEMU ended"}}}\n'
        '[1]\n{"host":"hv3"}\n{"host":"hv3","nodes":5}\n"x"\n'
    )
    assert submit.answers(text) == {"compute0": submit.Guest("running", "hv1"), "compute1": submit.Guest("crashed", "hv2", "QEMU ended")}


def test_the_last_lines_of_a_log(tmp_path: object) -> None:
    path = f"{tmp_path}/log"
    with open(path, "w", encoding="utf-8") as file:
        file.write("Slurm job 7\n" + "x" * 9000 + "\n\n" + "\n".join(f"line {number}\x1b[31m" for number in range(9)) + "\n")
    said = submit.why_ended(path, 7)
    assert said == " / ".join(f"line {number} [31m" for number in range(4, 9))
    # Of a job before.
    assert submit.why_ended(path, 77) == submit.why_ended(path, 8) == ""
    assert submit.why_ended(f"{tmp_path}/none", 7) == ""


def test_a_comment_leaves_out_what_slurm_has_no_room_for() -> None:
    images = tuple(f"debian12-{'x' * 38}{number}@r1" for number in range(9))
    assert jobs.claim(script.comment(dataclasses.replace(SPEC, images=images)), 7, 0).images == images
    text = script.comment(dataclasses.replace(SPEC, images=(*images, *images, *images)))
    assert len(text) <= script.MOST_COMMENT
    assert jobs.claim(text, 7, 0) == jobs.Claim("vc1", "sim", "compute[0-1]")


def test_a_comment_that_slurm_would_not_take_is_refused() -> None:
    racks = tuple(f"r{rack:02d}n{node}" for rack in range(1, 100) for node in range(1, 9))
    assert '"nodes":"r[01-99]n[1-8]"' in script.comment(dataclasses.replace(SPEC, nodes=racks))
    scattered = tuple(f"compute{number}" for number in range(0, 600, 2))
    error = refused("invalid", script.comment, dataclasses.replace(SPEC, nodes=scattered))
    assert error.item == "vc1/sim"
    assert "1024" in error.detail
    assert "several smaller sets" in error.remedy


def test_a_comment_may_be_as_long_as_slurm_takes_it_to_the_last_byte() -> None:
    names = tuple("".join(letters) + "x" * 24 for letters in itertools.product("ab", repeat=5))
    spec = dataclasses.replace(SPEC, images=(), nodes=names)
    last = "z" * (script.MOST_COMMENT - len(script.comment(spec)) - 1)
    assert len(script.comment(dataclasses.replace(spec, nodes=(*names, last)))) == 1024
    refused("invalid", script.comment, dataclasses.replace(spec, nodes=(*names, f"{last}z")))


def test_a_spec_is_as_long_as_the_kernel_lets_it_be() -> None:
    subprocess.run(["/bin/true"], env={"VC_SPEC": "x" * script.MOST_SPEC}, check=True)
    with pytest.raises(OSError, match="too long"):
        subprocess.run(["/bin/true"], env={"VC_SPEC": "x" * (script.MOST_SPEC + 1)}, check=True)
    nodes = tuple(f"{'n' * 27}{number}" for number in range(4096))
    error = refused("invalid", script.render, dataclasses.replace(SPEC, nodes=nodes))
    assert error.item == "vc1/sim"
    assert f"{script.MOST_SPEC}" in error.detail
    assert script.render(dataclasses.replace(SPEC, nodes=tuple(name[4:] for name in nodes)))
