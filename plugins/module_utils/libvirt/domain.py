# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A node's libvirt domain, as XML.  Pure; the same for a compute in a job's private session and for a frontend in the system libvirt."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from xml.etree import ElementTree

# Of the system libvirt, written by role frontend_host.
PUBLIC_FILTER = "vc-public"
METADATA_URI = "https://hpc-virtual-cluster.example/node/1"
# Any fixed namespace will do; a node keeps its SMBIOS uuid, whatever host it runs on.
_UUID_NAMESPACE = uuid.UUID("6f0f3a0e-6b0c-5a0b-9c53-2f0d3e8d7a11")
# QEMU's default translation buffer is 1 GiB per guest, which Slurm would account to the job.
_TCG_BUFFER_MIB = 256
_OFFLOADS_HOST = ("csum", "gso", "tso4", "tso6", "ecn", "ufo")
_OFFLOADS_GUEST = ("csum", "tso4", "tso6", "ecn", "ufo")


@dataclass(frozen=True)
class Export:
    """Where the read-only base of a disk is read from.

    Parameters
    ----------
    host, port : the vault's iSCSI portal
    iqn, lun : the target and its logical unit
    chap_user : the CHAP account; its secret is in libvirt under `secret_usage`, never in the XML
    secret_usage : usage name of that libvirt secret (type iscsi)
    """

    host: str
    port: int
    iqn: str
    lun: int
    chap_user: str
    secret_usage: str

    @classmethod
    def from_lease(cls, export: Mapping[str, object], secret_usage: str) -> Export:
        """From the ``export`` of a vault's lease answer."""
        host, _colon, port = str(export["portal"]).rpartition(":")
        return cls(host, int(port), str(export["iqn"]), int(str(export["lun"])), str(export["chap_user"]), secret_usage)

    @property
    def url(self) -> str:
        """The backing file name for the overlay's header; carries no secret."""
        return f"iscsi://{self.host}:{self.port}/{self.iqn}/{self.lun}"


@dataclass(frozen=True)
class Interface:
    """A network card.

    Parameters
    ----------
    mac : its address
    tap : an existing tap that the guest is attached to, or ""
    bridge : a Linux bridge that libvirt makes a tap on, or ""; exactly one of the two is set
    address : on a bridge, the only IPv4 address that the guest may use there
    userspace : True when the switch behind it forwards in user space: it would pass on checksums that nobody has computed
    """

    mac: str
    tap: str = ""
    bridge: str = ""
    address: str = ""
    userspace: bool = False


@dataclass(frozen=True)
class DomainSpec:
    """One guest.

    Parameters
    ----------
    name : domain name, unique in its libvirt
    cluster, node : whose machine it is
    accelerator : ``kvm`` or ``tcg``
    cpus, memory_mib : size
    overlay : path of the local qcow2 that takes the guest's writes
    export : its read-only base
    seed : path of the NoCloud image, or ""
    interfaces : in the order the guest sees them
    console_log : file that gets everything the guest writes to its first serial port
    console_appends : QEMU appends to it, so that somebody else can cut it; else it is emptied at the start
    agent_socket : path of the guest agent's socket, or "" to let libvirt choose
    metadata : kept in the domain and read back, e.g. the lease's epoch; no secrets
    """

    name: str
    cluster: str
    node: str
    accelerator: str
    cpus: int
    memory_mib: int
    overlay: str
    export: Export
    seed: str = ""
    interfaces: tuple[Interface, ...] = ()
    console_log: str = ""
    console_appends: bool = False
    agent_socket: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)


def domain_uuid(cluster: str, node: str) -> str:
    """The node's own machine uuid: the same at every start and on every host."""
    return str(uuid.uuid5(_UUID_NAMESPACE, f"{cluster}/{node}"))


def secret_xml(usage: str) -> str:
    """A libvirt secret that is never written to disk and never given back."""
    secret = ElementTree.Element("secret", ephemeral="yes", private="yes")
    target = ElementTree.SubElement(ElementTree.SubElement(secret, "usage", type="iscsi"), "target")
    target.text = usage
    return ElementTree.tostring(secret, encoding="unicode")


def domain_xml(spec: DomainSpec) -> str:
    """The domain's XML; equal specs give equal bytes."""
    kvm = spec.accelerator == "kvm"
    domain = ElementTree.Element("domain", type="kvm" if kvm else "qemu")
    _text(domain, "name", spec.name)
    _text(domain, "uuid", domain_uuid(spec.cluster, spec.node))
    _text(domain, "title", f"{spec.node} of virtual cluster {spec.cluster}")
    _metadata(domain, spec)
    _text(domain, "memory", str(spec.memory_mib), unit="MiB")
    _text(domain, "vcpu", str(spec.cpus))
    system = _sub(domain, "os")
    _text(system, "type", "hvm", arch="x86_64", machine="q35")
    _sub(system, "boot", dev="hd")
    features = _sub(domain, "features")
    _sub(features, "acpi")
    _sub(features, "apic")
    if kvm:
        _sub(domain, "cpu", mode="host-passthrough", migratable="off")
    else:
        _text(_sub(features, "tcg"), "tb-cache", str(_TCG_BUFFER_MIB), unit="MiB")
        _sub(domain, "cpu", mode="maximum")
    _sub(domain, "clock", offset="utc")
    for event, what in (("on_poweroff", "destroy"), ("on_reboot", "restart"), ("on_crash", "destroy")):
        _text(domain, event, what)
    _devices(domain, spec)
    return ElementTree.tostring(domain, encoding="unicode")


def read_metadata(xml: str) -> Mapping[str, str]:
    """Our metadata in a domain's XML: ``{cluster, node, ...}``, or {} when the domain is not ours."""
    element = ElementTree.fromstring(xml).find(f"./metadata/{{{METADATA_URI}}}node")
    return {} if element is None else dict(element.attrib)


def _metadata(domain: ElementTree.Element, spec: DomainSpec) -> None:
    values = {"cluster": spec.cluster, "node": spec.node, **spec.metadata}
    ElementTree.register_namespace("vc", METADATA_URI)
    _sub(_sub(domain, "metadata"), f"{{{METADATA_URI}}}node", **values)


def _devices(domain: ElementTree.Element, spec: DomainSpec) -> None:
    devices = _sub(domain, "devices")
    _root_disk(devices, spec)
    if spec.seed:
        # A disk and not a CD-ROM: cloud kernels have virtio block but no AHCI.
        seed = _sub(devices, "disk", type="file", device="disk")
        _sub(seed, "driver", name="qemu", type="raw")
        _sub(seed, "source", file=spec.seed)
        _sub(seed, "target", dev="vdb", bus="virtio")
        _sub(seed, "readonly")
    for interface in spec.interfaces:
        _interface(devices, interface)
    serial = _sub(devices, "serial", type="file" if spec.console_log else "null")
    if spec.console_log:
        _sub(serial, "source", path=spec.console_log, **({"append": "on"} if spec.console_appends else {}))
    _sub(serial, "target", port="0")
    channel = _sub(devices, "channel", type="unix")
    if spec.agent_socket:
        # libvirt's own choice is close to the 107 bytes that a socket's path may have.
        _sub(channel, "source", mode="bind", path=spec.agent_socket)
    _sub(channel, "target", type="virtio", name="org.qemu.guest_agent.0")
    _text(_sub(devices, "rng", model="virtio"), "backend", "/dev/urandom", model="random")
    _sub(devices, "controller", type="usb", model="none")
    _sub(devices, "memballoon", model="none")


def _root_disk(devices: ElementTree.Element, spec: DomainSpec) -> None:
    disk = _sub(devices, "disk", type="file", device="disk")
    # A failing disk stops the guest instead of feeding it errors: it goes on when the disk is back.
    policy = {"error_policy": "stop", "rerror_policy": "stop"}
    _sub(disk, "driver", name="qemu", type="qcow2", cache="none", io="threads", discard="unmap", **policy)
    _sub(disk, "source", file=spec.overlay)
    backing = _sub(disk, "backingStore", type="network")
    _sub(backing, "format", type="raw")
    source = _sub(backing, "source", protocol="iscsi", name=f"{spec.export.iqn}/{spec.export.lun}")
    _sub(source, "host", name=spec.export.host, port=str(spec.export.port))
    auth = _sub(source, "auth", username=spec.export.chap_user)
    _sub(auth, "secret", type="iscsi", usage=spec.export.secret_usage)
    _sub(backing, "backingStore")
    _sub(disk, "target", dev="vda", bus="virtio")


def _interface(devices: ElementTree.Element, interface: Interface) -> None:
    card = _sub(devices, "interface", type="ethernet" if interface.tap else "bridge")
    _sub(card, "mac", address=interface.mac)
    if interface.tap:
        _sub(card, "target", dev=interface.tap, managed="no")
    else:
        _sub(card, "source", bridge=interface.bridge)
        # The card's own MAC is a parameter that libvirt fills in.
        _sub(_sub(card, "filterref", filter=PUBLIC_FILTER), "parameter", name="IP", value=interface.address)
    _sub(card, "model", type="virtio")
    if interface.userspace:
        driver = _sub(card, "driver")
        _sub(driver, "host", **dict.fromkeys(_OFFLOADS_HOST, "off"))
        _sub(driver, "guest", **dict.fromkeys(_OFFLOADS_GUEST, "off"))


def _sub(parent: ElementTree.Element, tag: str, **attributes: str) -> ElementTree.Element:
    return ElementTree.SubElement(parent, tag, attributes)


def _text(parent: ElementTree.Element, tag: str, text: str, **attributes: str) -> ElementTree.Element:
    element = _sub(parent, tag, **attributes)
    element.text = text
    return element
