"""The fork server: imports modules once, then forks process supervisors, each of which forks one process per
file.

The runner starts it as `python passmuster_child_main.py --serve FD CODE_FOLDER ROOT` under the project's
interpreter, in the directory and the environment of the tests. It has one thread and only imports: it calls
no code of a library or of the project but pytest's session and the initial conftests
(`passmuster_child_conftests`). A server never changes after it is ready: to preload more modules, it forks
another server, which imports them on top. A server that turns out unclean (see `passmuster_child_preload`) is
stopped.

Messages (`passmuster_child_channel`):

    runner to server    ("server", setup)   with the descriptor of the new server's socket
                        ("supervisor",)     with the descriptor of the new supervisor's socket
    server to runner    ("importing", name) before a module is preloaded
                        ("ready", answer)   once, when it has imported what it was set up with
                        ("forked", pid)     a server or supervisor was forked
                        ("failed", errno, text)

A setup is a dictionary: `base` (`script`, `pytest`, or empty for neither), `coverage` (whether to load it),
`modules` and `own` (what to preload, see `passmuster_child_preload.preload`), `path` (where to look for it
first), `session` (whether to prepare a pytest session), `conftests` (whether to load the initial conftests
into the session that it has inherited), `project` (the project's folders; without them, a session for which
pytest imports modules of the project is refused), `probe` (whether it ends when it has answered, so that it
can watch itself more closely). An answer is also a dictionary: `verdicts`, `why_not` (why it is not usable;
empty: it is), `pytest` (whether the interpreter has it), `version`, `modules` (all that a server with a
framework or conftests has), `conftests` (the paths of a session's initial ones), `files` (path, size, and
time of the project's files that it has imported, and of pytest's configuration), `read` (the same of what
else it has read), `folders` (path and digest of the names in those that it has listed), `rss_bytes`,
`anon_bytes`.
"""

from __future__ import annotations

import os
import select
import sys
import time
from _frozen_importlib_external import PathFinder

from passmuster_child_channel import Channel
from passmuster_child_entropy import EntropyWatch
from passmuster_child_frozen import freeze, pause, resume, watch_collector
from passmuster_child_procs import all_below, become_subreaper, children_of
from passmuster_child_stamps import names_digest, stamp_of_read
from passmuster_child_start import become_module, load
from passmuster_child_supervisor import Supervisor, Wakeup, ignore_signals

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from passmuster_child_supervisor import Job

    HeldFile = tuple[str, int, int]
    """A file that was read: its path and its stamp (`passmuster_child_stamps`)."""

REAP_S = 0.1
"""How long a server that ends waits for its children, which end before it unless it is replaced."""


class Server:
    """One process that has imported something and waits to be forked."""

    def __init__(self, control: Channel) -> None:
        self.control = control
        self.session: Any = None
        self.children: set[int] = set()
        self.servers: set[int] = set()
        """Those of the children that are servers."""
        self.files: dict[str, HeldFile] = {}
        self.read: dict[str, HeldFile] = {}
        self.began_ns = 0
        self.wakeup = Wakeup()
        become_subreaper()

    def loop(self) -> Job:
        """Serve; returns in a test's process alone, and with the job of that. All others end in here."""
        while True:
            child = self.serve()
            if child is None:
                self.reap()
                self.reap_all()
                os._exit(0)
            if isinstance(child, Supervisor):
                job = child.serve()
                if job is None:
                    os._exit(0)
                return job

    def serve(self) -> Supervisor | None:
        """Fork what the runner asks for; None: it is gone. A supervisor is returned in its own process."""
        poll = select.poll()
        poll.register(self.control.fileno(), select.POLLIN)
        poll.register(self.wakeup.fileno(), select.POLLIN)
        while True:
            ready = dict(poll.poll())
            if self.wakeup.fileno() in ready:
                self.wakeup.drain()
                self.reap()
            if self.control.fileno() not in ready:
                continue
            message, descriptors = self.control.receive()
            if not message:
                return None
            if not self.fork(message[0]):
                for descriptor in descriptors:
                    os.close(descriptor)
                continue
            poll.unregister(self.control.fileno())
            poll.unregister(self.wakeup.fileno())
            self.become_child(descriptors[0])
            if message[0] == "supervisor":
                return Supervisor(self.control, self.session)
            self.wakeup = Wakeup()
            become_subreaper()
            self.set_up(message[1])
            poll.register(self.control.fileno(), select.POLLIN)
            poll.register(self.wakeup.fileno(), select.POLLIN)

    def fork(self, kind: str) -> bool:
        """Fork a server or supervisor, and tell the runner; return whether this is the child."""
        try:
            pid = os.fork()
        except OSError as error:
            self.control.send("failed", error.errno, f"cannot fork: {error.strerror}")
            return False
        if pid == 0:
            return True
        self.children.add(pid)
        if kind == "server":
            self.servers.add(pid)
        self.control.send("forked", pid)
        return False

    def become_child(self, control: int) -> None:
        """Take up a forked process's own ends of everything."""
        self.control.close()
        self.wakeup.close()
        self.children, self.servers = set(), set()
        self.control = Channel(control)
        os.setsid()

    def set_up(self, setup: dict[str, Any]) -> None:
        """Import this server's modules and report the results; the first step of a new server."""
        self.began_ns = time.time_ns()
        version = "{}.{}.{}".format(*sys.version_info)
        answer: dict[str, Any] = {"verdicts": [], "why_not": "", "version": version, "modules": []}
        answer.update(conftests=[])
        answer["pytest"] = PathFinder.find_spec("pytest") is not None
        if setup["conftests"] or setup.get("own") or (setup["session"] and setup["project"]):
            resume()
        else:
            pause()
        try:
            with EntropyWatch() as watch:
                self.import_all(setup, answer, watch)
                watch.remember()
        except BaseException as error:  # Imports run foreign code, and any error only means: not this way.
            answer["why_not"] = (
                " ".join(f"{type(error).__name__}: {error}".split()) or "it could not be set up"
            )
        if setup.get("project"):
            self.hold(own_files(setup["project"]))
        if setup["base"] or setup["conftests"]:
            answer["modules"] = list(sys.modules)
        self.answer_inputs(answer)
        freeze()
        answer["rss_bytes"], answer["anon_bytes"] = resident_bytes()
        self.control.send("ready", answer)

    def hold(self, paths: Iterable[str]) -> None:
        """Note code that this server has, and that is not noted yet."""
        self.files.update(held_files(set(paths) - self.files.keys(), self.began_ns))

    def answer_inputs(self, answer: dict[str, Any]) -> None:
        """Report what this server has read: what it holds is outdated if that changes."""
        inputs = load("passmuster_child_inputs")
        inputs.settle()
        files, folders = inputs.held()
        self.read.update(held_files(files - self.files.keys() - self.read.keys(), self.began_ns))
        answer["files"] = list(self.files.values())
        answer["read"] = list(self.read.values())
        answer["folders"] = [(folder, names_digest(folder)) for folder in folders]

    def import_all(self, setup: dict[str, Any], answer: dict[str, Any], watch: EntropyWatch) -> None:
        """Import in the order in which a test process would: coverage, the framework, what the file needs."""
        if setup["coverage"]:
            load("passmuster_child_coverage").load()
        if setup["base"] == "pytest":
            load("passmuster_child_pytest")
            import pytest  # noqa: F401

            load("passmuster_child_bytecode").keep_rewritten(sys.modules["_pytest.assertion.rewrite"])
            become_module("pytest")
        if setup["base"]:
            load("passmuster_child_unittest")
            import argparse
            import unittest  # noqa: F401

            # What `unittest.main` imports and compiles for its arguments took half of a small file's time.
            argparse.ArgumentParser(prog="").parse_args([])
        if setup["modules"] and self.session is None:
            self.import_modules(setup, answer, watch)
        elif setup["modules"]:
            with load("passmuster_child_session_prepare").running():
                self.import_modules(setup, answer, watch)
        if setup["session"] and not answer["why_not"]:
            self.prepare_session(setup, answer, watch)
        if setup["conftests"]:
            self.hold_conftests(setup, answer, watch)

    def import_modules(self, setup: dict[str, Any], answer: dict[str, Any], watch: EntropyWatch) -> None:
        """Import what the files need; note the verdicts."""
        preload = load("passmuster_child_preload")
        finders = [watch.take]
        modifications: Any = None
        if setup["probe"]:
            proof = load("passmuster_child_proof").Proof(setup["project"], preload.interpreter_roots())
            modifications = load("passmuster_child_modifications").ModificationWatch(proof.is_own)
            proof.end_of_module = modifications.end_of_module
            finders += [proof.take, modifications.take]

        def on_import(name: str) -> None:
            self.control.send("importing", name)
            if modifications is not None:
                modifications.begin(name)

        path = list(sys.path)
        conftests = None if self.session is None else self.session.executed_conftests
        if conftests is not None:
            conftests.resume()
        sys.path[:0] = [folder for folder in setup["path"] if folder not in sys.path]
        verdicts = preload.preload(
            setup["modules"],
            preload.interpreter_roots(),
            setup["own"],
            # Under pytest more warnings are shown, and a project may make errors of them.
            every_warning="_pytest" in sys.modules,
            on_import=on_import,
            finders=finders,
            conftests=conftests,
        )
        if conftests is not None:
            conftests.suspend()
            self.hold(conftests.paths())
        sys.path[:] = path
        answer["verdicts"] = verdicts
        if not preload.is_clean(verdicts):
            answer["why_not"] = "importing {} {}".format(verdicts[-1][0], verdicts[-1][3])

    def prepare_session(self, setup: dict[str, Any], answer: dict[str, Any], watch: EntropyWatch) -> None:
        """Prepare a pytest session; note a verdict on modules of the project that this imports."""
        proof: Any = None
        if setup["probe"]:
            roots = load("passmuster_child_preload").interpreter_roots()
            proof = load("passmuster_child_proof").Proof(setup["project"], roots)
        sys.path.insert(0, os.getcwd())  # As `python -m pytest` has it.
        session = load("passmuster_child_session").PreparedSession(may_hold=bool(setup["project"]))
        answer["conftests"] = session.initial_conftests()
        self.hold([session.inifile] if session.inifile else ())
        if session.own_modules:
            answer["why_not"] = (proof.take() if proof is not None else "") or watch.take()
            answer["verdicts"] = [("session", 0.0, 0, answer["why_not"] or "ok")]
        self.session = session

    def hold_conftests(self, setup: dict[str, Any], answer: dict[str, Any], watch: EntropyWatch) -> None:
        """Load the initial conftests; note the verdict."""
        self.control.send("importing", "conftest")
        began, held = time.process_time(), resident_bytes()[1]
        answer["why_not"] = load("passmuster_child_conftests").hold_conftests(
            self.session, setup["project"], watch.take, is_probe=setup["probe"]
        )
        seconds, grown = time.process_time() - began, max(0, resident_bytes()[1] - held)
        answer["verdicts"] = [("conftest", seconds, grown, answer["why_not"] or "ok")]

    def reap(self) -> None:
        """Collect ended children, and take care of the processes that they left behind.

        Those of a supervisor that was killed are ended. Those of a server are its supervisors, which may run
        files, and its servers: they live until their sockets close.
        """
        # Seen first: a server that ends after this leaves processes that are not among them.
        orphans = set(children_of(os.getpid())) - self.children
        has_lost_server = False
        while True:
            try:
                pid, _ = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                break
            if pid == 0:
                break
            has_lost_server |= pid in self.servers
            self.children.discard(pid)
            self.servers.discard(pid)
        if has_lost_server:
            self.children.update(children_of(os.getpid()))
        for pid in orphans - self.children:
            kill_tree(pid)

    def reap_all(self) -> None:
        """Collect the children that are about to end, so that what they used is counted in our parent."""
        deadline = time.monotonic() + REAP_S
        while time.monotonic() < deadline:
            try:
                if os.waitpid(-1, os.WNOHANG)[0] == 0:
                    time.sleep(0.001)
            except ChildProcessError:
                return


def serve(control: int) -> Job:
    """Be the first server of a run; returns in the processes of tests alone.

    Args:
        control: descriptor of the socket to the runner.
    """
    ignore_signals()
    watch_collector()
    os.set_inheritable(control, False)  # noqa: FBT003 - positional only.
    # The streams were made for a pipe, as a test's are. What is printed here goes nowhere.
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    os.close(nowhere)
    server = Server(Channel(control))
    server.set_up({"base": "", "coverage": False, "modules": (), "session": False, "conftests": False})
    return server.loop()


def own_files(project: list[str]) -> Iterable[str]:
    """Yield the project's files of which this process has modules."""
    roots = tuple(os.path.join(os.path.realpath(folder), "") for folder in project)
    installed = tuple(
        os.path.join(folder, "") for folder in load("passmuster_child_preload").interpreter_roots()
    )
    imported = (getattr(module, "__file__", None) for module in list(sys.modules.values()))
    for file in imported:
        if isinstance(file, str) and file.startswith(roots) and not file.startswith(installed):
            yield file


def held_files(paths: Iterable[str], began_ns: int) -> dict[str, HeldFile]:
    """Return files that were read since `began_ns` (Unix time), as they are now."""
    return {path: (path, *stamp_of_read(path, began_ns)) for path in paths}


def kill_tree(pid: int) -> None:
    """Send SIGKILL to a process and everything below it."""
    for each in [*all_below(pid), pid]:
        try:
            os.kill(each, 9)
        except ProcessLookupError:
            continue


def resident_bytes() -> tuple[int, int]:
    """Return this process's resident bytes, all and anonymous; zeros where there is no procfs."""
    sizes = {b"VmRSS:": 0, b"RssAnon:": 0}
    try:
        with open("/proc/self/status", "rb") as status:
            for line in status:
                name, _, value = line.partition(b"\t")
                if name in sizes:
                    sizes[name] = int(value.split()[0]) * 1024
    except (OSError, ValueError):
        pass
    return sizes[b"VmRSS:"], sizes[b"RssAnon:"]
