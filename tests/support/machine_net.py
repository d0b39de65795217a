"""Machines with nothing but a cable to a switch: network namespaces, joined by a bridge. For root alone."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest


class MachineNet:
    """The switch, and the machines at it.

    Args:
        address: of the switch itself, where a server may listen.
        names: of the machines' namespaces.
    """

    def __init__(self, address: str, names: tuple[str, ...]) -> None:
        self.address, self._names = address, names

    def prefix(self, number: int) -> tuple[str, ...]:
        """Return the words before a command that runs it on a machine."""
        return ("ip", "netns", "exec", self._names[number])

    def cut(self, number: int) -> None:
        """Pull a machine's cable: nothing that it says arrives any more, not even that it ends."""
        _ip("link", "set", self._names[number], "down")

    def kill(self, number: int) -> None:
        """Switch a machine off."""
        self.cut(number)
        _end_all(self._names[number])


@contextmanager
def machine_net(count: int) -> Iterator[MachineNet]:
    """Give so many machines; skip the test where namespaces cannot be made, but not in CI."""
    missing = why_no_machines()
    if missing and not os.environ.get("CI"):
        pytest.skip(f"NO NETWORK OF MACHINES WAS TRIED: {missing}")
    word, net = secrets.token_hex(3), secrets.randbelow(200) + 20
    bridge, names = f"pm{word}", tuple(f"pm{word}-{number}" for number in range(count))
    with ExitStack() as undo:
        _ip("link", "add", bridge, "type", "bridge")
        undo.callback(_ip, "link", "del", bridge)
        _ip("addr", "add", f"10.213.{net}.1/24", "dev", bridge)
        _ip("link", "set", bridge, "up")
        for number, name in enumerate(names):
            _ip("netns", "add", name)
            undo.callback(_ip, "netns", "del", name)
            undo.callback(_end_all, name)
            _ip("link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", name)
            # Not left to the namespace's end, which connections that were cut off delay.
            undo.callback(_ip, "link", "del", name)
            _ip("link", "set", name, "master", bridge, "up")
            _ip("-n", name, "link", "set", "lo", "up")
            _ip("-n", name, "addr", "add", f"10.213.{net}.{number + 10}/24", "dev", "eth0")
            _ip("-n", name, "link", "set", "eth0", "up")
        yield MachineNet(f"10.213.{net}.1", names)


def why_no_machines() -> str:
    """Return why there can be no namespaces here; empty: there can."""
    if os.geteuid() != 0:
        return "only root can make network namespaces"
    if shutil.which("ip") is None:
        return "the program ip is not installed (package iproute2)"
    return ""


def _end_all(name: str) -> None:
    """Kill whatever runs in a namespace: with a process in it, it would stay for ever."""
    for pid in _ip("netns", "pids", name).split():
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(pid), signal.SIGKILL)


def _ip(*words: str) -> str:
    ran = subprocess.run(["ip", *words], capture_output=True, text=True, check=False, timeout=30)
    assert ran.returncode == 0, f"ip {' '.join(words)}: {ran.stderr}"
    return ran.stdout
