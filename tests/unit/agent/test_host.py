# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the root helper gives to whom, and what it undoes."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Optional

import pytest
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.agent import host
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.agent.record import Records
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.command import Commands
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.host_config import HostConfig
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.model.errors import VcError
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.model.host import OverlayHost

from tests.unit.agent.hosts import USER, job, node, overlay_directory, places
from tests.unit.agent.vaults import Vault
from tests.unit.hostile import HOSTILE
from tests.unit.refusal import refused

_CONFIG = HostConfig("hv1", "tcg", "10.77.0.12", "root", OverlayHost("10.88.0.21", "netdev", 1600, ("10.88.0.21",)))


class Site:
    """One hypervisor with a vault; its switch and its processes are recorded instead of changed."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.places = places(root)
        self.records = Records(self.places)
        self.records.add(job())
        overlay_directory(self.places)
        self.vault = Vault()
        self.attached: list[str] = []
        self.detached: list[str] = []
        self.broken_switch = False
        self.recoveries = 0
        monkeypatch.setattr(host, "attach", self._attach)
        monkeypatch.setattr(host, "detach", lambda _commands, taps: self.detached.extend(taps))
        self.adopted: list[int] = []
        self.not_adopted: Optional[VcError] = None
        monkeypatch.setattr(host.JobProcesses, "adopt", self._adopt)
        monkeypatch.setattr(host, "start_recovery", self._recover)
        monkeypatch.setattr(host, "_LEASE_PAUSE", 0.01)
        monkeypatch.setattr(host, "_LEASE_SECONDS", 0.3)

    def _attach(self, _commands: Commands, _overlay: OverlayHost, ports: Sequence[Any]) -> None:
        if self.broken_switch:
            raise VcError("backend", "vcb10001", "attaching", "no switch", "start it")
        self.attached += [port.tap for port in ports]

    def _adopt(self, pid: int) -> bool:
        if self.not_adopted is not None:
            raise self.not_adopted
        self.adopted.append(pid)
        return True

    def _recover(self, _commands: Commands) -> None:
        self.recoveries += 1

    def ask(self, verb: str, uid: int = USER, **args: Any) -> dict[str, Any]:
        helper = host.Helper(self.places, _CONFIG, Commands(), self.vault, uid, os.getpid())
        return helper.answer({"schema": 1, "verb": verb, "args": {"job_id": 7, "restart_count": 0, **args}})

    def prepare(self, *names: str) -> dict[str, Any]:
        answer = self.ask("prepare", nodes=list(names))
        assert answer["ok"], answer
        return dict(answer["result"])


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    return Site(tmp_path, monkeypatch)


def code(answer: dict[str, Any]) -> str:
    assert answer["ok"] is False
    assert answer["error"]["remedy"]
    return str(answer["error"]["code"])


def test_all_nodes_of_a_call_in_one_request(site: Site) -> None:
    result = site.prepare("compute0", "compute1")
    assert site.vault.verbs() == ["lease"]
    assert site.attached == ["t002711n1", "t002711n2"]
    assert (result["accelerator"], result["datapath"]) == ("tcg", "netdev")
    assert result["nodes"]["compute0"]["seed"] == "compute0.seed.iso"
    assert site.records.nodes(7) == [
        node(epoch=1, persistent=False, tap="t002711n1"),
        node("compute1", epoch=1, persistent=False, tap="t002711n2"),
    ]


def test_the_seed_is_roots_and_read_only(site: Site) -> None:
    trap = site.places.overlay_directory(7) / "compute0.seed.iso"
    trap.symlink_to("/etc/passwd")
    site.prepare("compute0")
    assert not trap.is_symlink()
    assert (trap.stat().st_uid, trap.stat().st_mode & 0o777) == (os.getuid(), 0o444)
    assert b"CD001" in trap.read_bytes()


def test_no_secret_is_kept(site: Site) -> None:
    site.prepare("compute0")
    kept = "".join(path.read_text() for path in [*site.places.records.rglob("*.json"), *site.places.lasting.glob("*.json")])
    assert "chap" not in kept


def test_a_node_that_is_just_being_given_back_is_waited_for(site: Site) -> None:
    site.vault.busy = 3
    assert site.prepare("compute0")["nodes"]["compute0"]["ok"]
    assert site.vault.verbs() == ["lease"] * 4


def test_a_leased_node_is_reported_and_leaves_nothing(site: Site) -> None:
    site.vault.busy = 10**6
    result = site.prepare("compute0")
    assert result["nodes"]["compute0"]["error"]["code"] == "leased"
    assert site.records.nodes(7) == []
    assert site.attached == []


def test_one_bad_node_does_not_stop_the_others(site: Site) -> None:
    result = site.prepare("compute0", "nosuch")
    assert result["nodes"]["compute0"]["ok"]
    assert result["nodes"]["nosuch"]["error"]["code"] == "unknown"
    assert [record.node for record in site.records.nodes(7)] == ["compute0"]


def test_nobody_is_moved_before_the_vault_has_agreed(site: Site) -> None:
    site.vault.refusing["lease"] = VcError("forbidden", "vc1", "leasing", "labuser is not its owner", "ask the owner")
    assert site.prepare("compute0")["nodes"]["compute0"]["error"]["code"] == "forbidden"
    assert site.adopted == []
    site.vault.refusing.clear()
    site.prepare("compute0")
    assert site.adopted == [os.getpid()]


@pytest.mark.parametrize("refusal", ["forbidden", "unknown"])
def test_a_job_that_the_vault_does_not_want_does_not_ask_it_again_and_again(site: Site, refusal: str) -> None:
    def refuse(verb: str, _args: Any) -> dict[str, Any]:
        site.vault.asked.append((verb, {}))
        raise VcError(refusal, "vc1", "leasing", "labuser is not its owner", "ask the owner")

    ask = site.vault.call
    site.vault.call = refuse
    first = site.ask("prepare", nodes=["compute0"])
    assert [code(first), code(site.ask("prepare", nodes=["compute1"]))] == [refusal, refusal]
    assert site.vault.verbs() == ["lease"]
    assert site.records.nodes(7) == []
    site.vault.call = ask
    (note,) = site.records.directory(job()).glob("refused")
    os.utime(note, (0, time.time() - host._REFUSED_SECONDS - 1))
    assert site.prepare("compute0")["nodes"]["compute0"]["ok"]


def test_who_does_not_call_from_the_job_itself_gets_nothing(site: Site) -> None:
    site.not_adopted = VcError("forbidden", "process 5", "adopting it", "it is in job 8", "call from the job itself")
    result = site.prepare("compute0")
    assert result["nodes"]["compute0"]["error"]["code"] == "forbidden"
    assert site.vault.verbs() == ["lease", "release"]
    assert site.attached == []
    assert site.records.nodes(7) == []


def test_a_broken_switch_gives_the_leases_back(site: Site) -> None:
    site.broken_switch = True
    result = site.prepare("compute0", "compute1")
    assert {answer["error"]["code"] for answer in result["nodes"].values()} == {"backend"}
    assert site.vault.verbs() == ["lease", "release"]
    assert site.vault.asked[-1][1]["nodes"]["compute0"] == {"epoch": 1, "outcome": "discarded"}
    assert site.records.nodes(7) == []


def test_what_cannot_be_given_back_now_is_left_to_the_epilog(site: Site) -> None:
    site.broken_switch = True
    site.vault.refusing["release"] = VcError("unreachable", "vault", "asking", "away", "wait")
    site.prepare("compute0")
    assert [record.epoch for record in site.records.nodes(7)] == [1]


def test_a_vault_that_is_away_leaves_a_note_for_the_epilog(site: Site) -> None:
    site.vault.refusing["lease"] = VcError("unreachable", "vault", "asking", "away", "wait")
    assert code(site.ask("prepare", nodes=["compute0"])) == "unreachable"
    assert [record.epoch for record in site.records.nodes(7)] == [0]


def test_a_job_that_ended_meanwhile_keeps_no_lease(site: Site) -> None:
    lease = site.vault._lease

    def end(name: str) -> dict[str, Any]:
        site.records.withdraw(job())
        return lease(name)

    site.vault._lease = end
    assert code(site.ask("prepare", nodes=["compute0"])) == "unknown"
    assert site.vault.verbs() == ["lease", "release"]
    assert site.attached == []


@pytest.mark.parametrize("moment", ["attaching", "writing seeds"])
@pytest.mark.parametrize("gone", [False, True], ids=["withdrawn", "settled"])
def test_an_epilog_that_did_not_wait_finds_nothing_made_behind_its_back(
    site: Site, monkeypatch: pytest.MonkeyPatch, moment: str, gone: bool
) -> None:
    function = "attach" if moment == "attaching" else "put_seed"
    original = getattr(host, function)

    def end(*arguments: Any) -> None:
        site.records.withdraw(job())
        if gone:
            site.records.remove(job())
        original(*arguments)

    monkeypatch.setattr(host, function, end)
    assert code(site.ask("prepare", nodes=["compute0"])) == "unknown"
    assert site.vault.asked[-1] == ("release", {"cluster": "vc1", "nodes": {"compute0": {"epoch": 1, "outcome": "discarded"}}})
    assert "t002711n1" in site.detached
    assert site.records.nodes(7) == []
    assert site.recoveries == 1


def test_a_later_jobs_tap_is_not_taken_by_one_that_has_ended(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def end(*_arguments: Any) -> None:
        site.records.withdraw(job())
        site.records.add(job(8))
        site.records.add_node(node(job_id=8, epoch=2, tap="t002711n1"))

    monkeypatch.setattr(host, "attach", end)
    assert code(site.ask("prepare", nodes=["compute0"])) == "unknown"
    assert site.detached == []
    assert [record.epoch for record in site.records.nodes(8)] == [2]
    assert site.recoveries == 1


def test_what_fails_for_a_node_that_runs_already_does_not_throw_its_work_away(site: Site) -> None:
    site.prepare("compute0")
    site.vault.epochs.clear()
    site.broken_switch = True
    result = site.prepare("compute0", "compute1")
    assert {answer["error"]["code"] for answer in result["nodes"].values()} == {"backend"}
    assert set(site.vault.asked[-1][1]["nodes"]) == {"compute1"}
    assert [(record.node, record.epoch) for record in site.records.nodes(7)] == [("compute0", 1)]


def test_a_node_whose_lease_was_broken_does_not_go_on_under_a_new_one(site: Site) -> None:
    site.prepare("compute0")
    result = site.prepare("compute0")
    assert result["nodes"]["compute0"]["error"]["code"] == "stale_epoch"
    assert site.vault.asked[-1] == ("release", {"cluster": "vc1", "nodes": {"compute0": {"epoch": 2, "outcome": "discarded"}}})
    assert [record.epoch for record in site.records.nodes(7)] == [1]


def test_only_the_jobs_own_user_gets_anything(site: Site) -> None:
    for uid in (USER + 1, 0 if USER else 1):
        assert code(site.ask("prepare", uid=uid, nodes=["compute0"])) == "forbidden"
    assert code(site.ask("prepare", job_id=8, nodes=["compute0"])) == "unknown"
    assert code(site.ask("prepare", restart_count=1, nodes=["compute0"])) == "unknown"
    assert site.vault.asked == []


def test_who_has_no_job_is_not_even_listened_to(site: Site) -> None:
    host.check_user(site.places, USER)
    for uid in (USER + 1, 0 if USER else 1):
        assert refused("forbidden", host.check_user, site.places, uid).remedy
    site.records.withdraw(job())
    refused("forbidden", host.check_user, site.places, USER)


def test_a_record_of_another_boot_gives_nothing(site: Site) -> None:
    site.records.add(replace(job(), boot_id="00000000-0000-0000-0000-000000000000"))
    assert code(site.ask("prepare", nodes=["compute0"])) == "unknown"


def test_states_carry_the_epoch_of_the_record(site: Site) -> None:
    site.prepare("compute0")
    answer = site.ask("state", nodes={"compute0": "running", "compute1": "running"})
    assert site.vault.asked[-1] == ("state", {"cluster": "vc1", "nodes": {"compute0": {"epoch": 1, "state": "running"}}})
    assert answer["result"]["nodes"]["compute0"]["ok"]
    assert answer["result"]["nodes"]["compute1"]["error"]["code"] == "unknown"


@pytest.mark.parametrize("name", HOSTILE.values())
def test_hostile_names_do_not_reach_the_vault(site: Site, name: str) -> None:
    assert code(site.ask("prepare", nodes=[name])) == "invalid"
    assert code(site.ask("state", nodes={name: "running"})) == "invalid"
    assert site.vault.asked == []


@pytest.mark.parametrize(
    "request_",
    [
        None,
        [],
        5,
        "x",
        {},
        {"schema": 2},
        {"schema": 1, "verb": "prepare"},
        {"schema": 1, "verb": "exec", "args": {"job_id": 7, "restart_count": 0}},
    ],
)
def test_anything_else_is_refused(site: Site, request_: Any) -> None:
    helper = host.Helper(site.places, _CONFIG, Commands(), site.vault, USER, os.getpid())
    assert code(helper.answer(request_)) == "invalid"


@pytest.mark.parametrize(
    "args",
    [
        {"nodes": []},
        {"nodes": "compute0"},
        {"nodes": ["a"] * 300},
        {"nodes": [1]},
        {},
        {"nodes": ["a"], "job_id": "7"},
        {"nodes": ["a"], "job_id": True},
    ],
)
def test_arguments_of_the_wrong_kind(site: Site, args: dict[str, Any]) -> None:
    assert code(site.ask("prepare", **args)) == "invalid"
    assert site.vault.asked == []


@pytest.mark.parametrize("line", [b"", b"\n", b"{", b"\xff\n", b"[" * 60000 + b"\n", b"1" * 70000])
def test_lines_that_are_no_requests(line: bytes) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(line)
        theirs.shutdown(socket.SHUT_WR)
        # Some of it is JSON, but none of it is an object.
        with contextlib.suppress(VcError):
            assert not isinstance(host.read_line(ours), dict)


def test_a_line_is_read_up_to_its_end() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(json.dumps({"schema": 1}).encode() + b"\n")
        assert host.read_line(ours) == {"schema": 1}
