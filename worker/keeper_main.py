"""The keeper: a small process that owns the processes of one slot, one file at a time.

Started by `worker.keeper` as `python -I -S keeper_main.py FD`; it imports nothing of ours and only the
cheapest parts of the standard library, because a run waits for its start. It is the parent of the test
process, so a test that kills its parent, or its parent's group, loses its keeper and nothing else.

It is a child subreaper (prctl(2)): whatever a file leaves behind, daemons included, becomes a child of
this process and of no other, so it is found and ended without guessing whose it was. When its socket
closes, the runner is gone, and everything below this process is killed.

Messages on the socket are length-prefixed `marshal` values. Both ends are the same interpreter and the
socket is a private pair, so nothing foreign is ever decoded.

    runner to keeper    ("spawn", argv, environment, cwd)   with two descriptors: output, report
                        ("signal", number)                  to the file's process group
                        ("kill",)                           SIGKILL to everything below the keeper
    keeper to runner    ("started", pid)
                        ("failed", errno, text)             nothing runs
                        ("ended", wait status, cpu seconds, max rss in bytes, leaked descriptions)
"""

from __future__ import annotations

import _signal
import _socket
import marshal
import os
import select
import sys
import time

REPORT_FD = 198
"""The report's descriptor in the test process: high, so that the first file a test opens is still 3."""

LINGER_S = 0.3
"""How long processes that outlive their file may take to end by themselves. The helpers of
`multiprocessing` end within milliseconds of their parent; a leaked process never does."""

TERM_S = 0.3
"""How long a leaked process gets between SIGTERM and SIGKILL."""

KILL_S = 10.0
"""How long the dead are waited for: only a process stuck in the kernel takes longer."""

OOM_SCORE = b"800"
"""Makes the kernel, if memory runs out, take a test rather than the runner (proc(5), oom_score_adj)."""

_PR_SET_CHILD_SUBREAPER = 36

_CLOSE_ON_EXEC = getattr(_socket, "MSG_CMSG_CLOEXEC", 0)
"""Received descriptors are not for the test; without this flag (not Linux) it inherits them."""


def become_subreaper() -> None:
    """Ask the kernel to hand orphans below us to us; without it (not Linux) only the group is ended."""
    try:
        import ctypes

        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    except (ImportError, OSError, AttributeError):
        pass


def children_of(pid: int) -> list[int]:
    """Return the pids of a process's children, from procfs; empty where it is gone or unreadable."""
    found: list[int] = []
    try:
        threads = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return found
    for thread in threads:
        try:
            with open(f"/proc/{pid}/task/{thread}/children", "rb") as listing:
                found.extend(map(int, listing.read().split()))
        except OSError:
            continue
    return found


def all_below(pid: int) -> list[int]:
    """Return the pids of every descendant, parents before children."""
    found = children_of(pid)
    for descendant in found:  # The list grows while it is walked, a generation at a time.
        found.extend(children_of(descendant))
    return found


def is_zombie(pid: int) -> bool:
    """Whether a process has ended already and only waits to be reaped."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as stat:
            return stat.read().rpartition(b")")[2].split()[0] == b"Z"
    except (OSError, IndexError):
        return True


def describe(pid: int) -> str:
    """Return `pid N: command line` of a process, bounded."""
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as listing:
            command = listing.read(400).replace(b"\0", b" ").decode("utf-8", "backslashreplace").strip()
    except OSError:
        command = ""
    return f"pid {pid}: {command or 'unknown command'}"


class Keeper:
    """The state of one slot: at most one file, known by its first process."""

    def __init__(self, control: _socket.socket) -> None:
        self.control = control
        self.root = 0
        self.status: int | None = None
        self.cpu_s = 0.0
        self.max_rss_bytes = 0
        self.leaked: list[str] = []
        self.step_at = 0.0
        self.step = 0

    # Messages.

    def receive(self, size: int, descriptors: list[int]) -> bytes:
        """Read exactly `size` bytes, collecting descriptors that come along; empty at the end."""
        data = b""
        while len(data) < size:
            part, ancillary, _, _ = self.control.recvmsg(
                size - len(data), _socket.CMSG_SPACE(16), _CLOSE_ON_EXEC
            )
            if not part:
                return b""
            data += part
            for _level, _kind, raw in ancillary:
                descriptors.extend(
                    int.from_bytes(raw[start : start + 4], sys.byteorder) for start in range(0, len(raw), 4)
                )
        return data

    def send(self, *message: object) -> None:
        """Send one message to the runner."""
        body = marshal.dumps(message)  # type: ignore[arg-type]
        self.control.sendall(len(body).to_bytes(4, "big") + body)

    # The file's processes.

    def spawn(
        self, argv: list[bytes], environment: dict[bytes, bytes], cwd: bytes, output: int, report: int
    ) -> None:
        """Start a file's first process in a session of its own."""
        self.status, self.cpu_s, self.max_rss_bytes, self.leaked, self.step = None, 0.0, 0, [], 0
        trouble_read, trouble_write = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                self.become_test(argv, environment, cwd, output, report)
            except OSError as error:
                os.write(trouble_write, marshal.dumps((error.errno, f"{error.strerror}: {error.filename!r}")))
            except ValueError as error:  # A NUL byte in an argument or in the environment.
                os.write(trouble_write, marshal.dumps((0, str(error))))
            finally:
                os._exit(127)
        os.close(trouble_write)
        trouble = os.read(trouble_read, 4096)
        os.close(trouble_read)
        if trouble:
            os.waitpid(pid, 0)
            self.send("failed", *marshal.loads(trouble))
            return
        self.root = pid
        self.send("started", pid)

    @staticmethod
    def become_test(
        argv: list[bytes], environment: dict[bytes, bytes], cwd: bytes, output: int, report: int
    ) -> None:
        """Turn the forked child into the test process; returns only by an error."""
        os.setsid()
        try:
            with open("/proc/self/oom_score_adj", "wb", buffering=0) as score:
                score.write(OOM_SCORE)
        except OSError:
            pass
        os.chdir(cwd)
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(report, REPORT_FD)
        os.dup2(nothing, 0)
        os.dup2(output, 1)
        os.dup2(output, 2)
        _signal.set_wakeup_fd(-1)
        # The keeper ignores these, and an ignored signal stays ignored after exec.
        for number in (_signal.SIGINT, _signal.SIGTERM, _signal.SIGHUP, _signal.SIGPIPE, _signal.SIGXFSZ):
            _signal.signal(number, _signal.SIG_DFL)
        os.execve(argv[0], argv, environment)

    def reap(self) -> None:
        """Collect every child that has ended, and add up what it used."""
        while True:
            try:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            self.cpu_s += usage.ru_utime + usage.ru_stime
            self.max_rss_bytes = max(self.max_rss_bytes, usage.ru_maxrss * 1024)
            if pid == self.root:
                self.status = status
                self.step_at = time.monotonic()

    def kill_all(self) -> None:
        """Send SIGKILL to the file's group, and to everything below us wherever it went."""
        if self.root and self.status is None:
            self.signal_group(_signal.SIGKILL)
        for pid in all_below(os.getpid()):
            try:
                os.kill(pid, _signal.SIGKILL)
            except ProcessLookupError:
                continue

    def signal_group(self, number: int) -> None:
        """Send a signal to the file's process group."""
        try:
            os.killpg(self.root, number)
        except (ProcessLookupError, PermissionError):
            pass

    def clear(self) -> float | None:
        """End what outlived its file, a step at a time.

        Returns:
            None when nothing is left, otherwise the seconds after which to call again.
        """
        left = [pid for pid in all_below(os.getpid()) if not is_zombie(pid)]
        if not left:
            return None
        now = time.monotonic()
        if self.step == 0 and now >= self.step_at + LINGER_S:
            self.leaked = [describe(pid) for pid in left[:50]]
            self.step, self.step_at = 1, now
            for pid in left:
                try:
                    os.kill(pid, _signal.SIGTERM)
                except ProcessLookupError:
                    continue
        elif self.step == 1 and now >= self.step_at + TERM_S:
            self.step, self.step_at = 2, now
        if self.step == 2:
            self.kill_all()
            if now >= self.step_at + KILL_S:
                return None
        return 0.005

    def finish_if_done(self) -> float | None:
        """Report the file's end once nothing of it is left; else say when to look again."""
        if not self.root or self.status is None:
            return None
        again_s = self.clear()
        self.reap()
        if again_s is not None:
            return again_s
        self.root = 0
        self.send("ended", self.status, self.cpu_s, self.max_rss_bytes, self.leaked)
        return None

    # The loop.

    def obey(self) -> bool:
        """Read and carry out one message; False when the runner is gone."""
        descriptors: list[int] = []
        header = self.receive(4, descriptors)
        body = self.receive(int.from_bytes(header, "big"), descriptors) if header else b""
        if not body:
            return False
        verb, *rest = marshal.loads(body)
        if verb == "spawn":
            self.spawn(rest[0], rest[1], rest[2], descriptors[0], descriptors[1])
        elif verb == "signal":
            if self.root and self.status is None:
                self.signal_group(rest[0])
        elif verb == "kill":
            self.step, self.step_at = 2, time.monotonic()
            self.kill_all()
        for descriptor in descriptors:
            os.close(descriptor)
        return True

    def serve(self, wakeup: int) -> None:
        """Serve until the runner is gone, then leave nothing behind."""
        poll = select.poll()
        poll.register(self.control.fileno(), select.POLLIN)
        poll.register(wakeup, select.POLLIN)
        again_s: float | None = None
        while True:
            ready = dict(poll.poll(None if again_s is None else again_s * 1000))
            if wakeup in ready:
                os.read(wakeup, 4096)
            self.reap()
            if self.control.fileno() in ready and not self.obey():
                break
            again_s = self.finish_if_done()
        deadline = time.monotonic() + KILL_S
        while all_below(os.getpid()) and time.monotonic() < deadline:
            self.kill_all()
            self.reap()
            time.sleep(0.005)


def main() -> None:
    """Serve the socket whose descriptor is the first argument."""
    for number in (_signal.SIGINT, _signal.SIGTERM, _signal.SIGHUP):
        _signal.signal(number, _signal.SIG_IGN)
    wakeup_read, wakeup_write = os.pipe()
    os.set_blocking(wakeup_write, False)
    _signal.set_wakeup_fd(wakeup_write)
    _signal.signal(_signal.SIGCHLD, lambda _number, _frame: None)
    become_subreaper()
    control = int(sys.argv[1])
    os.set_inheritable(control, False)  # noqa: FBT003 - positional only. No test may hold our socket open.
    try:
        Keeper(_socket.socket(fileno=control)).serve(wakeup_read)
    except (BrokenPipeError, ConnectionResetError):
        pass  # The runner went while we told it something; serve() is not needed to end what runs:
    for pid in all_below(os.getpid()):
        try:
            os.kill(pid, _signal.SIGKILL)
        except ProcessLookupError:
            continue


if __name__ == "__main__":
    main()
