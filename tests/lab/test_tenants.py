# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What one tenant can do to another from a log-in on the hypervisor, from its own job, or as root of another hypervisor: nothing.

What root inside a guest can put on the wire is in test_pinning.py.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.lab import forgery, vault
from tests.lab.host import UIDS, attempt, on, python
from tests.lab.virtual_cluster import VirtualCluster, awaited, cancel_all, define, forget

SETTINGS = "/etc/hpc-virtual-cluster"
HERE: dict[str, Any] = {"nodes": "compute[0-1]", "per_host": None, "hosts": ["hv1"]}
# Whatever root finds there, by kind; a tap's name stands for itself.
FIND = """
import json, os, stat, sys
found = []
for root in ("/run/vc", "/var/lib/vc-scratch", "/etc/hpc-virtual-cluster"):
    for place, directories, files in os.walk(root):
        for path in [place] + [os.path.join(place, name) for name in files]:
            try:
                mode = os.lstat(path).st_mode
            except FileNotFoundError:
                continue
            kind = "directory" if stat.S_ISDIR(mode) else "socket" if stat.S_ISSOCK(mode) else "file" if stat.S_ISREG(mode) else ""
            found += [[kind, path]] if kind else []
print(json.dumps(found))
"""
# Which of these whoever runs it gets into.
OPEN = """
import fcntl, json, os, socket, struct, sys
def listed(path):
    os.listdir(path)
def read(path):
    open(path, "rb").close()
def written(path):
    os.close(os.open(path, os.O_WRONLY))
def connected(path):
    with socket.socket(socket.AF_UNIX) as caller:
        # A socket's path may be longer than its address.
        place = os.open(os.path.dirname(path), os.O_PATH)
        caller.connect("/proc/self/fd/%d/%s" % (place, os.path.basename(path)))
def changed(path):
    name = os.path.join(path, "planted")
    os.close(os.open(name, os.O_WRONLY | os.O_CREAT))
    os.unlink(name)
def tapped(name):
    with open("/dev/net/tun", "r+b", buffering=0) as handle:
        fcntl.ioctl(handle, 0x400454CA, struct.pack("16sH22s", name.encode(), 0x0002 | 0x1000, b""))
def traced(pid):
    open("/proc/%s/environ" % pid, "rb").close()
    open("/proc/%s/mem" % pid, "rb").close()
ways = {"directory": [listed, changed], "file": [read, written], "socket": [connected], "tap": [tapped], "process": [traced]}
got = []
for kind, path in json.load(open(sys.argv[1])):
    for way in ways[kind]:
        try:
            way(path)
            got.append([way.__name__, path])
        except OSError as error:
            # Only who may open it is told that its guest has it open.
            if kind == "tap" and error.errno == 16:
                got.append(["busy", path])
print(json.dumps(got))
"""
CALL = """
import json, socket, sys
with socket.socket(socket.AF_UNIX) as helper:
    helper.settimeout(60)
    helper.connect("/run/vc/host.sock")
    helper.sendall(sys.argv[1].encode() + b"\\n")
    print(helper.makefile().readline())
"""
# Calls as the user, from inside a cgroup as Slurm makes them for jobs; the answer, and where the caller is afterwards.
ESCAPE = """
import json, os, socket, sys
job = "/sys/fs/cgroup/system.slice/slurmstepd.scope/job_4000000000"
os.makedirs(job)
inner, outer = os.pipe()
child = os.fork()
if child == 0:
    with open(job + "/cgroup.procs", "w") as procs:
        procs.write("0")
    os.setresuid(*[int(sys.argv[1])] * 3)
    with socket.socket(socket.AF_UNIX) as helper:
        helper.settimeout(60)
        helper.connect("/run/vc/host.sock")
        helper.sendall(sys.argv[2].encode() + b"\\n")
        answer = json.loads(helper.makefile().readline())
    os.write(outer, json.dumps([answer, open("/proc/self/cgroup").read()]).encode())
    os._exit(0)
os.close(outer)
with os.fdopen(inner) as said:
    print(said.read())
os.waitpid(child, 0)
os.rmdir(job)
os.rmdir(os.path.dirname(job))
"""
# Opens calls as one user until one of them is refused, and asks as another meanwhile; the two answers.
FLOOD = """
import json, os, select, signal, socket, sys
own, other, count, request = *map(int, sys.argv[1:4]), sys.argv[4].encode() + b"\\n"
def call():
    helper = socket.socket(socket.AF_UNIX)
    helper.settimeout(30)
    helper.connect("/run/vc/host.sock")
    return helper
def as_user(uid, work):
    mine, its = os.pipe()
    child = os.fork()
    if child == 0:
        os.setresuid(uid, uid, uid)
        os.write(its, work())
        signal.pause()
    os.close(its)
    return child, os.read(mine, 65536)
held = []
def flood():
    held.extend(call() for _number in range(count))
    return select.select(held, [], [], 30)[0][0].recv(65536)
def ask():
    helper = call()
    helper.sendall(request)
    return helper.makefile("rb").readline()
children, answers = zip(as_user(own, flood), as_user(other, ask))
for child in children:
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
print(json.dumps([json.loads(answer) for answer in answers]))
"""
# Where any of these texts stands on a host: command lines, environments, files with their modes, the journal.
SEARCH = """
import base64, json, os, stat, subprocess, sys
texts = [text.encode() for text in json.load(sys.stdin_texts)]
needles = {form: text for text in texts for form in (text, base64.b64encode(text)[:-4], text.hex().encode())}
found = []
def note(content, place):
    found.extend([needles[needle].decode(), place] for needle in needles if needle in content)
for pid in filter(str.isdigit, os.listdir("/proc")):
    for name in ("cmdline", "environ"):
        try:
            note(open("/proc/%s/%s" % (pid, name), "rb").read(), name)
        except OSError:
            pass
# Large, and written by nothing of ours but the store: whole images.
FOREIGN = ("/run/host", "/var/lib/dpkg", "/var/cache", "/var/lib/mysql", "/srv/images", "/srv/vc-vault/store")
for root in ("/etc", "/run", "/srv", "/var", "/tmp", "/dev/shm", "/home", "/root"):
    for place, directories, files in os.walk(root):
        directories[:] = [name for name in directories if os.path.join(place, name) not in FOREIGN]
        for name in files:
            path = os.path.join(place, name)
            try:
                seen = os.lstat(path)
                if stat.S_ISREG(seen.st_mode) and not path.endswith((".journal", ".raw")):
                    note(open(path, "rb").read(), "%s %o uid %d" % (path, stat.S_IMODE(seen.st_mode), seen.st_uid))
            except OSError:
                pass
note(subprocess.run(["journalctl", "--no-pager", "-o", "export", "--since", "-15min"], stdout=subprocess.PIPE).stdout, "journal")
print(json.dumps(found))
"""


@dataclass(frozen=True)
class Tenant:
    """A cluster of labuser's: compute0 and compute1 run in one job on hv1, compute2 in another on hv2."""

    cluster: VirtualCluster
    here: int
    there: int

    @property
    def name(self) -> str:
        return self.cluster.name


@pytest.fixture(scope="module")
def tenant(demo: None) -> Iterator[Tenant]:
    cluster = define("tenant", 3, "10.16.0.0/24")
    try:
        job = cluster.start("here", wait=False, **HERE)
        there = cluster.start("there", nodes="compute2", per_host=None, hosts=["hv2"])
        cluster.start("here", **HERE)
        yield Tenant(cluster, job, there)
    finally:
        cancel_all(cluster)
        awaited(lambda: all(not vault.lease(cluster.name, f"compute{n}")["holder"] for n in range(3)), "the leases given back")
        forget(cluster)


def reached(host: str, things: list[list[str]], user: str) -> list[list[str]]:
    """[way, path] of everything that a user of this host gets into."""
    listing = "/tmp/vc-proof-listing"
    on(host, "sh", "-c", f"cat > {listing} && chmod 644 {listing}", stdin=json.dumps(things))
    try:
        got: list[list[str]] = python(host, OPEN, listing, user=user)
    finally:
        on(host, "rm", "-f", listing)
    return got


def test_a_local_user_gets_into_nothing_of_anothers_job(tenant: Tenant) -> None:
    macs = [node["mac"] for node in tenant.cluster.resolved["nodes"]]
    pids = on("hv1", "pgrep", "-f", f"^/[^ ]*qemu-system.*({'|'.join(macs)})").split()
    vni = int(tenant.cluster.resolved["network"]["vni"])
    taps = re.findall(rf"t{vni:06x}n[0-9]+", on("hv1", "ls", "/sys/class/net"))
    assert (len(pids), len(taps)) == (2, 2)
    things = [[kind, path] for kind, path in python("hv1", FIND)]
    things += [["tap", tap] for tap in taps] + [["process", pid] for pid in pids]
    job, overlays = f"/run/vc/job/{tenant.here}", f"/var/lib/vc-scratch/job/{tenant.here}"
    owned = [path for _way, path in reached("hv1", things, "labuser")]
    # The owner gets in, so it is not a wrong way of asking that keeps others out.
    for path in (job, f"{job}/agent.sock", overlays, *taps, *pids):
        assert path in owned, path
    assert any("libvirt" in path and path.endswith("-sock") for path in owned)
    roots = ("/run/vc", "/var/lib/vc-scratch", SETTINGS)
    public = {
        ("connected", "/run/vc/host.sock"),
        *(("listed", path) for path in (*roots, "/run/vc/jobs", "/run/vc/job", "/var/lib/vc-scratch/job")),
        *(("read", f"{SETTINGS}/{name}") for name in ("host.json", "known_hosts", "vault_key.pub", "underlay.nft")),
    }
    others = {(found[0], found[1]) for found in reached("hv1", things, "otheruser")}
    strange = {(way, path) for way, path in others - public if not re.fullmatch(r"/run/vc/jobs/[0-9]+\.[0-9]+\.json", path)}
    assert strange == set()
    assert {way for way, path in others if path.startswith("/run/vc/jobs/")} <= {"read"}
    # What root keeps, the job's owner does not get into either.
    kept = re.compile(rf"/var/lib/vc-scratch/(spool|orphans|records|trash)|/run/vc/(trash|jobs/.*\.d)|{SETTINGS}/vault_key$")
    assert [path for path in owned if kept.match(path)] == []
    assert on("hv1", "stat", "-c", "%U %a", f"{SETTINGS}/vault_key").split() == ["root", "600"]


@pytest.mark.parametrize(("verb", "nodes"), [("prepare", ["compute0"]), ("state", {"compute0": "off"})])
def test_the_root_helper_knows_who_calls(tenant: Tenant, verb: str, nodes: Any) -> None:
    request = json.dumps({"schema": 1, "verb": verb, "args": {"job_id": tenant.here, "restart_count": 0, "nodes": nodes}})
    before = vault.lease(tenant.name, "compute0")
    answer = python("hv1", CALL, request, user="otheruser")
    assert (answer["ok"], answer["error"]["code"]) == (False, "forbidden")
    assert vault.lease(tenant.name, "compute0") == before


def test_a_job_stays_in_the_cgroup_that_slurm_has_put_it_into(tenant: Tenant) -> None:
    request = json.dumps({"schema": 1, "verb": "prepare", "args": {"job_id": tenant.here, "restart_count": 0, "nodes": ["compute0"]}})
    before = vault.lease(tenant.name, "compute0")
    answer, within = python("hv1", ESCAPE, str(UIDS["labuser"]), request)
    assert answer["result"]["nodes"]["compute0"]["error"]["code"] == "forbidden", answer
    assert within.strip().endswith("/job_4000000000")
    assert vault.lease(tenant.name, "compute0") == before


def test_a_forged_job_is_rejected(tenant: Tenant) -> None:
    """It only claims to be part of the cluster: it is shown, counts for nothing and gets nothing."""
    with forgery.forged(tenant.cluster, tenant.here, "hv1") as (job, answers):
        forgery.got_nothing(answers)
        again = tenant.cluster.computeset("here", **HERE, walltime="1h")
        assert again["changed"] is False
        assert again["computeset"]["job_id"] == tenant.here
        assert again["computeset"]["nodes"]["compute0"]["state"] == "running"
        assert [rejected["job_id"] for rejected in again["computeset"]["rejected_jobs"]] == [job]


def test_one_user_does_not_keep_others_from_the_root_helper(tenant: Tenant) -> None:
    request = json.dumps(
        {"schema": 1, "verb": "state", "args": {"job_id": tenant.here, "restart_count": 0, "nodes": {"compute0": "running"}}}
    )
    own, others = python("hv1", FLOOD, str(UIDS["labuser"]), str(UIDS["otheruser"]), "24", request)
    assert (own["ok"], own["error"]["code"]) == (False, "in_use")
    assert "16 calls of this user" in own["error"]["detail"]
    # The answer that he always gets, and at once.
    assert (others["ok"], others["error"]["code"]) == (False, "forbidden")
    assert python("hv1", CALL, request, user="labuser")["ok"] is True


def export_opens(host: str, iqn: str, account: str = "", secret: str = "") -> str:
    """Read the export's size as QEMU would; what that says when it is refused, else empty."""
    disk: dict[str, Any] = {"driver": "iscsi", "transport": "tcp", "portal": vault.ADDRESS, "target": iqn, "lun": 1}
    argv = ["qemu-img", "info"]
    if account:
        disk.update({"user": account, "password-secret": "chap"})
        argv += ["--object", "secret,id=chap,file=/dev/stdin"]
    done = attempt(host, *argv, "json:" + json.dumps({"driver": "raw", "file": disk}), stdin=secret, timeout=60)
    return "" if done.returncode == 0 else done.stderr


def test_an_export_opens_for_its_account_from_its_address_only(tenant: Tenant) -> None:
    iqn, account, secret = vault.chap(tenant.name, "compute0")
    _neighbour_iqn, neighbour, neighbours_secret = vault.chap(tenant.name, "compute1")
    assert export_opens("hv1", iqn, account, secret) == ""
    assert "iSCSI" in export_opens("hv1", iqn)
    assert "iSCSI" in export_opens("hv1", iqn, account, secret[::-1])
    assert "iSCSI" in export_opens("hv1", iqn, neighbour, neighbours_secret)
    assert "iSCSI" in export_opens("hv2", iqn, account, secret)


def test_root_of_one_hypervisor_does_not_speak_for_another(tenant: Tenant) -> None:
    lease = vault.lease(tenant.name, "compute2")
    assert lease["holder"]["host"] == "hv2"
    said = {"compute2": {"epoch": lease["epoch"], "state": "crashed", "outcome": "discarded"}}
    for verb in ("state", "release"):
        assert vault.refusal(vault.asked_by("hv1", verb, cluster=tenant.name, nodes=said), "compute2") == "forbidden"
    # Not even with everything true of the job that holds it; who asks is what sshd says.
    holder = {key: lease["holder"][key] for key in ("kind", "job_id", "restart_count", "user", "account", "boot_id")}
    claimed = {**holder, "host": "hv2", "address": "10.77.0.22"}
    taken = vault.asked_by("hv1", "lease", cluster=tenant.name, nodes=["compute2"], holder=claimed)
    assert vault.refusal(taken, "compute2") == "leased"
    assert vault.lease(tenant.name, "compute2") == lease
    # The same words from the host that holds it count.
    said["compute2"]["state"] = "running"
    assert vault.refusal(vault.asked_by("hv2", "state", cluster=tenant.name, nodes=said), "compute2") == ""


def test_status_tells_a_host_its_own_leases_and_no_secret(tenant: Tenant) -> None:
    answer = vault.asked_by("hv1", "status")
    assert set(answer["result"]["clusters"][tenant.name]["leases"]) == {"compute0", "compute1"}
    for cluster in answer["result"]["clusters"].values():
        assert all(lease["holder"]["host"] == "hv1" for lease in cluster["leases"].values())
    text = json.dumps(answer)
    secrets = on("nas", "sh", "-c", f"find {vault.ROOT}/registry/secrets -type f ! -name '*.pub' -exec cat {{}} +").split()
    # Short words are epochs and the armour of keys.
    long = [word for word in secrets if len(word) >= 32]
    assert len(long) > 3
    assert [word for word in long if word in text] == []
    assert "PRIVATE" not in text


@contextlib.contextmanager
def planted(host: str, text: str) -> Iterator[None]:
    """The text in a command line, an environment, a file and the journal: the search has to see each of them."""
    unit, path = "vc-proof-planted", "/tmp/vc-proof-planted"
    on(host, "systemd-run", "-q", f"--unit={unit}", f"--setenv=PLANTED={text}", "/bin/sh", "-c", f"sleep 600; : {text}")
    on(host, "sh", "-c", f"echo {text} > {path}; logger {text}")
    try:
        yield
    finally:
        on(host, "systemctl", "stop", unit)
        on(host, "rm", "-f", path)


@pytest.mark.parametrize("host", ["hv1", "hv2", "nas"])
def test_a_secret_of_an_export_is_nowhere_to_be_read(tenant: Tenant, host: str) -> None:
    secrets = [vault.chap(tenant.name, f"compute{number}")[2] for number in range(3)]
    marker = "planted-0123456789abcdef"
    # Not on the command line either: it comes as part of the program, and that comes by a pipe.
    source = SEARCH.replace("json.load(sys.stdin_texts)", json.dumps([*secrets, marker]))
    with planted(host, marker):
        found = python(host, source)
    places = sorted(place for text, place in found if text == marker)
    assert {place.split(" ")[0] for place in places} >= {"cmdline", "environ", "/tmp/vc-proof-planted", "journal"}
    kept = [f"{vault.ROOT}/registry/secrets/{tenant.name}/compute{number}.chap 600 uid 0" for number in range(3)]
    assert sorted(place for text, place in found if text in secrets) == (kept if host == vault.HOST else [])
    if host == vault.HOST:
        assert attempt(host, "ls", vault.ROOT, user="labuser").returncode != 0
