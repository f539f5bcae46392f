# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A frontend on its host: read everything that belongs to it, and carry out a plan.

Its tap and bridge are made before the domain starts and kept in OVSDB, so that `vc-overlay restore` brings them back, pinned, before
libvirtd starts the domain at boot.  With libvirt's own Open vSwitch support the port would appear without flows.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Optional

from .. import filelock
from ..cloudinit.documents import public_mac, up_message
from ..cloudinit.seed import seed_image, write_seed
from ..command import Commands
from ..host_config import HostConfig
from ..libvirt.compare import differences
from ..libvirt.domain import DomainSpec, Interface, domain_xml
from ..libvirt.system import System
from ..model.addresses import tap_name
from ..model.cluster import Cluster
from ..model.errors import VcError
from ..overlay import ports
from ..planner.frontend import Facts, Wish, other_definition
from ..planner.plan import Action, Done
from ..vault.client import VaultClient
from .record import Files, Record, digest, file_digest
from .starts import Starts, boot_id

_POLL_SECONDS = 0.5
_RUN = Path("/run/vc")
_LOCK_SECONDS = 120.0
_SETTLE_SECONDS = 60.0


class FrontendHost:
    """Everything of one frontend on this host."""

    def __init__(self, commands: Commands, config: HostConfig, vault: VaultClient, system: System, wish: Wish) -> None:
        if config.overlay is None:
            remedy = "run the role overlay_host on it"
            raise VcError("unknown", config.name, "preparing a frontend", "this host has no overlay", remedy)
        self._commands, self._config, self._overlay = commands, config, config.overlay
        self._vault, self._system, self._wish = vault, system, wish
        self._files = Files(wish.cluster.name)
        self._starts = Starts(_RUN / f"frontend.{wish.cluster.name}", wish.domain, self._files.console)
        self._usage = f"vc-frontend-{wish.cluster.name}"
        self._grant: Optional[dict[str, Any]] = None
        self._private_key = ""
        self._registered: Optional[dict[str, Any]] = None

    def read(self) -> Facts:
        """What there is, in the vault and here.  Writes nothing."""
        wish, record = self._wish, self._files.read()
        lease = self._lease_at_vault()
        domain = self._system.read(wish.domain, wish.cluster.name, wish.node.name)
        found: tuple[str, ...] = ()
        kind = "missing" if domain is None else "current" if domain.ours else "foreign"
        if domain is not None and domain.ours:
            # Without a record it is not known from which export the disk reads.
            found = tuple(differences(self._xml(record), domain.xml)) if record is not None else ("domain/devices/disk",)
            kind = "outdated" if found else "current"
        return Facts(
            host=self._config.name,
            lease_epoch=int(lease.get("epoch", 0)),
            lease_state=str(lease.get("state", "off")),
            record_epoch=0 if record is None else record.epoch,
            disk=self._files.disk.exists(),
            disk_made=record is not None and record.disk_made,
            seed=self._seed_state(record),
            network=ports.state_of(self._commands, self._overlay, self._port()),
            secret=self._system.has_secret(self._usage),
            domain=kind,
            differences=found,
            state="off" if domain is None else domain.state,
            autostart=domain is not None and domain.autostart,
            redefined=self._redefined(),
        )

    def look(self) -> Facts:
        """Of all that only what its domain does: libvirt is asked, nobody else."""
        domain = self._system.read(self._wish.domain, self._wish.cluster.name, self._wish.node.name)
        if domain is None:
            return Facts(self._config.name)
        return Facts(self._config.name, domain="current", state=domain.state, autostart=domain.autostart)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keep out whoever else changes this frontend.  VcError ``timeout`` when that takes too long."""
        lock = _RUN / f"frontend.{self._wish.cluster.name}.lock"
        lock.parent.mkdir(mode=0o755, exist_ok=True)
        handle = os.open(lock, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            if not filelock.acquire(handle, _LOCK_SECONDS):
                detail = f"another command has worked on it for {_LOCK_SECONDS:g} s"
                raise VcError("timeout", self._wish.item, "waiting for it", detail, f"see `fuser -v {lock}`")
            yield
        finally:
            os.close(handle)

    def apply(self, actions: Sequence[Action], done: Done) -> None:
        """Carry out the actions in their order; stops with the VcError of the first that fails.

        ``conflict`` when the registry has another definition.
        """
        if self._redefined():
            raise other_definition(self._wish)
        for action in actions:
            getattr(self, f"_do_{action.verb}")(action)
            done(action)

    def wait(self, seconds: float) -> bool:
        """Wait until the guest has started its services, as cloud-init says on its console; False also when it is switched off meanwhile.

        An image without cloud-init never says so: then its agent, or a login prompt, and some time for what starts beside them.
        What was seen once is remembered until the guest starts anew: the console keeps only the last of what a guest writes.
        """
        until = time.monotonic() + seconds
        start, signs = "", None
        while True:
            now = self._starts.current()
            if now != start:
                start, signs = now, None
            if self._starts.was_up(start):
                return True
            console = self._starts.console(start)
            if signs is None and (b" login:" in console or self._system.agent_answers(self._wish.domain)):
                signs = time.monotonic()
            said = up_message(self._wish.cluster, self._wish.node).encode() in console
            # It may have been reset since it was looked at.
            if (said or (signs is not None and time.monotonic() >= signs + _SETTLE_SECONDS)) and self._starts.current() == start:
                # It is up, noted or not.
                with contextlib.suppress(OSError):
                    self._starts.note_up(start)
                return True
            if time.monotonic() >= until or not self._system.is_running(self._wish.domain):
                return False
            time.sleep(_POLL_SECONDS)

    def reset(self) -> None:
        """Have the guest start anew in the process it has; who waits for it, here or elsewhere, waits for this start."""
        # Before, so that nobody takes it for up while it is being reset; and after, because until then the old one has written.
        self._starts.begin()
        self._system.reset(self._wish.domain)
        self._starts.begin()

    @property
    def console(self) -> Path:
        return self._files.console

    def _do_lease(self, _action: Action) -> None:
        grant = self._ask_lease()
        self._files.make()
        export = {key: grant["export"][key] for key in ("portal", "iqn", "lun", "chap_user", "size_mib")}
        self._files.write(Record(epoch=int(grant["epoch"]), export=export))

    def _do_disk(self, _action: Action) -> None:
        record = self._record()
        if not self._files.disk.exists():
            self._make_disk(record)
        self._files.write(record.with_disk())

    def _make_disk(self, record: Record) -> None:
        export = record.libvirt_export(self._usage)
        # Of this process alone: nobody may write into what has become the disk.
        temporary = self._files.disk.with_suffix(f".new{os.getpid()}")
        # Without opening the base (-u), so that the header gets no secret.
        argv = [
            "qemu-img",
            "create",
            "-q",
            "-u",
            "-f",
            "qcow2",
            "-b",
            export.url,
            "-F",
            "raw",
            str(temporary),
            f"{record.export['size_mib']}M",
        ]
        self._commands.must(argv, self._wish.item, "making its disk", f"see that {self._files.directory} has space")
        self._files.put_disk(temporary)

    def _do_attach(self, _action: Action) -> None:
        ports.attach(self._commands, self._overlay, [self._port()])

    def _do_seed(self, _action: Action) -> None:
        # The lease's answer is the only place that has the private key; asking again gives the same lease.
        self._ask_lease()
        cluster, node = self._wish.cluster.to_dict(), self._wish.node.name
        write_seed(str(self._files.seed), cluster, node, self._private_key)
        self._files.write(self._record().with_seed(digest(seed_image(cluster, node)), file_digest(self._files.seed)))

    def _do_secret(self, _action: Action) -> None:
        self._system.define_secret(self._usage, str(self._ask_lease()["export"]["chap_secret"]))

    def _do_define(self, _action: Action) -> None:
        self._system.define(self._wish.domain, self._xml(self._record()))

    def _do_autostart(self, action: Action) -> None:
        self._system.set_autostart(self._wish.domain, bool(action.details["autostart"]))

    def _do_start(self, _action: Action) -> None:
        self._system.start(self._wish.domain)

    def _do_report(self, action: Action) -> None:
        self._change("state", {"epoch": self._record().epoch, "state": action.details["state"]})

    def _do_undefine(self, _action: Action) -> None:
        self._system.undefine(self._wish.domain)

    def _do_detach(self, _action: Action) -> None:
        ports.detach_own(self._commands, self._port())

    def _do_forget(self, _action: Action) -> None:
        self._system.drop_secret(self._usage)

    def _do_release(self, action: Action) -> None:
        self._change("release", {"epoch": action.details["epoch"], "outcome": "discarded"})

    def _do_delete(self, _action: Action) -> None:
        self._starts.forget()
        self._files.delete()

    def _lease_at_vault(self) -> dict[str, Any]:
        name, node = self._wish.cluster.name, self._wish.node.name
        found = self._vault.call("status", {"cluster": name})["clusters"].get(name, {})
        self._registered = found.get("cluster")
        lease: dict[str, Any] = found.get("leases", {}).get(node, {})
        return lease

    def _redefined(self) -> bool:
        return self._registered is not None and Cluster.from_dict(self._registered) != self._wish.cluster

    def _ask_lease(self) -> dict[str, Any]:
        if self._grant is None:
            node = self._wish.node.name
            holder = {"kind": "frontend", "boot_id": boot_id()}
            answer = self._vault.call("lease", {"cluster": self._wish.cluster.name, "nodes": [node], "holder": holder})
            grant = answer["nodes"][node]
            if not grant["ok"]:
                raise VcError.from_dict(grant["error"])
            self._private_key = str(answer.get("ssh_private_key", ""))
            self._grant = dict(grant)
        return self._grant

    def _change(self, verb: str, what: dict[str, Any]) -> None:
        node = self._wish.node.name
        answer = self._vault.call(verb, {"cluster": self._wish.cluster.name, "nodes": {node: what}})["nodes"][node]
        if not answer["ok"]:
            raise VcError.from_dict(answer["error"])

    def _record(self) -> Record:
        record = self._files.read()
        if record is None:
            remedy = "run it again"
            raise VcError("backend", self._wish.item, "preparing the frontend", f"{self._files.directory} has lost its record", remedy)
        return record

    def _seed_state(self, record: Optional[Record]) -> str:
        present = file_digest(self._files.seed)
        if record is None or not present:
            return "missing"
        wanted = digest(seed_image(self._wish.cluster.to_dict(), self._wish.node.name))
        return "current" if (record.seed_input, record.seed_file) == (wanted, present) else "outdated"

    def _port(self) -> ports.Port:
        cluster, node = self._wish.cluster, self._wish.node
        return ports.Port(
            tap=tap_name(cluster.network.vni, node.index),
            vni=cluster.network.vni,
            mac=node.mac,
            address=node.address,
            mtu=cluster.network.mtu,
            # libvirtd opens it as root and hands it to QEMU.
            user_id=0,
            cluster=cluster.name,
            holder=f"frontend:{cluster.name}",
        )

    def _xml(self, record: Record) -> str:
        cluster, node = self._wish.cluster, self._wish.node
        cards = [Interface(mac=node.mac, tap=self._port().tap, userspace=self._overlay.datapath == "netdev")]
        if node.public is not None:
            address = node.public.address.partition("/")[0]
            cards.append(Interface(mac=public_mac(node), bridge=node.public.bridge, address=address))
        spec = DomainSpec(
            name=self._wish.domain,
            cluster=cluster.name,
            node=node.name,
            accelerator=self._config.accelerator,
            cpus=node.cpus,
            memory_mib=node.memory_mib,
            overlay=str(self._files.disk),
            export=record.libvirt_export(self._usage),
            seed=str(self._files.seed),
            interfaces=tuple(cards),
            console_log=str(self._files.console),
            metadata={"epoch": str(record.epoch)},
        )
        return domain_xml(spec)

    def note_state(self, state: str) -> None:
        """Say in the vault what the domain does; VcError when it cannot be told."""
        record = self._files.read()
        if record is not None:
            self._change("state", {"epoch": record.epoch, "state": state})
