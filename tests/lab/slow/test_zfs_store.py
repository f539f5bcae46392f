# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A second vault on the vault host, on a real pool under zfs-fuse: a node leased from it boots from a clone of its disk."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.lab import in_process, vault
from tests.lab.host import ROOT, on, play, python
from tests.lab.virtual_cluster import VAULT_HOST, awaited

PLACE = "/var/tmp/vc-zfs-proof"
VAULT = f"{PLACE}/vault"
POOL = "vcproof"
DATASET = f"{POOL}/vault"
UNIT = "vc-zfs-proof"
STORE = {"vault_root": VAULT, "vault_zfs_dataset": DATASET}
CLUSTER = {
    "name": "zfsproof",
    "owner": "labuser",
    "account": "physics",
    "network": {"cidr": "10.16.0.0/24"},
    "computes": [{"nodes": "compute0", "cpus": 1, "memory": "128MiB", "disk": "128MiB", "persistent": True, "source": {"image": "tiny"}}],
}
DISK = {"cluster": "zfsproof", "node": "compute0"}
BOOT = f"{PLACE}/boot"
HOLDER = {"kind": "job", "job_id": 4242, "restart_count": 0, "user": "labuser", "account": "physics"}

# QEMU by hand, as an agent starts it: the overlay is local, what is below it comes by iSCSI with the lease's own secret.
GUEST = """
import json, os, selectors, subprocess, sys, time
export, place = json.loads(sys.argv[1]), sys.argv[2]
os.makedirs(place, mode=0o700)
overlay, secret = place + "/overlay.qcow2", place + "/secret"
open(os.open(secret, os.O_WRONLY | os.O_CREAT, 0o600), "w").write(export["chap_secret"])
subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", overlay, "%dM" % export["size_mib"]], check=True)
base = {"driver": "iscsi", "transport": "tcp", "portal": export["portal"], "target": export["iqn"], "lun": export["lun"],
        "user": export["chap_user"], "password-secret": "chap", "initiator-name": "iqn.2026-11.vc.proof:guest", "read-only": True,
        "node-name": "base"}
disk = {"driver": "qcow2", "file": {"driver": "file", "filename": overlay}, "backing": "base", "node-name": "disk"}
guest = subprocess.Popen(
    ["qemu-system-x86_64", "-machine", "q35,accel=tcg", "-m", "128", "-nodefaults", "-display", "none", "-serial", "stdio",
     "-object", "secret,id=chap,file=" + secret, "-blockdev", json.dumps(base), "-blockdev", json.dumps(disk),
     "-device", "virtio-blk-pci,drive=disk"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
said, until, waiting = b"", time.monotonic() + 60, selectors.DefaultSelector()
waiting.register(guest.stdout, selectors.EVENT_READ)
while b"READY" not in said and time.monotonic() < until and guest.poll() is None:
    if waiting.select(1):
        said += os.read(guest.stdout.fileno(), 65536)
guest.kill()
guest.wait()
print(json.dumps(said.decode(errors="replace")))
"""


def store_play(**changes: bool) -> str:
    """What the role said when it chose the store."""
    return play(str(ROOT / "tests" / "lab" / "slow" / "zfs_vault.yml"), check=False, **{**STORE, **changes}).stdout


def ask(module: str, **arguments: Any) -> dict[str, Any]:
    return in_process.answers(VAULT_HOST, module, [{**arguments, "vault_root": VAULT}])[0]


def done(module: str, **arguments: Any) -> dict[str, Any]:
    answer = ask(module, **arguments)
    assert not answer.get("failed"), answer
    return answer


def served(verb: str, **args: Any) -> dict[str, Any]:
    """What the vault answers to hv1, as its forced command."""
    request = json.dumps({"schema": 1, "verb": verb, "args": args})
    connection = f"SSH_CONNECTION=10.77.0.21 40000 {vault.ADDRESS} 22"
    forced = [vault.COMMAND, "--root", VAULT, "serve", "--host", "hv1", "--allow", "guests"]
    answer = json.loads(on(VAULT_HOST, "env", connection, *forced, stdin=request))
    assert answer["ok"], answer
    nodes: dict[str, Any] = answer["result"]["nodes"]
    return nodes


@pytest.fixture(scope="module")
def pool(demo: None) -> Iterator[None]:
    on(VAULT_HOST, "mkdir", "-p", PLACE)
    on(VAULT_HOST, "truncate", "-s", "2G", f"{PLACE}/pool.img")
    on(VAULT_HOST, "sh", "-c", "[ -e /dev/fuse ] || mknod -m 0600 /dev/fuse c 10 229")
    on(VAULT_HOST, "systemd-run", "-q", "--collect", f"--unit={UNIT}", "--service-type=exec", "zfs-fuse", "-n", "--no-kstat-mount")
    awaited(lambda: "no pools" in on(VAULT_HOST, "sh", "-c", "zpool list 2>&1 || true"), "zfs-fuse answers")
    on(VAULT_HOST, "zpool", "create", "-m", "none", POOL, f"{PLACE}/pool.img")
    yield
    awaited(lambda: not on(VAULT_HOST, "sh", "-c", f"zpool destroy -f {POOL} 2>&1 || true"), "the pool is gone")
    on(VAULT_HOST, "systemctl", "stop", UNIT)
    on(VAULT_HOST, "rm", "-rf", PLACE)


@pytest.mark.usefixtures("pool")
def test_a_node_boots_from_a_clone() -> None:
    first = store_play()
    assert re.search(r"failed=0 .*", first), first
    assert on(VAULT_HOST, "stat", "-f", "-c", "%T", f"{VAULT}/zfs").strip() == "fuseblk"
    image = done("image_vault", goldens=[{"name": "tiny", "source": "/srv/images/tiny.raw"}])["images"][0]
    done("vc_cluster", **CLUSTER)
    # The disk is larger than its image; what is missing below the overlay is zeros.
    answer = served("lease", cluster="zfsproof", nodes=["compute0"], holder={**HOLDER, "boot_id": boot_id()})["compute0"]
    assert answer["ok"], answer
    export = answer["export"]
    assert (image["size_mib"], export["size_mib"], answer["generation"]) == (64, 128, 1)
    assert f"{VAULT}/zfs/views/disk:zfsproof:compute0:gen1/disk.raw" in on(VAULT_HOST, "tgtadm", "--mode", "target", "--op", "show")
    try:
        assert "READY" in python("hv1", GUEST, json.dumps(export), BOOT)
        assert "READY" not in python("hv1", GUEST, json.dumps({**export, "chap_secret": "0" * 32}), f"{BOOT}2")
    finally:
        on("hv1", "rm", "-rf", PLACE)
    stays()
    ended = served("release", cluster="zfsproof", nodes={"compute0": {"epoch": answer["epoch"], "outcome": "discarded"}})
    assert ended["compute0"]["ok"], ended
    kept = done("image_vault", snapshots=[{**DISK, "name": "kept"}])["images"][0]
    assert (kept["generation"], kept["pristine"]) == (1, True)
    # Nothing goes on the side, and ZFS itself would refuse it.
    for what, item in (("goldens", {"name": "tiny"}), ("disks", DISK)):
        refused = ask("image_vault", **{what: [{**item, "state": "absent"}]})
        assert (refused["failed"], refused["error_code"]) == (True, "in_use")
    # A second run changes nothing; another store, with all that this one has, is refused.
    again = store_play(filled=True)
    assert "has images or disks" in again
    assert re.search(r"changed=0 .*failed=1", again), again
    done("image_vault", snapshots=[{**DISK, "name": "kept", "state": "absent"}])
    done("image_vault", disks=[{**DISK, "state": "absent"}])
    done("vc_cluster", name="zfsproof", state="absent")
    done("image_vault", goldens=[{"name": "tiny", "state": "absent"}])
    left = on(VAULT_HOST, "zfs", "list", "-H", "-r", "-t", "all", "-o", "name", DATASET)
    assert not [name for name in left.split() if "@" in name or "compute0" in name or "tiny" in name]


def stays() -> None:
    """A leased disk is neither removed, nor grown, nor given a name."""
    for what, changes in (("disks", {"state": "absent"}), ("disks", {"size": "1GiB"}), ("snapshots", {"name": "late"})):
        assert ask("image_vault", **{what: [{**DISK, **changes}]})["error_code"] == "leased"


def boot_id() -> str:
    return on("hv1", "cat", "/proc/sys/kernel/random/boot_id").strip()
