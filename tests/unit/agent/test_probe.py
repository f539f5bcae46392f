# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""KVM is believed only when a guest came up; programs of QEMU's name play one that boots, one that hangs, one that fails."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.agent import accelerator, probe
from ansible_collections.hpc.virtual_cluster.plugins.module_utils.command import PATH, Commands

PANIC = "Kernel panic - not syncing: VFS: Unable to mount root fs on unknown-block(0,0)"


@pytest.fixture(name="kernel")
def fixture_kernel(tmp_path: Path) -> Path:
    path = tmp_path / "vmlinuz-6.1.0"
    path.write_bytes(b"kernel")
    return path


@pytest.fixture(autouse=True)
def ordinary_user(monkeypatch: pytest.MonkeyPatch) -> None:
    # Root would hand QEMU to nobody, who cannot look into pytest's directory.
    monkeypatch.setattr(os, "geteuid", lambda: 1000)


def qemu(directory: Path, script: str) -> Commands:
    """Commands whose QEMU is this shell script."""
    program = directory / "bin" / accelerator.QEMU
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return Commands({"PATH": f"{program.parent}:{PATH}"})


def test_a_guest_that_panics_for_want_of_a_disk_has_booted(tmp_path: Path, kernel: Path) -> None:
    finding = accelerator.find(qemu(tmp_path, f"echo 'Linux version'; echo '{PANIC}'"), kernel, device=tmp_path)
    assert finding.accelerator == "kvm"


def test_a_guest_that_hangs_ends_in_tcg_soon(tmp_path: Path, kernel: Path) -> None:
    started = time.monotonic()
    finding = accelerator.find(qemu(tmp_path, "echo 'Booting from ROM..'; exec sleep 60"), kernel, device=tmp_path, seconds=0.5)
    assert time.monotonic() - started < 5
    assert finding.accelerator == "tcg"
    assert "does not boot" in finding.reason


def test_a_qemu_that_fails_ends_in_tcg_with_its_words(tmp_path: Path, kernel: Path) -> None:
    commands = qemu(tmp_path, "echo 'qemu: failed to initialize kvm: Permission denied' >&2; exit 1")
    finding = accelerator.find(commands, kernel, device=tmp_path)
    assert finding.accelerator == "tcg"
    assert "Permission denied" in finding.reason


def test_nothing_is_started_without_a_device(tmp_path: Path, kernel: Path) -> None:
    commands = Commands()
    assert accelerator.find(commands, kernel, device=tmp_path / "kvm").accelerator == "tcg"
    assert commands.count == 0


def test_the_running_kernel_is_preferred_then_the_newest(tmp_path: Path) -> None:
    assert accelerator.host_kernel(tmp_path, "6.1") is None
    for age, name in enumerate(("vmlinuz-6.2", "vmlinuz-6.1", "vmlinuz-6.3")):
        (tmp_path / name).write_text("")
        os.utime(tmp_path / name, (1000 - age, 1000 - age))
    assert accelerator.host_kernel(tmp_path, "6.1") == tmp_path / "vmlinuz-6.1"
    assert accelerator.host_kernel(tmp_path, "5.0") == tmp_path / "vmlinuz-6.2"


def test_findings_are_kept_until_kernel_or_qemu_change(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    state = tmp_path / "lib" / "probe.json"

    def run(*argv: str) -> dict[str, object]:
        assert probe.main(["--state", str(state), *argv]) == 0
        return dict(json.loads(capsys.readouterr().out))

    monkeypatch.setattr(probe, "releases", lambda commands: {"kernel": "1", "qemu": "2", "kvm": "absent"})
    monkeypatch.setattr(accelerator, "find", lambda commands, kernel: accelerator.Finding("kvm", "it boots"))
    assert run("--forget")["changed"] is True
    assert not state.exists()
    assert run()["changed"] is True
    again = run()
    assert (again["changed"], again["accelerator"]) == (False, "kvm")
    assert run("--again")["changed"] is True
    monkeypatch.setattr(probe, "releases", lambda commands: {"kernel": "1", "qemu": "3", "kvm": "absent"})
    assert run()["changed"] is True
    state.write_text("{broken")
    assert run()["changed"] is True
