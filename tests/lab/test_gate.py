# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The gates, through the real sshd: what owner, member, operator and strangers may do, and that nothing else comes in."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import pytest

from tests.lab import in_process
from tests.lab.host import KEYS, attempt, command, finished, on
from tests.lab.virtual_cluster import VAULT_HOST, VirtualCluster, awaited, cancel_all, define, forget

ADDRESSES = {"head": "10.77.0.10", "fe1": "10.77.0.20"}
NAME, OTHER = "gated", "foreign"
PEOPLE = ("labuser", "anna", "olga", "otheruser")
# Owner, member, operator, and the owner of another cluster, who is a stranger to this one.
MAY = {
    "status": ("labuser", "anna", "olga"),
    "start": ("labuser", "anna"),
    "terminate": ("labuser", "anna", "olga"),
    "power": ("labuser", "anna", "olga"),
    "power frontend": ("labuser", "olga"),
    "console": ("labuser",),
}


def ssh(host: str, user: str, *command: str, options: tuple[str, ...] = (), stdin: str = "") -> subprocess.CompletedProcess[str]:
    known = ["-o", f"UserKnownHostsFile={KEYS.parent / 'known_hosts'}", "-o", "StrictHostKeyChecking=yes"]
    login = ["ssh", "-F", "none", "-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes", *known, *options, "-i", str(KEYS / f"{user}_ed25519")]
    return finished([*login, f"vc-gate@{ADDRESSES[host]}", *command], stdin=stdin, timeout=180)


def ask(user: str, verb: str, cluster: str = NAME, host: str = "head", **args: Any) -> dict[str, Any]:
    """The whole answer of a gate."""
    request = json.dumps({"schema": 1, "verb": verb, "args": {"cluster": cluster, **args}})
    done = ssh(host, user, "vc-gate", stdin=request)
    answer: dict[str, Any] = json.loads(done.stdout)
    assert done.returncode == (0 if answer["ok"] else 1)
    return answer


def code(answer: dict[str, Any]) -> str:
    return "" if answer["ok"] else str(answer["error"]["code"])


def as_it_is() -> list[str]:
    """What verbs can change: its jobs, the QEMUs of its computes, its frontend's domain.  What was started anew has another number."""
    jobs = [line for line in on("head", "squeue", "-h", "-a", "-o", "%i %T %l %k").splitlines() if f'"vc":"{NAME}"' in line]
    places = " ".join(f"/run/vc/job/{line.split()[0]}/x/libvirt/qemu/run/compute*.pid" for line in jobs)
    guests = [line for host in ("hv1", "hv2") for line in attempt(host, "sh", "-c", f"grep -sH . {places}").stdout.splitlines()]
    domains = [line for line in on("fe1", "virsh", "-q", "list", "--all").splitlines() if f"{NAME}.frontend" in line.split()]
    return [*sorted(jobs), *sorted(guests), *domains]


@pytest.fixture(scope="module")
def gated(demo: None) -> Iterator[VirtualCluster]:
    """A cluster of labuser's with anna as member, and one of otheruser's."""
    computes = [{"nodes": "compute[0-1]", "cpus": 1, "memory": "128MiB", "source": {"image": "tiny"}}]
    frontend = {"host": "fe1", "cpus": 1, "memory": "128MiB", "source": {"image": "tiny"}}
    wish = {"name": NAME, "owner": "labuser", "account": "physics", "network": {"cidr": "10.17.0.0/24"}, "members": ["anna"]}
    answer = in_process.answers(VAULT_HOST, "vc_cluster", [{**wish, "computes": computes, "frontend": frontend}])[0]
    assert not answer.get("failed"), answer
    cluster = VirtualCluster(answer["cluster"])
    other = define(OTHER, 1, "10.18.0.0/24", owner="otheruser", account="chemistry")
    made = in_process.answers("fe1", "vc_frontend", [{"cluster": cluster.resolved, "started": False, "wait": False}])[0]
    assert not made.get("failed"), made
    yield cluster
    cancel_all(cluster)
    attempt("fe1", "virsh", "-q", "destroy", f"{NAME}.frontend")
    in_process.answers("fe1", "vc_frontend", [{"cluster": cluster.resolved, "state": "absent", "remove_disk": True}])
    in_process.answers(VAULT_HOST, "image_vault", [{"disks": [{"cluster": NAME, "node": "frontend", "state": "absent"}]}])
    forget(other)
    forget(cluster)


class Running(NamedTuple):
    """The jobs of two sets, one started by the owner and one by the member; and all as it was then, the frontend switched on."""

    owners: int
    members: int
    seen: list[str]


@pytest.fixture(scope="module")
def running(gated: VirtualCluster) -> Running:
    first = ask("labuser", "start", name="own", nodes="compute1", walltime="1h", wait=False)
    assert code(first) == "", first
    second = ask("anna", "start", name="set", nodes="compute0", walltime="1h")
    assert code(second) == "", second
    switched = ask("olga", "power", host="fe1", nodes="frontend", state="powered_on", wait=False)
    assert code(switched) == "", switched
    awaited(lambda: ask("anna", "status")["result"]["nodes"]["compute1"]["state"] == "running", "the owner's set to run")
    seen = as_it_is()
    # Else nothing could be seen to change.
    assert [line.split()[-1] for line in seen[-1:]] == ["running"]
    assert len(seen) == 5
    owners, members = (started["result"]["computeset"]["job_id"] for started in (first, second))
    return Running(owners, members, seen)


@pytest.mark.parametrize(("verb", "user"), [(verb, user) for verb, may in MAY.items() for user in PEOPLE if user not in may])
def test_who_may_not_is_refused_before_anything_happens(gated: VirtualCluster, running: Running, verb: str, user: str) -> None:
    args: dict[str, dict[str, Any]] = {
        "start": {"name": "more", "count": 1, "wait": False},
        "terminate": {"name": "set"},
        "power": {"nodes": "compute0", "state": "powered_off"},
        "power frontend": {"nodes": "frontend", "state": "powered_off"},
    }
    host = "fe1" if verb in ("power frontend", "console") else "head"
    answer = ask(user, verb.split()[0], host=host, **args.get(verb, {}))
    assert code(answer) == "forbidden", answer
    assert gated.owner not in json.dumps(answer).replace(user, "")
    assert as_it_is() == running.seen


def test_owner_member_and_operator_do_what_they_may(gated: VirtualCluster, running: Running) -> None:
    """Whoever asks, it is the owner's job on the owner's account."""
    for job in (running.owners, running.members):
        assert on("head", "squeue", "-h", "-j", str(job), "-o", "%u %a").split() == ["labuser", "physics"]
    assert ask("anna", "start", name="set", nodes="compute0", walltime="1h")["result"]["changed"] is False
    for user in MAY["status"]:
        seen = ask(user, "status")["result"]
        assert {name: node["state"] for name, node in seen["nodes"].items()} == {"compute0": "running", "compute1": "running"}
        assert {found["job_id"] for found in seen["sets"]} == {running.owners, running.members}
    for user, state, becomes in (("olga", "powered_off", "off"), ("anna", "powered_on", "running"), ("labuser", "powered_off", "off")):
        switched = ask(user, "power", nodes="compute0", state=state)
        assert code(switched) == "", switched
        assert switched["result"]["nodes"]["compute0"]["state"] == becomes
    # The operator ends one below.
    for user, name, job in (("anna", "own", running.owners), ("labuser", "set", running.members)):
        ended = ask(user, "terminate", name=name)
        assert code(ended) == "", ended
        assert attempt("head", "squeue", "-h", "-j", str(job), "-o", "%T").stdout.strip() in ("", "COMPLETED", "CANCELLED")


def test_the_frontend_is_switched_and_read_on_its_host(gated: VirtualCluster, running: Running) -> None:
    # An operator has switched it on.
    assert ask("olga", "status", host="fe1")["result"]["nodes"]["frontend"]["state"] != "off"
    assert ask("labuser", "power", host="fe1", nodes="frontend", state="powered_off")["result"]["changed"] is True
    assert on("fe1", "virsh", "domstate", f"{NAME}.frontend").strip() == "shut off"
    assert ask("olga", "status", host="fe1")["result"]["nodes"]["frontend"]["state"] == "off"
    assert isinstance(ask("labuser", "console", host="fe1")["result"]["console"], list)
    for host, verb, args in (
        ("head", "console", {}),
        ("fe1", "start", {"name": "set", "count": 1}),
        ("head", "power", {"nodes": "frontend", "state": "powered_off"}),
        ("fe1", "power", {"nodes": "compute0", "state": "powered_off"}),
    ):
        assert code(ask("labuser", verb, host=host, **args)) == "conflict"


EACH, COMMON = 8, 40
# Takes what is left of the places that owners and members have together, as calls of theirs would.
TAKE = """
import contextlib, fcntl, os, sys
handle = os.open("/run/vc-gate/calls", os.O_RDWR)
for number in range(int(sys.argv[1])):
    with contextlib.suppress(OSError):
        fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, number)
print("taken", flush=True)
sys.stdin.read()
"""


def places_held() -> int:
    """A call has two, one of its user's and one of all; it gives them back a moment after its answer."""
    file = on("head", "stat", "-c", "%i", "/run/vc-gate/calls").strip()
    return sum(line.split()[5].endswith(f":{file}") for line in on("head", "cat", "/proc/locks").splitlines())


@pytest.fixture
def stuck(gated: VirtualCluster) -> Iterator[None]:
    """All of anna's places are taken by calls that wait for a set that does not start."""
    on("head", "scontrol", "create", "partitionname=closed", "nodes=hv1", "state=down")
    ask("anna", "start", name="stuck", nodes="compute1", walltime="1h", partition="closed", wait=False)
    awaited(lambda: places_held() == 0, "nobody is being served", 30)
    with ThreadPoolExecutor(EACH) as pool:
        start = {"name": "stuck", "nodes": "compute1", "walltime": "1h", "partition": "closed", "wait_timeout": 120}
        calls = [pool.submit(ask, "anna", "start", **start) for _number in range(EACH)]
        try:
            awaited(lambda: places_held() == 2 * EACH, "all of them are being served", 30)
            yield
        finally:
            # A call that is slow may find the set gone, and submit it once more.
            while not all(call.done() for call in calls):
                cancel_all(gated)
            cancel_all(gated)
            answers = [call.result() for call in calls]
            on("head", "scontrol", "delete", "partitionname=closed")
        assert {code(answer) for answer in answers} <= {"backend", "timeout"}


def test_a_member_who_waits_keeps_nobody_else_out(gated: VirtualCluster, stuck: None) -> None:
    refusal = ask("anna", "status")["error"]
    assert (refusal["code"], refusal["item"]) == ("in_use", "anna")
    assert code(ask("labuser", "status")) == ""
    awaited(lambda: places_held() == 2 * EACH, "the owner's call has ended", 30)
    take = command("head", "/usr/bin/python3", "-c", TAKE, str(COMMON))
    with subprocess.Popen(take, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as full:
        assert full.stdout is not None
        assert full.stdout.readline() == "taken\n"
        assert code(ask("labuser", "status")) == "in_use"
        assert code(ask("olga", "terminate", name="stuck")) == ""


def test_a_member_is_nothing_to_another_cluster_and_learns_nothing_of_it(gated: VirtualCluster) -> None:
    there, nowhere = ask("anna", "status", OTHER), ask("anna", "status", "nowhere")
    assert code(there) == code(nowhere) == "forbidden"
    assert there["error"]["detail"] == nowhere["error"]["detail"]
    assert code(ask("otheruser", "status", OTHER)) == ""


@pytest.mark.parametrize(
    ("request_text", "wanted"),
    [
        ("", "invalid"),
        ("not JSON\n", "invalid"),
        ('{"schema": 2, "verb": "status", "args": {"cluster": "gated"}}', "version"),
        ('{"schema": 1, "verb": "exec", "args": {"cluster": "gated"}}', "invalid"),
        ('{"schema": 1, "verb": "status", "args": {"cluster": "gated", "user": "labuser"}}', "invalid"),
        ('{"schema": 1, "verb": "status", "user": "labuser", "args": {"cluster": "foreign"}}', "forbidden"),
        ('{"schema": 1, "verb": "status", "args": {"cluster": "../../etc"}}', "invalid"),
        ('{"schema": 1, "verb": "status", "args": {"cluster": "gated"}, "pad": "' + "x" * 70000 + '"}', "invalid"),
        ("[" * 60000, "invalid"),
    ],
)
def test_what_is_no_request_is_refused(gated: VirtualCluster, request_text: str, wanted: str) -> None:
    done = ssh("head", "anna", "vc-gate", stdin=request_text)
    assert json.loads(done.stdout)["error"]["code"] == wanted
    assert "Traceback" not in done.stdout + done.stderr


STATUS = json.dumps({"schema": 1, "verb": "status", "args": {"cluster": NAME}})


@pytest.mark.parametrize("command", [[], ["id"], ["vc-gate", "-c", "labuser"], ["vc-gate; id"], ["labuser"], ["vc-gate\n id"]])
def test_words_of_the_client_do_nothing(gated: VirtualCluster, command: list[str]) -> None:
    done = ssh("head", "anna", *command, stdin=STATUS)
    answer = json.loads(done.stdout)
    assert answer["error"]["code"] == "forbidden"
    assert "uid=" not in done.stdout


def test_the_environment_of_the_client_does_nothing(gated: VirtualCluster) -> None:
    sent = ("PATH=/tmp", "PYTHONPATH=/tmp", "LC_ALL=labuser", "LD_PRELOAD=/tmp/x.so", "SSH_ORIGINAL_COMMAND=vc-gate", "SLURM_CONF=/tmp/x")
    options = tuple(word for text in sent for word in ("-o", f"SetEnv={text}"))
    done = ssh("head", "anna", "vc-gate", options=options, stdin=STATUS)
    assert json.loads(done.stdout)["ok"] is True
    # Without the word, sshd sets no SSH_ORIGINAL_COMMAND, whatever the client sends.
    assert json.loads(ssh("head", "anna", options=options, stdin=STATUS).stdout)["error"]["code"] == "forbidden"


def test_nothing_is_forwarded_and_no_terminal_is_given(gated: VirtualCluster) -> None:
    tunnel = ssh("head", "anna", options=("-o", "ExitOnForwardFailure=yes", "-N", "-R", "0:127.0.0.1:22"))
    assert tunnel.returncode == 255
    assert "forwarding failed" in tunnel.stderr
    through = ssh("head", "anna", options=("-W", "127.0.0.1:22"))
    assert through.returncode == 255
    assert "prohibited" in through.stderr
    assert "SSH-2.0" not in through.stdout
    subsystem = ssh("head", "anna", "sftp", options=("-s",))
    assert "uid" not in subsystem.stdout
    assert json.loads(subsystem.stdout)["error"]["code"] == "forbidden"
    terminal = ssh("head", "anna", "vc-gate", options=("-tt",), stdin=STATUS)
    assert "PTY allocation request failed" in terminal.stderr


def test_who_is_on_the_host_does_not_get_past_sshd() -> None:
    """Only the gate's account reaches the helper, and what it runs is no shell."""
    assert on("head", "getent", "passwd", "vc-gate").strip().endswith(":/usr/lib/hpc-virtual-cluster/bin/vc-gate")
    reach = "import socket; socket.socket(socket.AF_UNIX).connect('/run/vc-gate/gate.sock')"
    for user in ("labuser", "otheruser"):
        done = attempt("head", "/usr/bin/python3", "-c", reach, user=user)
        assert done.returncode != 0
        assert "PermissionError" in done.stderr
    owned = on("head", "stat", "-c", "%U %a", "/etc/hpc-virtual-cluster/gate_keys", "/run/vc-gate/gate.sock").splitlines()
    assert owned == ["root 644", "vc-gate 600"]


def test_a_gates_key_opens_no_more_of_the_vault(gated: VirtualCluster) -> None:
    login = ["ssh", "-F", "none", "-o", "BatchMode=yes", "-o", "UserKnownHostsFile=/etc/hpc-virtual-cluster/known_hosts"]
    login += ["-i", "/etc/hpc-virtual-cluster/vault_key", "root@10.77.0.12", "anything"]
    for verb in ("lease", "status", "release", "state"):
        request = json.dumps({"schema": 1, "verb": verb, "args": {"cluster": NAME, "nodes": ["compute0"]}})
        assert json.loads(on("head", *login, stdin=request))["error"]["code"] == "invalid"
