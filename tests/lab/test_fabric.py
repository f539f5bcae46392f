# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Partitions of virtual clusters on a simulated fabric with a real OpenSM, seen from the hosts' own ports.

What any module owes (check mode, second run, foreign lines, bad items) its row in the contract holds, on the same fabric.
"""

from __future__ import annotations

import contextlib
import json
import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.lab import in_process, infiniband, vault
from tests.lab.host import ROOT, attempt, on, play, python
from tests.lab.infiniband import MANAGER, OWN, UNIT, keys, look, node
from tests.lab.virtual_cluster import awaited
from tests.unit.fabric.samples import BROKEN, ONE, READ, TWO

pytestmark = pytest.mark.usefixtures("demo")

# Ports of a network that no vault of these proofs has given out, and the adapters of two of them.
A, B, C, D = (node(10006, index) for index in range(4))
OF_A, OF_C = "v10006n0", "v10006n2"
FIRST = {"name": "proof-a", "pkey": "0x0501", "guids": [A, B]}
SECOND = {"name": "proof-b", "pkey": "0x0502", "guids": [C, D]}
LIMITED, FULL = "0x7fff", "0xffff"


def calls(*steps: list[dict[str, Any]], **options: Any) -> list[dict[str, Any]]:
    """The answers to calls in a row, each with these partitions."""
    return in_process.answers(MANAGER, "ib_partition", [{"partitions": partitions, **options} for partitions in steps])


def done(*partitions: dict[str, Any]) -> dict[str, Any]:
    (answer,) = calls(list(partitions))
    assert not answer.get("failed"), answer.get("msg")
    return answer


def gone(*names: str) -> list[dict[str, Any]]:
    return [{"name": name, "state": "absent"} for name in names]


@pytest.fixture(scope="module", name="before")
def found_before(demo: None) -> str:
    return infiniband.read()


@pytest.fixture(autouse=True)
def as_before(before: str) -> Iterator[None]:
    """Every proof leaves file and fabric as it found them."""
    yield
    if infiniband.read() != before:
        done(*gone(*set(re.findall(r"(?m)^(proof-\w+)=", infiniband.read()))))
        assert infiniband.read() == before
    # Of a reload that nobody waited for, OpenSM comes to the last port last.
    awaited(lambda: keys("head", A, B, C, D) == dict.fromkeys((A, B, C, D), {LIMITED}), "the fabric as it was found", 10)


def test_declared_nodes_have_their_key_and_no_other() -> None:
    declared = json.loads(on("nas", "cat", f"{vault.ROOT}/registry/registry.json"))["clusters"]["vc1"]
    key = f"0x{int(declared['pkey'], 16) | 0x8000:04x}"
    guids = [one["guid"] for one in declared["nodes"]]
    assert len(guids) == 3
    for host in ("hv1", "hv2"):
        # The host's own port is infrastructure: a full member of the default partition, and of nothing else.
        assert keys(host, *guids, A, OWN) == {**dict.fromkeys(guids, {LIMITED, key}), A: {LIMITED}, OWN: {FULL}}


def test_tenants_are_apart() -> None:
    """Each port asks for itself, as its guest would."""
    done(FIRST, SECOND)
    every = [(asker, target, key) for asker, target in ((OF_A, B), (OF_C, D), (OF_A, C)) for key in ("0x8501", "0x8502", LIMITED)]
    tables, paths, _groups = look("hv1", [A, B, C, D, OWN], every)
    assert tables == {A: {LIMITED, "0x8501"}, B: {LIMITED, "0x8501"}, C: {LIMITED, "0x8502"}, D: {LIMITED, "0x8502"}, OWN: {FULL}}
    assert paths == [True, False, False, False, True, False, False, False, False]
    done(*gone("proof-a"))
    tables, paths, _groups = look("hv2", [A, B, C], [(OF_A, B, "0x8501"), (OF_C, D, "0x8502")])
    assert tables == {A: {LIMITED}, B: {LIMITED}, C: {LIMITED, "0x8502"}}
    assert paths == [False, True]


def test_a_port_that_is_away_is_enrolled_all_the_same() -> None:
    away, group = "0x020027ff00000000", "ff12:401b:8501::ffff:ffff"
    answer = done({**FIRST, "guids": [A, away], "ipoib": True})
    assert answer["partitions"][0]["off_fabric"] == [away]
    # Only a member is told of the group.
    assert look("hv1", [], groups=[(OF_A, group), (OF_C, group)])[2] == [True, False]
    assert f"{away}=full" in infiniband.read()


def test_one_syntax_error_opens_the_fabric_and_is_refused_before(before: str) -> None:
    """First that the module does not spring the trap: the whole file is read as OpenSM reads it.  Then the trap itself."""
    broken = before + "storage=0x0700 : 0x12345z=full ;\n"
    infiniband.write(broken)
    try:
        (answer,) = calls([SECOND])
        assert answer["error_code"] == "invalid"
        assert f"{infiniband.FILE}:{len(broken.splitlines())}" in answer["msg"]
        assert infiniband.read() == broken
        assert keys("hv1", A, C) == {A: {LIMITED}, C: {LIMITED}}
        infiniband.reload()
        awaited(lambda: keys("hv1", A, D) == {A: {FULL}, D: {FULL}}, "every port is a full member of the default partition", 10)
    finally:
        infiniband.write(before)
        infiniband.reload()
    awaited(lambda: keys("hv1", A, D) == {A: {LIMITED}, D: {LIMITED}}, "the fabric is closed again", 10)


def test_a_port_that_has_the_lid_of_another_by_now_is_found() -> None:
    done({**FIRST, "guids": [A], "limited_guids": [B]})
    program = (ROOT / "plugins/module_utils/fabric/query.py").read_text(encoding="utf-8")
    variables = [f"{name}={value}" for name, value in infiniband.simulated.environment(MANAGER).items()]

    def asked(places: dict[str, Any]) -> dict[str, Any]:
        question = json.dumps({"ports": {A: [["0x8501"], []], B: [["0x0501"], []]}, "seconds": 0, "places": places})
        own = infiniband.simulated.host_guid(infiniband.simulated.SERVER)
        return json.loads(on(MANAGER, "env", *variables, "/usr/bin/python3", "-I", "-c", program, own, stdin=question))

    found = asked({})
    assert "0x8501" in found["ports"][A]
    assert "0x0501" in found["ports"][B]
    (lid_of_a, port_of_a), (lid_of_b, port_of_b) = found["places"][A], found["places"][B]
    assert [port_of_a, port_of_b] == [A, B]
    assert asked(found["places"]) == found
    assert asked({A: [lid_of_b, A], B: [lid_of_a, B]}) == found
    # One that no port has.
    assert asked({A: [999, A], B: found["places"][B]}) == found


# Each text stands below a partition of its own, by which a look knows that OpenSM has read this file and none before it.
READER = """
import json, subprocess, sys, time
path, unit, marker, guids, texts, variables = json.loads(sys.argv[1])
def table(guid):
    seen = {**variables, "PATH": "/usr/sbin:/usr/bin"}
    said = subprocess.run(["smpquery", "-G", "pkeys", guid, "1"], env=seen, cwd="/run", capture_output=True, text=True).stdout
    rows = [line.split(":")[1].split() for line in said.splitlines() if ":" in line and line.strip()[:1].isdigit()]
    return sorted({key for row in rows for key in row} - {"0x0000"})
def put(text):
    with open(path, "w", newline="") as file:
        file.write(text)
    subprocess.run(["systemctl", "reload", unit], check=True)
def read(key, text):
    put(f"Default=0x7fff : SELF=full ;\\nmark={key:#06x} : {marker}=full ;\\n{text}\\n")
    until = time.monotonic() + 10
    while f"{key | 0x8000:#06x}" not in (seen := table(marker)) and (not text or seen != ["0xffff"]):
        assert time.monotonic() < until, (text, seen)
before, found = open(path, newline="").read(), []
try:
    for number, text in enumerate(texts):
        # One that opens the fabric could not be told from another one before it.
        if found and found[-1][guids[0]] == ["0xffff"]:
            read(0x5000 + number, "")
        read(0x4000 + number, text)
        found.append({guid: table(guid) for guid in guids})
finally:
    put(before)
print(json.dumps(found))
"""


def test_opensm_reads_the_file_as_our_own_reader_does() -> None:
    """Our reader stands between an admin's file and the trap, so it is held against the daemon, text by text."""
    texts = [*READ, *BROKEN]
    ports = {ONE: A, TWO: B, str(int(ONE, 16)): str(int(A, 16))}
    for name, guid in ports.items():
        texts = [text.replace(name, guid) for text in texts]
    job = [infiniband.FILE, UNIT, D, [A, B], texts, infiniband.simulated.environment(MANAGER)]
    found = python(MANAGER, READER, json.dumps(job))
    for text, tables in zip(READ, found):
        wanted: dict[str, set[str]] = {A: {LIMITED}, B: {LIMITED}}
        for _name, pkey, members in READ[text]:
            assert pkey is not None
            for guid, membership in members - {("SELF", "full")}:
                for port in (A, B) if guid == "ALL" else (ports[guid],):
                    wanted[port].add(f"0x{pkey | (0x8000 if membership == 'full' else 0):04x}")
        assert {guid: set(table) for guid, table in tables.items()} == wanted, text
    for text, tables in zip(BROKEN, found[len(READ) :]):
        assert tables == {A: [FULL], B: [FULL]}, text
    awaited(lambda: keys("hv1", A, D) == {A: {LIMITED}, D: {LIMITED}}, "the fabric is closed again", 10)


def test_a_partition_without_a_pkey_joins_another_and_is_refused(before: str) -> None:
    """OpenSM gives it the first one that is free at that line, and what follows with that pkey is the same partition then."""
    infiniband.write(f"unnumbered : {D}=full ;\n{before}tenant=0x0002 : {A}=full ;\n")
    try:
        infiniband.reload()
        awaited(lambda: keys("hv1", A, D) == {A: {LIMITED, "0x8002"}, D: {LIMITED, "0x8002"}}, "both are in one partition", 10)
        (answer,) = calls([FIRST])
        assert answer["error_code"] == "conflict"
        assert "choose" in answer["msg"]
    finally:
        infiniband.write(before)
        infiniband.reload()
    awaited(lambda: keys("hv1", A, D) == {A: {LIMITED}, D: {LIMITED}}, "both are gone", 10)


def test_a_full_table_is_found_on_the_port_before_anything_is_written() -> None:
    """OpenSM would only log it.  One write and one reload carry 63 partitions."""
    many = [{"name": f"proof-{number}", "pkey": number, "guids": [D]} for number in range(0x600, 0x63F)]
    reloads = on(MANAGER, "journalctl", "-q", "-u", UNIT, "-o", "cat", "--grep=Reloaded").count("Reloaded")
    done(*many)
    assert on(MANAGER, "journalctl", "-q", "-u", UNIT, "-o", "cat", "--grep=Reloaded").count("Reloaded") == reloads + 1
    assert len(keys("hv1", D)[D]) == 64
    there = infiniband.read()
    for check in (True, False):
        (answer,) = calls([SECOND, FIRST], _ansible_check_mode=check)
        assert [(one["name"], one["error_code"]) for one in answer["results"]] == [("proof-b", "conflict"), ("proof-a", "")]
        assert f"port {D} has no place for another key, its table of 64 keys is full" in answer["msg"]
        assert answer["changed"] is False
    assert infiniband.read() == there
    # The place that one leaves is the other's.
    done(*gone("proof-1536"), SECOND)
    assert len(keys("hv1", D)[D]) == 64
    done(*gone("proof-b", *(str(one["name"]) for one in many)))


def test_what_has_no_place_after_all_is_taken_back() -> None:
    """An admin has filled the table in the file, which OpenSM has not read yet.  A good item of the same call stays.

    Of new keys OpenSM first writes those with the lowest last byte.
    """
    admins = "".join(f"full{number}={number << 8:#06x} : {D}=full ;\n" for number in range(0x01, 0x40))
    before = infiniband.read()
    infiniband.write(f"{admins}{before}")
    try:
        (answer,) = calls([SECOND, FIRST], wait_timeout=5)
        assert (answer["failed"], answer["error_code"]) == (True, "backend")
        shown = [(one["name"], one["state"], one["changed"]) for one in answer["results"]]
        assert shown == [("proof-b", "failed", False), ("proof-a", "present", True)]
        assert f"port {D} lacks key 0x8502, its table of 64 keys is full" in answer["results"][0]["msg"]
        assert "proof-b" not in infiniband.read()
        assert keys("hv1", A, C) == {A: {LIMITED, "0x8501"}, C: {LIMITED}}
    finally:
        infiniband.write(infiniband.read().replace(admins, ""))
        infiniband.reload()
    done(*gone("proof-a"))


def test_what_opensm_does_not_carry_out_is_taken_back() -> None:
    done(FIRST)
    there = infiniband.read()
    with infiniband.reload_is("/bin/true"):
        (answer,) = calls([{**FIRST, "guids": [A, C]}, SECOND], wait_timeout=1)
    assert [one["error_code"] for one in answer["results"]] == ["backend", "backend"]
    assert f"port {C} lacks key 0x8501" in answer["results"][0]["msg"]
    assert answer["changed"] is False
    assert infiniband.read() == there


def test_opensm_that_ends_at_the_change_does_not_find_it_when_it_comes_back(before: str) -> None:
    # Not by SIGKILL: the simulator would go on asking the one that is gone.
    try:
        with infiniband.reload_is("/bin/kill -TERM $MAINPID"):
            (answer,) = calls([FIRST], wait_timeout=5)
        assert answer["error_code"] == "unreachable"
        assert answer["changed"] is False
        assert infiniband.read() == before
    finally:
        on(MANAGER, "systemctl", "start", UNIT)
    awaited(lambda: keys("head", A) == {A: {LIMITED}}, "OpenSM is back without the change", 10)


# The last step of a run has the file's directory open: the lock.
KILL = "until test $(grep -c proof-a {file}) -ne {there}; do sleep 0.05; done; fuser -s -k -KILL $(dirname {file})"


def reload_ended() -> bool:
    """The process that asks for it outlives the run, and may come only now."""
    attempt(MANAGER, "systemctl", "kill", "--kill-who=control", "--signal=KILL", UNIT)
    asked = attempt(MANAGER, "pgrep", "-x", "systemctl").returncode == 0
    return not asked and on(MANAGER, "systemctl", "show", "--value", "--property=ActiveState", UNIT).strip() == "active"


@pytest.mark.parametrize("undo", [False, True], ids=["declared", "removed"])
def test_a_run_that_was_killed_is_finished_by_the_next(undo: bool) -> None:
    step = gone("proof-a") if undo else [FIRST]
    if undo:
        done(FIRST)
    fabric, there = keys("head", A), int(undo)
    with infiniband.reload_is("/bin/sleep 60"), ThreadPoolExecutor(1) as pool:
        running = pool.submit(calls, step)
        on(MANAGER, "sh", "-c", KILL.format(file=infiniband.FILE, there=there))
        with contextlib.suppress(AssertionError, ValueError, IndexError):
            running.result()
        awaited(reload_ended, "the end of the reload that it had asked for", 10)
    assert keys("head", A) == fabric
    first, second = calls(step, step)
    assert [one["verb"] for one in first["actions"]] == ["reload"]
    assert [first["changed"], second["changed"]] == [True, False]
    assert keys("head", A) == {A: {LIMITED} if undo else {LIMITED, "0x8501"}}


def test_nothing_is_written_while_opensm_is_down(before: str) -> None:
    on(MANAGER, "systemctl", "stop", UNIT)
    try:
        for check in (True, False):
            (answer,) = calls([FIRST], _ansible_check_mode=check)
            assert answer["error_code"] == "unreachable"
            assert "systemctl start" in answer["msg"]
        assert infiniband.read() == before
    finally:
        on(MANAGER, "systemctl", "start", UNIT)
    awaited(lambda: keys("head", A) == {A: {LIMITED}}, "OpenSM answers again", 10)


def test_opensm_does_not_start_without_its_file(before: str) -> None:
    on(MANAGER, "systemctl", "stop", UNIT)
    try:
        infiniband.write("")
        assert attempt(MANAGER, "systemctl", "start", UNIT).returncode != 0
        assert attempt(MANAGER, "systemctl", "is-active", UNIT).returncode != 0
    finally:
        infiniband.write(before)
        on(MANAGER, "systemctl", "start", UNIT)
    awaited(lambda: keys("head", A) == {A: {LIMITED}}, "OpenSM answers again", 10)


def test_a_mistake_in_the_file_is_found_before_opensm_is_told_anything(before: str) -> None:
    broken = before + "storage=0x0700 : 0x12345z=full ;\n"
    infiniband.write(broken)
    try:
        (answer,) = calls([])
        assert answer["error_code"] == "invalid"
        refused = play(str(ROOT / "tests" / "lab" / "opensm.yml"), check=False, opensm_infrastructure_guids=[B])
        assert f"{infiniband.FILE}:{len(broken.splitlines())}" in refused.stdout
        assert infiniband.read() == broken
        assert keys("hv1", A, OWN) == {A: {LIMITED}, OWN: {FULL}}
    finally:
        infiniband.write(before)


@pytest.fixture
def held() -> Iterator[str]:
    """OpenSM is told to read its file only when there is this other file."""
    go = "/run/vc-proof-go"
    with infiniband.reload_is(f"/bin/sh -c 'until test -e {go}; do sleep 0.05; done'\nExecReload=/bin/kill -HUP $MAINPID"):
        yield go
    on(MANAGER, "rm", "-f", go)


def test_two_runs_at_once_lose_nothing(held: str) -> None:
    """The second comes when the first has written and waits for the fabric."""
    place = infiniband.FILE.rpartition("/")[0]
    with ThreadPoolExecutor(2) as pool:
        try:
            begun = time.monotonic()
            first = pool.submit(done, FIRST)
            awaited(lambda: "proof-a" in infiniband.read(), "the first has written", 30)
            took = time.monotonic() - begun
            second = pool.submit(done, SECOND)
            awaited(lambda: len(attempt(MANAGER, "fuser", place).stdout.split()) == 2, "both have come to the lock", 30)
            # If nothing kept it, it would have written by then, as the first had.
            time.sleep(took + 1)
            assert "proof-b" not in infiniband.read()
        finally:
            on(MANAGER, "touch", held)
        assert [first.result()["changed"], second.result()["changed"]] == [True, True]
    assert keys("hv1", A, C) == {A: {LIMITED, "0x8501"}, C: {LIMITED, "0x8502"}}
    # What the next run would go back to.
    good = on(MANAGER, "cat", f"{infiniband.FILE}.last-good")
    assert "proof-a" in good
    assert "proof-b" in good
