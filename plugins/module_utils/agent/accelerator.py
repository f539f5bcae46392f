# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether guests start under KVM here.  Found out by starting one: a device that opens says nothing about that."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from ..command import Commands
from ..model.errors import VcError

QEMU = "qemu-system-x86_64"
# A kernel without a root disk says this under a second after it was started; one under a KVM that does not work says nothing at all.
_BOOTED = "Kernel panic - not syncing"
_SECONDS = 6.0
_MEMORY_MIB = 256
_NOBODY = 65534


@dataclass(frozen=True)
class Finding:
    """``kvm`` or ``tcg``, and why."""

    accelerator: str
    reason: str


def find(commands: Commands, kernel: Optional[Path] = None, device: Path = Path("/dev/kvm"), seconds: float = _SECONDS) -> Finding:
    """Boot a kernel under KVM, as the ordinary user that a job's guests run as; never takes longer than a little over `seconds`.

    Parameters
    ----------
    kernel : what to boot; None for the host's own
    device : the device that KVM offers
    """
    if not device.exists():
        return Finding("tcg", f"there is no {device}")
    image = kernel or host_kernel(Path("/boot"), os.uname().release)
    if image is None:
        return Finding("tcg", "there is no kernel in /boot to try KVM with")
    with tempfile.TemporaryDirectory(prefix="vc-probe-") as name:
        # Some distributions let only root read the kernel.
        copy = Path(name) / "kernel"
        shutil.copyfile(image, copy)
        os.chmod(name, 0o755)
        copy.chmod(0o644)
        try:
            result = commands.run(_argv(copy), timeout=seconds)
        except VcError as error:
            if error.code == "timeout":
                return Finding("tcg", f"{device} is there, but a guest with {image.name} does not boot under it within {seconds:g} s")
            return Finding("tcg", str(error))
    if _BOOTED in result.out:
        return Finding("kvm", f"a guest with {image.name} boots under {device}")
    return Finding("tcg", f"{device} is there, but QEMU does not run a guest under it: {result.last_line}")


def host_kernel(boot: Path, release: str) -> Optional[Path]:
    """The running kernel's image, else the newest one that is there, else None."""
    own = boot / f"vmlinuz-{release}"
    if own.is_file():
        return own
    return _newest(path for path in boot.glob("vmlinuz-*") if path.is_file())


def _newest(paths: Iterable[Path]) -> Optional[Path]:
    return max(paths, key=lambda path: path.stat().st_mtime, default=None)


def _argv(kernel: Path) -> list[str]:
    drop = ["setpriv", f"--reuid={_NOBODY}", f"--regid={_NOBODY}", "--clear-groups", "--"] if os.geteuid() == 0 else []
    machine = ["-machine", "q35,accel=kvm", "-cpu", "host", "-m", str(_MEMORY_MIB), "-nodefaults", "-no-user-config", "-display", "none"]
    guest = ["-no-reboot", "-serial", "stdio", "-kernel", str(kernel), "-append", "console=ttyS0 earlyprintk=ttyS0 panic=-1"]
    return [*drop, QEMU, *machine, *guest]
