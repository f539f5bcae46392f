# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Frontends in the system libvirt of their host: persistent, started at boot, marked as ours in their metadata."""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Optional
from xml.etree import ElementTree

from .. import host_config
from ..model.errors import VcError
from .bounded import bounded
from .domain import read_metadata

URI = "qemu:///system"
# A start waits for QEMU, and on a busy host also for other starts.
_CALL_SECONDS = 60.0
_START_SECONDS = 180.0
_REMEDY = "see `journalctl -u libvirtd` and the log in /var/log/libvirt/qemu"


@dataclass(frozen=True)
class Domain:
    """A domain as it is.

    Parameters
    ----------
    ours : whether its metadata names this cluster and node
    state : ``running``, ``suspended``, ``stopping``, ``off`` or ``crashed``
    autostart : whether libvirt starts it at boot
    xml : its persistent definition, without secrets
    """

    ours: bool
    state: str
    autostart: bool
    xml: str


class System:
    """A connection to the system libvirt."""

    def __init__(self, uri: str = URI) -> None:
        try:
            self._libvirt: Any = importlib.import_module("libvirt")
            self._agent: Any = importlib.import_module("libvirt_qemu")
        except ImportError as error:
            remedy = "install python3-libvirt for the Python that runs this"
            raise VcError("backend", "libvirt", "loading its Python binding", str(error), remedy) from None
        # Without a handler of its own the binding prints every error to stderr, also those we expect.
        self._libvirt.registerErrorHandler(lambda _context, _error: None, None)
        self._connection: Any = None
        self._connect(uri)

    @bounded(_CALL_SECONDS)
    def _connect(self, uri: str) -> None:
        with self._guard(uri, "connecting to libvirt"):
            self._connection = self._libvirt.open(uri)

    @bounded(_CALL_SECONDS)
    def close(self) -> None:
        with contextlib.suppress(self._libvirt.libvirtError):
            self._connection.close()

    @bounded(_CALL_SECONDS)
    def read(self, name: str, cluster: str, node: str) -> Optional[Domain]:
        """The domain of this name, or None."""
        lib = self._libvirt
        with self._guard(name, "reading the domain"):
            domain = self._find(name)
            if domain is None:
                return None
            xml = domain.XMLDesc(lib.VIR_DOMAIN_XML_INACTIVE)
            mark = read_metadata(xml)
            return Domain(
                ours=mark.get("cluster") == cluster and mark.get("node") == node,
                state=self._state(domain),
                autostart=bool(domain.autostart()),
                xml=xml,
            )

    @bounded(_CALL_SECONDS)
    def frontends(self) -> list[dict[str, Any]]:
        """Every domain of ours: ``{cluster, node, domain, state, autostart}``, by cluster and node."""
        lib = self._libvirt
        found: list[dict[str, Any]] = []
        with self._guard("libvirt", "listing the domains"):
            for domain in self._connection.listAllDomains():
                mark = read_metadata(domain.XMLDesc(lib.VIR_DOMAIN_XML_INACTIVE))
                if mark:
                    about = {"domain": domain.name(), "state": self._state(domain), "autostart": bool(domain.autostart())}
                    found.append({"cluster": mark.get("cluster", ""), "node": mark.get("node", ""), **about})
        return sorted(found, key=lambda item: (item["cluster"], item["node"]))

    @bounded(_CALL_SECONDS)
    def has_secret(self, usage: str) -> bool:
        with self._guard(usage, "looking for a CHAP secret"):
            return self._secret(usage) is not None

    @bounded(_CALL_SECONDS)
    def define_secret(self, usage: str, value: str) -> None:
        """Keep a CHAP secret across restarts, in a file that only root can read; libvirt never gives it back."""
        with self._guard(usage, "handing a CHAP secret to libvirt"):
            secret = self._secret(usage) or self._connection.secretDefineXML(_secret_xml(usage))
            secret.setValue(value.encode())

    @bounded(_CALL_SECONDS)
    def drop_secret(self, usage: str) -> None:
        with self._guard(usage, "removing a CHAP secret"):
            secret = self._secret(usage)
            if secret is not None:
                secret.undefine()

    @bounded(_CALL_SECONDS)
    def define(self, name: str, xml: str) -> None:
        with self._guard(name, "defining the domain"):
            self._connection.defineXML(xml)

    @bounded(_CALL_SECONDS)
    def set_autostart(self, name: str, autostart: bool) -> None:
        with self._guard(name, "setting its start at boot"):
            self._connection.lookupByName(name).setAutostart(int(autostart))

    @bounded(_START_SECONDS)
    def start(self, name: str) -> None:
        """Switch it on, or let it go on when it is suspended."""
        with self._guard(name, "starting the domain"):
            domain = self._connection.lookupByName(name)
            if self._state(domain) == "suspended":
                domain.resume()
            elif not domain.isActive():
                domain.create()

    @bounded(_CALL_SECONDS)
    def shutdown(self, name: str) -> None:
        """Press its power button; one that is off stays so."""
        with self._guard(name, "asking the guest to shut down"):
            domain = self._connection.lookupByName(name)
            if domain.isActive():
                domain.shutdownFlags(self._libvirt.VIR_DOMAIN_SHUTDOWN_ACPI_POWER_BTN)

    @bounded(_CALL_SECONDS)
    def destroy(self, name: str) -> None:
        """Pull its plug; one that is off stays so."""
        with self._guard(name, "switching the domain off"):
            domain = self._connection.lookupByName(name)
            if domain.isActive():
                domain.destroy()

    @bounded(_CALL_SECONDS)
    def reset(self, name: str) -> None:
        """Press its reset button; one that was suspended goes on from there."""
        with self._guard(name, "resetting the domain"):
            domain = self._connection.lookupByName(name)
            domain.reset()
            if self._state(domain) == "suspended":
                domain.resume()

    @bounded(_CALL_SECONDS)
    def undefine(self, name: str) -> None:
        """Forget a domain that is off."""
        with self._guard(name, "undefining the domain"):
            domain = self._find(name)
            if domain is not None:
                domain.undefine()

    @bounded(_CALL_SECONDS)
    def is_running(self, name: str) -> bool:
        """Whether the domain is switched on, suspended or not."""
        with self._guard(name, "reading the domain's state"):
            domain = self._find(name)
            return domain is not None and bool(domain.isActive())

    @bounded(_CALL_SECONDS)
    def agent_answers(self, name: str) -> bool:
        """Whether the guest agent inside is up."""
        try:
            domain = self._connection.lookupByName(name)
            # Asking a guest whose agent has not opened the channel would leave a line in the log every time.
            return "state='connected'" in domain.XMLDesc() and bool(self._agent.qemuAgentCommand(domain, '{"execute":"guest-ping"}', 1, 0))
        except self._libvirt.libvirtError:
            return False

    def _find(self, name: str) -> Any:
        try:
            return self._connection.lookupByName(name)
        except self._libvirt.libvirtError as error:
            if error.get_error_code() == self._libvirt.VIR_ERR_NO_DOMAIN:
                return None
            raise

    def _secret(self, usage: str) -> Any:
        try:
            return self._connection.secretLookupByUsage(self._libvirt.VIR_SECRET_USAGE_TYPE_ISCSI, usage)
        except self._libvirt.libvirtError as error:
            if error.get_error_code() == self._libvirt.VIR_ERR_NO_SECRET:
                return None
            raise

    def _state(self, domain: Any) -> str:
        lib = self._libvirt
        state, reason = domain.state()
        if state in (lib.VIR_DOMAIN_RUNNING, lib.VIR_DOMAIN_BLOCKED):
            return "running"
        if state == lib.VIR_DOMAIN_SHUTDOWN:
            return "stopping"
        if state in (lib.VIR_DOMAIN_PAUSED, lib.VIR_DOMAIN_PMSUSPENDED):
            return "suspended"
        return "crashed" if state == lib.VIR_DOMAIN_CRASHED or reason == lib.VIR_DOMAIN_SHUTOFF_CRASHED else "off"

    @contextlib.contextmanager
    def _guard(self, item: str, tried: str) -> Iterator[None]:
        try:
            yield
        except self._libvirt.libvirtError as error:
            raise VcError("backend", item, tried, str(error), _REMEDY) from None


def read_frontends() -> list[dict[str, Any]]:
    """What :meth:`System.frontends` says, on a connection of its own, each with `host`: this host's name, "" where it was given none."""
    host = ""
    with contextlib.suppress(VcError):
        host = host_config.load().name
    system = System()
    try:
        return [{**domain, "host": host} for domain in system.frontends()]
    finally:
        system.close()


def _secret_xml(usage: str) -> str:
    secret = ElementTree.Element("secret", ephemeral="no", private="yes")
    ElementTree.SubElement(ElementTree.SubElement(secret, "usage", type="iscsi"), "target").text = usage
    return ElementTree.tostring(secret, encoding="unicode")
