# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A node's domain: what reaches QEMU, and what must not."""

from __future__ import annotations

from xml.etree import ElementTree

from ansible_collections.hpc.virtual_cluster.plugins.module_utils.libvirt.domain import (
    DomainSpec,
    Export,
    Interface,
    domain_uuid,
    domain_xml,
    read_metadata,
    secret_xml,
)

_LEASED = {
    "portal": "10.77.0.12:3260",
    "iqn": "iqn.2026-11.vc:vc1:compute0:e1",
    "lun": 1,
    "chap_user": "u1",
    "chap_secret": "hush-hush-hush",
}
_EXPORT = Export.from_lease(_LEASED, "vc1/compute0")
_TAP = Interface(mac="02:00:27:11:00:01", tap="t002711n1", userspace=True)


def made(accelerator: str = "tcg", interfaces: tuple[Interface, ...] = (_TAP,)) -> DomainSpec:
    return DomainSpec(
        name="compute0",
        cluster="vc1",
        node="compute0",
        accelerator=accelerator,
        cpus=2,
        memory_mib=512,
        overlay="/scratch/compute0.qcow2",
        export=_EXPORT,
        seed="/scratch/compute0.seed.iso",
        interfaces=interfaces,
        console_log="/scratch/compute0.console.log",
        agent_socket="/run/vc/job/7/compute0.agent",
        metadata={"epoch": "3"},
    )


def parsed(spec: DomainSpec) -> ElementTree.Element:
    return ElementTree.fromstring(domain_xml(spec))


def attribute(root: ElementTree.Element, path: str, name: str) -> str:
    element = root.find(path)
    assert element is not None, path
    return element.get(name, "")


def test_equal_specs_give_equal_bytes() -> None:
    assert domain_xml(made()) == domain_xml(made())


def test_the_secret_is_named_and_never_written() -> None:
    text = domain_xml(made())
    assert _LEASED["chap_secret"] not in text + _EXPORT.url + secret_xml("vc1/compute0")
    root = parsed(made())
    assert attribute(root, "./devices/disk/backingStore/source/auth/secret", "usage") == "vc1/compute0"
    assert ElementTree.fromstring(secret_xml("vc1/compute0")).get("ephemeral") == "yes"


def test_the_chain_ends_at_the_vaults_export() -> None:
    root = parsed(made())
    source = "./devices/disk/backingStore/source"
    assert attribute(root, source, "name") == "iqn.2026-11.vc:vc1:compute0:e1/1"
    assert (attribute(root, f"{source}/host", "name"), attribute(root, f"{source}/host", "port")) == ("10.77.0.12", "3260")
    assert root.find("./devices/disk/backingStore/backingStore") is not None
    assert _EXPORT.url == "iscsi://10.77.0.12:3260/iqn.2026-11.vc:vc1:compute0:e1/1"


def test_a_userspace_switch_gets_finished_checksums() -> None:
    root = parsed(made())
    assert attribute(root, "./devices/interface/driver/host", "csum") == "off"
    assert attribute(root, "./devices/interface/driver/guest", "tso4") == "off"
    kernel = parsed(made(interfaces=(Interface(mac="02:00:27:11:00:01", tap="t002711n1"),)))
    assert kernel.find("./devices/interface/driver") is None


def test_a_tap_is_used_as_it_is_and_a_bridge_gets_one_from_libvirt() -> None:
    root = parsed(made(interfaces=(_TAP, Interface(mac="06:00:27:11:00:00", bridge="br-public", address="10.79.0.101"))))
    first, second = root.findall("./devices/interface")
    assert (first.get("type"), attribute(first, "target", "managed")) == ("ethernet", "no")
    assert (second.get("type"), attribute(second, "source", "bridge")) == ("bridge", "br-public")
    assert attribute(second, "filterref", "filter") == "vc-public"
    assert (attribute(second, "filterref/parameter", "name"), attribute(second, "filterref/parameter", "value")) == ("IP", "10.79.0.101")


def test_accelerators() -> None:
    assert (parsed(made()).get("type"), attribute(parsed(made()), "./cpu", "mode")) == ("qemu", "maximum")
    kvm = parsed(made("kvm"))
    assert (kvm.get("type"), attribute(kvm, "./cpu", "mode")) == ("kvm", "host-passthrough")
    assert kvm.find("./features/tcg") is None


def test_a_machine_keeps_its_uuid() -> None:
    assert domain_uuid("vc1", "compute0") == domain_uuid("vc1", "compute0")
    assert len({domain_uuid("vc1", "compute0"), domain_uuid("vc1", "compute1"), domain_uuid("vc2", "compute0")}) == 3


def test_metadata_comes_back_and_foreign_domains_have_none() -> None:
    assert read_metadata(domain_xml(made())) == {"cluster": "vc1", "node": "compute0", "epoch": "3"}
    assert read_metadata("<domain><metadata/></domain>") == {}


def test_hostile_paths_stay_text() -> None:
    root = parsed(DomainSpec("a", "vc1", "a", "tcg", 1, 64, '/x"><disk/><a b="', _EXPORT))
    assert attribute(root, "./devices/disk/source", "file") == '/x"><disk/><a b="'
    assert len(root.findall("./devices/disk")) == 1
