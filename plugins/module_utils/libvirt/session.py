# SPDX-FileCopyrightText: 2026 hpc.virtual_cluster contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A job's private libvirt session: one libvirtd of the job's user, a child of the agent, seen by nobody else.

Who ends what:

* libvirtd runs with SIGTERM blocked.  ``scancel`` sends SIGTERM to every process of a step, and without libvirtd nobody could shut
  the guests down.  It is stopped with SIGINT.
* Guests are started with AUTODESTROY: when the agent dies, however it dies, libvirtd sees its connection close and destroys them.
* libvirtd has an idle timeout, which counts only while there is neither a client nor a guest: an orphaned one goes by itself.
* When libvirtd itself is killed, its guests live on; :meth:`Session.revive` starts it again and it adopts them.
"""

# The daemon has to run beside us, which no function of a module does.
# pylint: disable=ansible-bad-function

from __future__ import annotations

import contextlib
import functools
import importlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Optional, TypeVar, cast

from ..command import PATH
from ..model.errors import VcError
from .bounded import bounded
from .domain import secret_xml

_START_SECONDS = 20.0
_CALL_SECONDS = 5.0
# What libvirtd answers by itself; after this long on whatever host, it hangs.
_ANSWER_SECONDS = 30.0
# With it come QEMU's start and its log-in at the vault.
_CREATE_SECONDS = 120.0
# libvirt gives QEMU ten to end before it kills it.
_DESTROY_SECONDS = 20.0
_IDLE_SECONDS = 15
_QEMU_CONF = """\
stdio_handler = "file"
security_driver = "none"
cgroup_controllers = []
namespaces = []
remember_owner = 0
"""
_LIBVIRTD_CONF = 'log_level = 4\nlog_outputs = "3:stderr"\n'


_Method = TypeVar("_Method", bound=Callable[..., Any])


def _answered(seconds: float) -> Callable[[_Method], _Method]:
    """For a method that only libvirtd itself can hold up: VcError ``timeout`` when it does, and :meth:`Session.revive` replaces it then."""

    def decorate(method: _Method) -> _Method:
        limited = bounded(seconds)(method)

        @functools.wraps(method)
        def call(session: Session, *args: Any) -> Any:
            try:
                return limited(session, *args)
            except VcError as error:
                session.hangs = session.hangs or error.code == "timeout"
                raise

        return cast(_Method, call)

    return decorate


class Session:
    """The private libvirtd and the guests in it.

    Parameters
    ----------
    directory : the job's directory, private to its user; everything of the session is below it

    Attributes
    ----------
    hangs : libvirtd has left a question without an answer
    """

    hangs = False

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._daemon: Optional[subprocess.Popen[bytes]] = None
        self._connection: Any = None
        self._libvirt: Any = None
        self._agent: Any = None

    def start(self) -> None:
        """Start libvirtd and connect to it; VcError ``backend`` when it does not come up."""
        try:
            self._libvirt = importlib.import_module("libvirt")
            self._agent = importlib.import_module("libvirt_qemu")
        except ImportError as error:
            remedy = "install python3-libvirt for /usr/bin/python3"
            raise VcError("backend", "libvirt", "loading its Python binding", str(error), remedy) from None
        # Without a handler of its own the binding prints every error to stderr, also those we expect.
        self._libvirt.registerErrorHandler(lambda _context, _error: None, None)
        configuration = self._directory / "c" / "libvirt"
        for path in [self._directory / name for name in "xckd"] + [configuration]:
            path.mkdir(mode=0o700, exist_ok=True)
        (configuration / "qemu.conf").write_text(_QEMU_CONF)
        (configuration / "libvirtd.conf").write_text(_LIBVIRTD_CONF)
        self._launch()

    def revive(self) -> bool:
        """Start libvirtd again if it has gone or hangs; it adopts the running guests.  True when it had to be started."""
        if self._daemon is not None and self._daemon.poll() is None and not self.hangs and self._alive():
            return False
        self._connection = None
        self._kill()
        self.hangs = False
        self._launch()
        return True

    @_answered(_ANSWER_SECONDS)
    def define_secret(self, usage: str, value: str) -> None:
        """Keep a CHAP secret in libvirtd's memory."""
        with self._guard(usage, "handing a CHAP secret to libvirt"):
            try:
                secret = self._connection.secretLookupByUsage(self._libvirt.VIR_SECRET_USAGE_TYPE_ISCSI, usage)
            except self._libvirt.libvirtError:
                secret = self._connection.secretDefineXML(secret_xml(usage))
            secret.setValue(value.encode())

    def create(self, name: str, xml: str) -> int:
        """Define and start a guest; its QEMU's process id."""
        try:
            self._create(name, xml)
        except VcError:
            if self.hangs:
                # What has begun must not end in a guest that nobody knows of.
                self._kill()
                _end(self._pid_file(name), "qemu-system")
            raise
        return self.pid(name)

    @_answered(_CREATE_SECONDS)
    def _create(self, name: str, xml: str) -> None:
        with self._guard(name, "starting the guest"):
            self._connection.defineXML(xml).createWithFlags(self._libvirt.VIR_DOMAIN_START_AUTODESTROY)

    def pid(self, name: str) -> int:
        """The process id of a guest's QEMU; 0 when there is none."""
        try:
            return int(self._pid_file(name).read_text())
        except (OSError, ValueError):
            return 0

    @_answered(_ANSWER_SECONDS)
    def state(self, name: str) -> str:
        """``running``, ``suspended``, ``off`` (the guest or we ended it), ``crashed`` (anything else ended it)."""
        lib = self._libvirt
        with self._guard(name, "asking for the guest's state"):
            state, reason = self._connection.lookupByName(name).state()
        if state in (lib.VIR_DOMAIN_RUNNING, lib.VIR_DOMAIN_BLOCKED):
            return "running"
        if state == lib.VIR_DOMAIN_SHUTDOWN:
            return "stopping"
        if state in (lib.VIR_DOMAIN_PAUSED, lib.VIR_DOMAIN_PMSUSPENDED):
            return "suspended"
        if state == lib.VIR_DOMAIN_SHUTOFF and reason in (lib.VIR_DOMAIN_SHUTOFF_SHUTDOWN, lib.VIR_DOMAIN_SHUTOFF_DESTROYED):
            return "off"
        return "crashed"

    def shutdown(self, name: str) -> None:
        """Press the guest's power button.  Whether that helps is seen by its state; a QEMU that hangs does not hold up the caller."""
        connection = self._connection

        def press() -> None:
            with contextlib.suppress(self._libvirt.libvirtError):
                connection.lookupByName(name).shutdownFlags(self._libvirt.VIR_DOMAIN_SHUTDOWN_ACPI_POWER_BTN)

        threading.Thread(target=press, daemon=True).start()

    @bounded(_DESTROY_SECONDS)
    def destroy(self, name: str) -> None:
        """Pull the plug."""
        with self._guard(name, "destroying the guest"):
            self._connection.lookupByName(name).destroy()

    @bounded(_CALL_SECONDS)
    def resume(self, name: str) -> None:
        """Let a suspended guest go on."""
        with self._guard(name, "letting the guest go on"):
            domain = self._connection.lookupByName(name)
            if domain.state()[0] == self._libvirt.VIR_DOMAIN_PAUSED:
                domain.resume()

    @bounded(_CALL_SECONDS)
    def reset(self, name: str) -> None:
        """Press the guest's reset button; a suspended guest goes on from there."""
        with self._guard(name, "resetting the guest"):
            domain = self._connection.lookupByName(name)
            domain.reset()
            if domain.state()[0] == self._libvirt.VIR_DOMAIN_PAUSED:
                domain.resume()

    def agent_answers(self, name: str) -> bool:
        """Whether the guest agent inside is up: what stands behind the guest has then started its services."""
        try:
            return self._agent_answers(name)
        except VcError:
            return False

    @bounded(_CALL_SECONDS)
    def _agent_answers(self, name: str) -> bool:
        try:
            domain = self._connection.lookupByName(name)
            # Asking a guest whose agent has not opened the channel would leave a line in the log every time.
            return "state='connected'" in domain.XMLDesc() and bool(self._agent.qemuAgentCommand(domain, '{"execute":"guest-ping"}', 1, 0))
        except self._libvirt.libvirtError:
            return False

    def stop(self) -> None:
        """End libvirtd; guests that still run are destroyed with it (AUTODESTROY)."""
        if self._connection is not None:
            with contextlib.suppress(self._libvirt.libvirtError, VcError):
                self._close()
            self._connection = None
        if self._daemon is None:
            return
        with contextlib.suppress(ProcessLookupError):
            self._daemon.send_signal(signal.SIGINT)
        try:
            self._daemon.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._kill()
        self._daemon = None

    @bounded(_CALL_SECONDS)
    def _close(self) -> None:
        self._connection.close()

    def _kill(self) -> None:
        if self._daemon is not None:
            with contextlib.suppress(ProcessLookupError):
                self._daemon.kill()
            self._daemon.wait()

    def _pid_file(self, name: str) -> Path:
        return self._directory / "x" / "libvirt" / "qemu" / "run" / f"{name}.pid"

    @property
    def log_tail(self) -> str:
        """libvirtd's last words."""
        try:
            lines = [line for line in (self._directory / "libvirtd.log").read_text(errors="replace").splitlines() if line.strip()]
        except OSError:
            return ""
        return lines[-1] if lines else ""

    def _launch(self) -> None:
        names = {"XDG_RUNTIME_DIR": "x", "XDG_CONFIG_HOME": "c", "XDG_CACHE_HOME": "k", "XDG_DATA_HOME": "d", "HOME": "d"}
        env = {"PATH": PATH, "LC_ALL": "C", **{variable: str(self._directory / name) for variable, name in names.items()}}
        # No close_fds tricks and no shell: the daemon must be our own child, started by the main thread.
        with open(self._directory / "libvirtd.log", "ab") as log:
            try:
                self._daemon = subprocess.Popen(
                    ["libvirtd", f"--timeout={_IDLE_SECONDS}"],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    env=env,
                    cwd=self._directory,
                    preexec_fn=_block_term,
                )
            except FileNotFoundError:
                raise VcError("backend", "libvirtd", "starting it", "no such program", "install libvirt-daemon") from None
        socket = self._directory / "x" / "libvirt" / "libvirt-sock"
        until = time.monotonic() + _START_SECONDS
        while time.monotonic() < until and self._daemon.poll() is None:
            if socket.exists():
                with contextlib.suppress(self._libvirt.libvirtError):
                    self._connection = self._open(f"qemu+unix:///session?socket={socket}")
                    return
            time.sleep(0.05)
        remedy = f"look at {self._directory}/libvirtd.log"
        raise VcError("backend", "libvirtd", "starting the job's private session", self.log_tail or "no socket", remedy)

    @_answered(_START_SECONDS)
    def _open(self, uri: str) -> Any:
        return self._libvirt.open(uri)

    def _alive(self) -> bool:
        try:
            return self._connection is not None and bool(self._connection.isAlive())
        except self._libvirt.libvirtError:
            return False

    @contextlib.contextmanager
    def _guard(self, item: str, tried: str) -> Iterator[None]:
        try:
            yield
        except self._libvirt.libvirtError as error:
            raise VcError("backend", item, tried, str(error), f"look at {self._directory}/libvirtd.log") from None


def clear_away(directory: Path, seconds: float = 5.0) -> None:
    """End what a killed agent's session has left.

    AUTODESTROY takes a moment; libvirtd's idle timeout, though, begins only with the next event, which may never come.
    """
    base = directory / "x" / "libvirt"
    until = time.monotonic() + seconds
    guests = sorted((base / "qemu" / "run").glob("*.pid"))
    while any(_runs(path, "qemu-system") for path in guests) and time.monotonic() < until:
        time.sleep(0.05)
    for path, program in [(base / "libvirtd.pid", "libvirtd"), *((path, "qemu-system") for path in guests)]:
        _end(path, program)


def _end(pid_file: Path, program: str) -> None:
    pid = _runs(pid_file, program)
    if pid:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)


def _runs(pid_file: Path, program: str) -> int:
    """The process of a pid file if it still runs this program, else 0."""
    try:
        pid = int(pid_file.read_text())
        return pid if Path(f"/proc/{pid}/comm").read_text().startswith(program[:15]) else 0
    except (OSError, ValueError):
        return 0


def _block_term() -> None:
    # The mask survives exec; libvirt resets it for the QEMU it starts.
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    os.umask(0o077)
