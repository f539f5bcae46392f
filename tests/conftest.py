# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes the checkout importable under its collection name, and points every Ansible tool at it."""

from __future__ import annotations

import contextlib
import importlib
import os
import pathlib
import time
from collections.abc import Generator
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

ROOT = pathlib.Path(__file__).resolve().parent.parent
COLLECTIONS = ROOT / ".cache" / "collections"
LAB, STATIC = (ROOT / "tests" / name for name in ("lab", "static"))
# From nothing on a slow machine; whoever brings it up may have died as well.
LAB_SECONDS = 1200
NICENESS, LAST = 10, 19
BESIDE = pytest.StashKey[bool]()
UNTIL = pytest.StashKey[float]()


def _link_collection() -> None:
    link = COLLECTIONS / "ansible_collections" / "hpc" / "virtual_cluster"
    link.parent.mkdir(parents=True, exist_ok=True)
    if not link.is_symlink():
        link.symlink_to(ROOT, target_is_directory=True)
        # pytest has put the tree on the path already, and Python remembers that it was not there.
        importlib.invalidate_caches()


_link_collection()
os.environ["ANSIBLE_COLLECTIONS_PATH"] = str(COLLECTIONS)
# One process for each module instead of six; hosts of the lab say so themselves.
os.environ["ANSIBLE_PIPELINING"] = "1"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--lab-as-is", action="store_true", help="run proofs on the lab as it stands; for work on one proof, never for a verdict"
    )
    parser.addoption("--emulated", action="store_true", help="the fresh machine under an emulator, instead of as a container")
    parser.addoption("--no-skips", action="store_true", help="a test that is skipped has failed: where everything it needs was installed")


class ByPlace(LoadScopeScheduling):
    """What shares daemons stays in one process: the lab, the linters, each directory of unit tests."""

    def _split_scope(self, nodeid: str) -> str:
        path = nodeid.partition("::")[0]
        depth = 3 if path.startswith("tests/unit/") else 2
        return "/".join(path.split("/")[:depth])


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The lab first, whatever was asked for first: some of the others wait for it."""
    items.sort(key=lambda item: LAB not in item.path.parents)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByPlace:
    return ByPlace(config, log)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """The lab's proofs take longest, and mostly wait: what runs beside them gives way.

    While the lab's guests boot, nothing is idle for long: checkers get what is left, and tests that have daemons of their own, for which
    they wait a limited time, begin when that is over.
    """
    if "PYTEST_XDIST_WORKER" not in os.environ or LAB in item.path.parents or BESIDE in item.session.stash:
        return
    until = item.session.stash.setdefault(UNTIL, time.monotonic() + LAB_SECONDS)
    while any(LAB in other.path.parents for other in item.session.items) and not lab_has_come_up().exists() and time.monotonic() < until:
        _give_way(LAST)
        if STATIC in item.path.parents:
            return
        time.sleep(1)
    _give_way(NICENESS)
    item.session.stash[BESIDE] = True


def _give_way(niceness: int) -> None:
    """Of this process and what it starts. Where the kernel groups processes by session, niceness counts among those of one session only."""
    if os.getsid(0) != os.getpid():
        os.setsid()
    # To others than root, whose tests have no lab beside them, less is refused than they have.
    with contextlib.suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, 0, niceness)
    group = pathlib.Path("/proc/self/autogroup")
    if group.exists():
        # A container may have /proc for reading only; then tests take longer.
        with contextlib.suppress(OSError):
            group.write_text(str(niceness), encoding="ascii")


def lab_has_come_up() -> pathlib.Path:
    """A file that is there when the lab of this run is up, or has failed to come up."""
    return ROOT / ".cache" / f"lab-of-{os.environ.get('PYTEST_XDIST_TESTRUNUID', 'one-process')}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.skipped and item.config.getoption("--no-skips"):
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} was skipped: {report.longrepr}"
    return report
