"""The process supervisor: a small process that owns the processes of one slot, one file at a time.

It is the parent of the test process, so a test that kills its parent, or its parent's group, kills only its
supervisor. It is a child subreaper (prctl(2)): all processes that a file leaves behind, including daemons,
become children of its own supervisor, which finds and kills them. When its socket closes, the runner is gone,
and the supervisor kills all its descendants.

A supervisor is created in two ways. The runner starts `python -I -S passmuster_child_supervisor.py FD` with
its own interpreter; such a supervisor spawns files. A fork server (`passmuster_child_server`) forks one,
which can also fork a test process from itself, with everything that the server has imported.

Messages (`passmuster_child_channel`):

    from the runner     ("spawn", argv, environment, cwd)   with two descriptors: output, report
                        ("fork", argv, changes, cwd,        likewise, as text; the changes are those to the
                         project)                           server's environment (None unsets); the project's
                                                            folders are given where imports are recorded
                        ("signal", number)                  to the file's process group
                        ("kill",)                           SIGKILL to everything below the supervisor
    to the runner       ("started", pid)
                        ("failed", errno, text)             nothing runs
                        ("ended", wait status, cpu seconds, max rss in bytes, leaked descriptions)
"""

from __future__ import annotations

import sys

if __name__ == "__main__":
    sys.path.insert(0, __file__.rpartition("/")[0])  # Started without `site`, and isolated.

import _signal
import marshal
import os
import select
import time

from passmuster_child_channel import MARSHAL_VERSION, Channel
from passmuster_child_procs import all_below, become_subreaper, describe, is_zombie

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

REPORT_FD = 198
"""The report's descriptor in the test process: high, so that the first file a test opens is still 3."""

LINGER_S = 0.3
"""Seconds that processes may outlive their file before they count as leaked. The helpers of `multiprocessing`
end within milliseconds of their parent; a leaked process never does."""

TERM_S = 0.3
"""Seconds between SIGTERM and SIGKILL for a leaked process."""

KILL_S = 10.0
"""Seconds to wait for killed processes: only one that is stuck in the kernel takes longer."""

UNSEEN = "processes that each fork the next one and end"
"""Description of leaked processes that exit before a search finds them."""

OOM_SCORE = b"800"
"""Makes the kernel's out-of-memory killer prefer a test to the runner (proc(5), oom_score_adj)."""


class Job:
    """A file to run in this process, which has just been forked for it.

    Args:
        argv: as `passmuster_child_main` documents it.
        changes: differences from the environment of the server; None unsets a variable.
        project: the project's directories, to record its imports; empty: imports are not recorded.
        session: the pytest session that the server has prepared; None: none.
    """

    def __init__(
        self, argv: list[str], changes: dict[str, str | None], project: list[str], session: object
    ) -> None:
        self.argv = argv
        self.changes = changes
        self.project = project
        self.session = session


class Supervisor:
    """The state of one slot: at most one file, identified by its first process (`root`).

    `control` is the socket to the runner, `session` a `passmuster_child_session.PreparedSession` or None.
    """

    def __init__(self, control: Channel, session: Any = None) -> None:
        self.control = control
        self.session = session
        self.root = 0
        self.forked_file = ""
        self.status: int | None = None
        self.cpu_s = 0.0
        self.max_rss_bytes = 0
        self.leaked: list[str] = []
        self.step_at = 0.0
        self.step = 0
        self.wakeup = Wakeup()
        become_subreaper()

    # The file's processes.

    def spawn(
        self, argv: list[bytes], environment: dict[bytes, bytes], cwd: bytes, descriptors: list[int]
    ) -> None:
        """Start a file's first process by executing a command."""
        self.forget()
        trouble_read, trouble_write = os.pipe()
        pid = self.fork()
        if pid == 0:
            try:
                become_test(cwd, descriptors)
                # Signals that the supervisor ignores would stay ignored after exec.
                _signal.set_wakeup_fd(-1)
                for number in (*IGNORED, _signal.SIGPIPE, _signal.SIGXFSZ):
                    _signal.signal(number, _signal.SIG_DFL)
                os.execve(argv[0], argv, environment)
            except OSError as error:
                reason = (error.errno, f"{error.strerror}: {error.filename!r}")
                os.write(trouble_write, marshal.dumps(reason, MARSHAL_VERSION))
            except ValueError as error:  # A NUL byte in an argument or in the environment.
                os.write(trouble_write, marshal.dumps((0, str(error)), MARSHAL_VERSION))
            finally:
                os._exit(127)
        os.close(trouble_write)
        trouble = os.read(trouble_read, 4096)
        os.close(trouble_read)
        if trouble and pid > 0:
            os.waitpid(pid, 0)
            self.control.send("failed", *marshal.loads(trouble))
        elif pid > 0:
            self.root = pid
            self.control.send("started", pid)

    def fork_test(self, job: Job, cwd: str, descriptors: list[int]) -> Job | None:
        """Start a file's first process by forking; return the job only in that process."""
        self.forget()
        if self.session is not None:
            self.session.why_not(job.argv[1])  # Computed once for a directory, and inherited.
        pid = self.fork()
        if pid == 0:
            try:
                become_test(cwd, descriptors)
                for descriptor in descriptors:
                    os.close(descriptor)
                self.control.close()
                self.wakeup.close()
                restore_signals()
            except BaseException as error:  # The child must never continue as a second supervisor.
                os.write(2, f"cannot become a test process: {error}\n".encode("utf-8", "backslashreplace"))
                os._exit(127)
            return job
        if pid > 0:
            self.root, self.forked_file = pid, job.argv[1]
            self.control.send("started", pid)
        return None

    def fork(self) -> int:
        """Fork; if memory or processes are exhausted, report that to the runner and return -1."""
        try:
            return os.fork()
        except OSError as error:
            self.control.send("failed", error.errno, f"cannot fork: {error.strerror}")
            return -1

    def forget(self) -> None:
        """Reset the state of the previous file."""
        self.status, self.cpu_s, self.max_rss_bytes, self.leaked, self.step = None, 0.0, 0, [], 0
        self.forked_file = ""

    def reap(self) -> bool:
        """Collect every child that has ended, add up its use, and return whether no child is left.

        Every process of a file descends from a child of this subreaper, so then none of them is left either.
        A walk through procfs cannot prove that: the child of a process that forks and exits during the walk
        moves to a parent whose children have been read already.
        """
        while True:
            try:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                return True
            if pid == 0:
                return False
            self.cpu_s += usage.ru_utime + usage.ru_stime
            self.max_rss_bytes = max(self.max_rss_bytes, usage.ru_maxrss * 1024)
            if pid == self.root:
                self.status = status
                self.step_at = time.monotonic()

    def kill_all(self) -> None:
        """Send SIGKILL to the file's group and to all descendants of this process, in any session."""
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
        """Stop the processes that outlived their file, one step at a time.

        Return the seconds after which to call again, or None when no process is left.
        """
        if self.reap():
            return None
        now = time.monotonic()
        if self.step == 0 and now >= self.step_at + LINGER_S:
            left = [pid for pid in all_below(os.getpid()) if not is_zombie(pid)]
            self.leaked = [self.describe(pid) for pid in left[:50]] or [UNSEEN]
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

    def describe(self, pid: int) -> str:
        """Describe a process of the file; one that was only forked has the command of this process."""
        text: str = describe(pid)
        if self.forked_file and " --serve " in text and "passmuster_child_main.py" in text:
            return f"pid {pid}: a fork of {self.forked_file}"
        return text

    def finish_if_done(self) -> float | None:
        """Report the file's end if all its processes are gone; else return the seconds to the next check."""
        if not self.root or self.status is None:
            return None
        again_s = self.clear()
        if again_s is not None:
            return again_s
        self.root = 0
        self.control.send("ended", self.status, self.cpu_s, self.max_rss_bytes, self.leaked)
        return None

    # The loop.

    def obey(self, verb: str, rest: tuple[Any, ...], descriptors: list[int]) -> Job | None:
        """Carry out one message; return a job only in a test's process."""
        job = None
        if verb == "spawn":
            self.spawn(rest[0], rest[1], rest[2], descriptors)
        elif verb == "fork":
            job = self.fork_test(Job(rest[0], rest[1], rest[3], self.session), rest[2], descriptors)
            if job is not None:
                return job
        elif verb == "signal":
            if self.root and self.status is None:
                self.signal_group(rest[0])
        elif verb == "kill":
            self.step, self.step_at = 2, time.monotonic()
            self.kill_all()
        for descriptor in descriptors:
            os.close(descriptor)
        return None

    def serve(self) -> Job | None:
        """Serve until the runner is gone, then kill all descendants; return a job in a test's process."""
        poll = select.poll()
        poll.register(self.control.fileno(), select.POLLIN)
        poll.register(self.wakeup.fileno(), select.POLLIN)
        again_s: float | None = None
        try:
            while True:
                ready = dict(poll.poll(None if again_s is None else again_s * 1000))
                if self.wakeup.fileno() in ready:
                    self.wakeup.drain()
                self.reap()
                if self.control.fileno() in ready:
                    message, descriptors = self.control.receive()
                    if not message:
                        break
                    job = self.obey(message[0], message[1:], descriptors)
                    if job is not None:
                        return job
                again_s = self.finish_if_done()
        except (BrokenPipeError, ConnectionResetError):
            pass  # The runner exited while a message was sent to it.
        self.end_all()
        return None

    def end_all(self) -> None:
        """Kill all descendants, until none is left or `KILL_S` have passed."""
        deadline = time.monotonic() + KILL_S
        while not self.reap() and time.monotonic() < deadline:
            self.kill_all()
            time.sleep(0.005)


class Wakeup:
    """A pipe that becomes readable when a child of this process ends."""

    def __init__(self) -> None:
        self._read, self._write = os.pipe()
        os.set_blocking(self._write, False)
        _signal.set_wakeup_fd(self._write)
        _signal.signal(_signal.SIGCHLD, lambda _number, _frame: None)

    def fileno(self) -> int:
        """Return the descriptor to wait on."""
        return self._read

    def drain(self) -> None:
        """Empty the pipe."""
        os.read(self._read, 4096)

    def close(self) -> None:
        """Close the pipe; children that end are no longer noticed."""
        _signal.set_wakeup_fd(-1)
        os.close(self._read)
        os.close(self._write)


IGNORED = (_signal.SIGINT, _signal.SIGTERM, _signal.SIGHUP)
"""Ctrl-C in the terminal, or a kill of the runner's group, must not end supervisors and servers."""


def ignore_signals() -> None:
    """Let only the end of the socket and SIGKILL end this process."""
    for number in IGNORED:
        _signal.signal(number, _signal.SIG_IGN)


def restore_signals() -> None:
    """Give a forked test process the handlers that a fresh interpreter has."""
    _signal.signal(_signal.SIGCHLD, _signal.SIG_DFL)
    _signal.signal(_signal.SIGINT, _signal.default_int_handler)
    for number in (_signal.SIGTERM, _signal.SIGHUP):
        _signal.signal(number, _signal.SIG_DFL)


def become_test(cwd: str | bytes, descriptors: list[int]) -> None:
    """Give a forked child its own session, directory, and standard streams.

    Raises:
        OSError: the directory does not exist, or no descriptor is left.
    """
    output, report = descriptors
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
    os.close(nothing)


def main() -> None:
    """Serve the socket whose descriptor is the first argument, as a process of the runner's interpreter."""
    ignore_signals()
    control = int(sys.argv[1])
    os.set_inheritable(control, False)  # noqa: FBT003 - positional only. No test may hold our socket open.
    Supervisor(Channel(control)).serve()


if __name__ == "__main__":
    main()
