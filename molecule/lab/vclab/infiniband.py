# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab's InfiniBand fabric, simulated by ibsim on host head: one switch, an adapter for each host, and one for each of a few nodes.

An adapter of a node stands for the virtual function that its guest would have.  Programs see the fabric with the variables of
`environment`; no other program of a host does, and no kernel.  To OpenSM it is a fabric as any other.
"""

from __future__ import annotations

from pathlib import Path

from .layout import HOSTS, HostPlan

SERVER = next(plan for plan in HOSTS if plan.name == "head")
PORT = 7070
LIBRARY = "/usr/lib/x86_64-linux-gnu/umad2sim/libumad2sim.so"
# The first networks that a vault gives out, and a few nodes of each.
FIRST_VNI, NETWORKS, NODES = 10001, 6, 4
SWITCH_PORTS = 36

SIMULATOR = f"""[Unit]
Description=Simulated InfiniBand fabric of the lab
After=network.target

[Service]
ExecStart=/usr/bin/ibsim -s -n -r -l {PORT} -N 64 -S 8 -P 256 /etc/vc-lab/fabric
Restart=on-failure

[Install]
WantedBy=multi-user.target
"""

# No kernel of a container has an InfiniBand device.
ON_THE_SIMULATOR = """[Unit]
ConditionPathExists=
Requires=vc-lab-fabric.service
After=vc-lab-fabric.service

[Service]
@ENVIRONMENT@
"""


def environment(host: str) -> dict[str, str]:
    """What makes a program on this host see the host's adapter.

    The library makes and removes a hundred files in the program's working directory, so let that be one in memory: /run.
    """
    return {"LD_PRELOAD": LIBRARY, "SIM_HOST": host, "IBSIM_SERVER_NAME": SERVER.address, "IBSIM_SERVER_PORT": str(PORT)}


def host_guid(plan: HostPlan) -> str:
    """The port of a host's own adapter."""
    return f"0x0002c903{int(plan.address.split('.')[-1]):07x}1"


def node_guid(vni: int, index: int) -> str:
    """The port of a node, as the collection gives it out."""
    return f"0x02{vni:06x}{index:08x}"


def adapters() -> dict[str, str]:
    """Name of each adapter and GUID of its port."""
    nodes = [(vni, index) for vni in range(FIRST_VNI, FIRST_VNI + NETWORKS) for index in range(NODES)]
    return {**{plan.name: host_guid(plan) for plan in HOSTS}, **{f"v{vni}n{index}": node_guid(vni, index) for vni, index in nodes}}


def topology() -> str:
    """The fabric in ibsim's words.  It numbers an adapter's ports from the adapter's own GUID, so that is one below the port's."""
    named = adapters()
    lines = ["switchguid=0x0002c90300ffff00", f'Switch {SWITCH_PORTS} "switch"']
    lines += [f'[{place}]\t"{name}"[1]' for place, name in enumerate(named, 1)]
    for place, (name, guid) in enumerate(named.items(), 1):
        lines += ["", "vendid=0x2c9", "devid=0x1003", f"caguid=0x{int(guid, 16) - 1:016x}", f'Hca 1 "{name}"', f'[1]\t"switch"[{place}]']
    return "\n".join(lines) + "\n"


def furnish(plan: HostPlan, root: Path) -> None:
    """Put the fabric where it is simulated; other hosts only reach it."""
    if plan != SERVER:
        return
    units = root / "etc/systemd/system"
    variables = "\n".join(f"Environment={name}={value}" for name, value in environment(plan.name).items())
    files = {root / "etc/vc-lab/fabric": topology(), units / "vc-lab-fabric.service": SIMULATOR}
    for unit in ("opensm.service", "opensm@.service"):
        files[units / f"{unit}.d/vc-lab.conf"] = ON_THE_SIMULATOR.replace("@ENVIRONMENT@", variables)
    for path, text in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (units / "multi-user.target.wants").mkdir(exist_ok=True)
    (units / "multi-user.target.wants/vc-lab-fabric.service").symlink_to("../vc-lab-fabric.service")
