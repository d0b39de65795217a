"""Makes a test process look like `python FILE` (or pytest, or unittest) and has its tests reported.

Imported by `passmuster_child_main`, under the project's interpreter, before any module of the project. A test
can notice the following: one frame of Passmuster below its own, a handler for one real-time signal, the
report's descriptor, a finder at the head of `sys.meta_path`, and the modules `_json`, `atexit`, `gc` and
`faulthandler`.

Tests replace functions of `os`, `time` or `gc`, remove modules from `sys.modules`, or replace `__import__`,
and some never restore them. The child scripts therefore bind, when they are loaded, all functions that they
call after the file has started, and import nothing later.
"""

import faulthandler
import os
import sys

# `importlib.machinery.PathFinder`, without importing that. It need not be the last one in `sys.meta_path`: a
# forked process may have the finder of a package that its server imported, such as `six`, behind it.
from _frozen_importlib_external import PathFinder

TYPE_CHECKING = False
if TYPE_CHECKING:
    from importlib.machinery import ModuleSpec
    from types import CodeType, ModuleType
    from typing import Any, Callable, Optional, Sequence

REPORT_FD = 198
"""Agreed with the supervisor, which puts the descriptor there."""

STACK_SIGNAL = 60
"""The real-time signal on which the interpreter writes its stacks: one that programs do not use."""

_HERE = os.path.dirname(os.path.abspath(__file__))
_PREFIX = "passmuster_child_"

_environ, _flags = os.environ, sys.flags
_loaded: "dict[str, ModuleType]" = {}


def load(name: str) -> "Any":
    """Import a module from the directory of this one, or return it if it is loaded."""
    if name not in _loaded:
        sys.modules.update(_loaded)
        sys.path.insert(0, _HERE)
        try:
            __import__(name)
        finally:
            sys.path.remove(_HERE)
            _hide()
    return _loaded[name]


def _hide() -> None:
    """Remove Passmuster's modules from `sys.modules`, in which libraries search for the project's modules.

    hypothesis collects constants from them, freezegun replaces the clocks in them, and a test that empties
    `sys.modules` would have them loaded a second time.
    """
    for name in [name for name in sys.modules if name.startswith(_PREFIX)]:
        _loaded[name] = sys.modules.pop(name)


def begin(argv: "list[str]") -> "FileRun":
    """Return the file to run in this process; a fork server first waits to become that process."""
    if sys.path[:1] == [_HERE]:
        del sys.path[0]
    _hide()
    load("passmuster_child_end").register()
    load("passmuster_child_bytecode").install(argv[3])
    load("passmuster_child_inputs").install(argv[4], argv[3])
    if argv[1] != "--serve" or len(argv) != 5:
        return FileRun(argv)
    plain = set(sys.modules)
    server = load("passmuster_child_server")
    for name in ("report", "reset", "preload", "imports", "select", "defined"):
        load("passmuster_child_" + name)
    load("passmuster_child_procs").libc()
    # What the server needs and no test has asked for is out of sight, as it would be in a fresh process.
    for name in set(sys.modules) - plain:
        del sys.modules[name]
    environment = dict(os.environ)
    job = server.serve(int(argv[2]))
    load("passmuster_child_reset").reset_process(job)
    return FileRun(job.argv, job.session, {**environment, **job.changes}, job.project)


def become_module(package: str, *arguments: str) -> None:
    """Look like `python -m PACKAGE ARGUMENT...`: processes that the file starts read it off `__main__`."""
    module = type(sys)("__main__")
    # `importlib.util.find_spec`, without importing that.
    spec = PathFinder.find_spec(package + ".__main__", __import__(package).__path__)
    if spec is not None:
        module.__file__, module.__loader__, module.__spec__ = spec.origin, spec.loader, spec
        module.__package__ = package
        sys.modules["__main__"] = module
        sys.argv[:] = [str(spec.origin), *arguments]
        if hasattr(sys, "orig_argv"):
            sys.orig_argv[:] = [sys.executable, "-m", package, *arguments]


class FileRun:
    """One file, from the arguments to its end.

    Args:
        argv: this process's arguments, as `passmuster_child_main` documents them.
        session: a pytest session that a server has prepared; None: there is none.
        environment: what a fresh interpreter would start with; None: this one is fresh.
        project: the project's folders, for the record of what is imported; empty: nothing is recorded.
    """

    def __init__(
        self,
        argv: "list[str]",
        session: "Any" = None,
        environment: "Optional[dict[str, Optional[str]]]" = None,
        project: "Sequence[str]" = (),
    ) -> None:
        self._argv, self._environment = argv, environment
        self.file, wanted, _, _, data_file = argv[1:6]
        words = argv[6:]
        separator = words.index("--") if "--" in words else len(words)
        self.sources = words[:separator]
        self.selection: "Any" = load("passmuster_child_select").Selection(words[separator + 1 :])
        self.code: "CodeType | None" = None
        self.error: "BaseException | None" = None
        self.namespace: "dict[str, object]" = {}
        self._session = session
        self._owner = ""
        self._coverage: "Any" = None
        self._measured: "Any" = None
        self._source = b""
        self._definitions: "Any" = None
        self._ending = load("passmuster_child_end")
        self.reporter = load("passmuster_child_report").ReportWriter(REPORT_FD)
        self._inputs: "Any" = load("passmuster_child_inputs").start_file()
        self._watch_stacks()
        self._recorder = self._start_recorder(project)
        sys.argv[:] = [self.file]
        if hasattr(sys, "orig_argv"):
            sys.orig_argv[:] = [sys.executable, self.file]
        source = self._read()
        self.kind = self._choose(source) if wanted == "auto" else wanted
        self.reporter.text("runner", self.kind)
        self._check_selection()
        if data_file:
            self._coverage = load("passmuster_child_coverage")
            # Before the project's folders are on the path: none of them may pass for coverage.
            self._carefully(self._coverage.load)
        self._extend_path()
        if data_file:
            settings = {"data_file": data_file, "source": self.sources}
            self._measured = self._carefully(lambda: self._coverage.start(settings))
        if self.kind == "script":
            self._become_script(source)

    def _run_in_session(self) -> None:
        """Run the file in the prepared session; if that is not possible, become a fresh interpreter."""
        sessions = load("passmuster_child_session")
        try:
            raise SystemExit(self._session.run(self.file, self.reporter, self.selection))
        except sessions.Unsupported as error:
            self.reporter.text("unforked", str(error))
        environment = {name: value for name, value in (self._environment or {}).items() if value is not None}
        load("passmuster_child_reset").exec_fresh_interpreter(
            self._argv, environment, self.reporter.descriptor
        )

    def leave(self) -> None:
        """Show what the file ended with, finish what was begun, and end; called once, however it ended.

        Called where no exception is being handled, as the interpreter calls `sys.excepthook`.
        """
        ending = self._ending
        error, self.error = self.error, None
        if self.kind == "script":
            ending.flush_both()  # A script's output is written before its error is shown.
        status, is_interrupted = ending.show(error)
        error = None
        self._finish()
        self.code, self.namespace, self._source = None, {}, b""
        if not _flags.inspect and not _environ.get("PYTHONINSPECT"):
            inputs, reporter = self._inputs, self.reporter
            on_end = (lambda: inputs.report(reporter)) if inputs is not None else None
            ending.leave(status, owner=self._owner, is_interrupted=is_interrupted, on_end=on_end)
        raise SystemExit(status)

    def _start_recorder(self, project: "Sequence[str]") -> "Any":
        """Start to record the imports of the file; return None if they are not requested."""
        if not project:
            return None
        recorder = load("passmuster_child_imports").ImportRecorder(
            project, load("passmuster_child_preload").interpreter_roots()
        )
        recorder.start()
        self.reporter.on_begin = recorder.tests_begin
        return recorder

    def _finish(self) -> None:
        if self._recorder is not None:
            self.reporter.imports(self._recorder.names)
        if self._measured is not None:
            self._coverage.stop(self._measured)
        reporter = self.reporter
        if self._definitions is not None and not reporter.collected:
            counts = self._definitions.count(self.namespace, self._source, reporter.ran, reporter.skipped)
            reporter.defines(*counts)

    def framework(self) -> None:
        """Run the file by pytest or unittest, as `python -m` does; leaves by SystemExit."""
        if self.kind == "pytest":
            become_module("pytest", self.file)
            if self._session is not None:
                self._run_in_session()
            import pytest

            load("passmuster_child_bytecode").keep_rewritten(sys.modules["_pytest.assertion.rewrite"])
            ours = load("passmuster_child_pytest")
            plugin = ours.Plugin(self.reporter, self.file, load("passmuster_child_collect").CollectionPath)
            plugin.selection = self.selection
            raise SystemExit(pytest.main([ours.cache_option(), *self.selection.arguments], plugins=[plugin]))
        self._watch_unittest()
        folder, name = module_name(self.file)
        self._owner = name
        become_module("unittest", name)
        sys.argv[0] = os.path.basename(sys.executable) + " -m unittest"
        if folder not in sys.path:
            sys.path.insert(0, folder)
        unittest: "Any" = sys.modules["unittest"]
        loader = load("passmuster_child_unittest").make_loader(unittest, self.selection, name, self.reporter)
        unittest.main(module=None, testLoader=loader)

    def _read(self) -> bytes:
        try:
            with open(self.file, "rb") as file:
                return file.read()
        except OSError as error:
            self.reporter.text("start", "cannot read the file: %s" % error.strerror)
            sys.stderr.write(
                "%s: can't open file %r: [Errno %d] %s\n"
                % (sys.executable, os.path.abspath(self.file), error.errno or 0, error.strerror)
            )
            raise SystemExit(2) from None

    def _check_selection(self) -> None:
        why = load("passmuster_child_select").problem(self.selection, self.kind)
        if why is not None:
            self.reporter.text("start", why)
            sys.stderr.write("%s: %s\n" % (self.file, why))
            raise SystemExit(2)

    def _choose(self, source: bytes) -> str:
        # A script runs whole: its tests are selected by the framework that finds them.
        if self.selection.is_whole_file and runs_as_script(source):
            return "script"
        return "pytest" if PathFinder.find_spec("pytest", [os.getcwd(), *sys.path]) else "unittest"

    def _carefully(self, start: "Callable[[], Any]") -> "Any":
        """Load or start coverage; what is wrong with it is the user's to know, in one line."""
        try:
            return start()
        except self._coverage.CoverageStartError as error:
            sys.stderr.write("coverage could not be started: %s\n" % error)
            raise SystemExit(1) from None

    def _extend_path(self) -> None:
        """Put first on `sys.path` what the interpreter itself would have put there."""
        if self._session is not None and self.kind == "pytest":
            return  # It was prepared with that.
        if self.kind != "script":
            sys.path.insert(0, os.getcwd())
        elif not getattr(sys.flags, "safe_path", False):
            sys.path.insert(0, os.path.dirname(os.path.realpath(self.file)))

    def _become_script(self, source: bytes) -> None:
        path = os.path.abspath(self.file)
        module = type(sys)("__main__")
        self.namespace = module.__dict__
        self.namespace.update(
            __file__=path,
            # In a main module it is the module; here, in an imported one, the name is its dictionary.
            __builtins__=sys.modules["builtins"],
            __annotations__={},
            # `importlib.machinery.SourceFileLoader`, without importing that.
            __loader__=type(__spec__.loader)("__main__", path),  # type: ignore[call-arg,misc]
        )
        if sys.version_info < (3, 15):
            self.namespace["__cached__"] = None
        sys.modules["__main__"] = module
        self._owner = "__main__"
        try:
            self.code = compile(source, path, "exec", dont_inherit=True)
        except (SyntaxError, ValueError) as error:
            self.reporter.text("collect", "%s: %s" % (type(error).__name__, error))
            sys.excepthook(type(error), error.with_traceback(None), None)  # As `python FILE` shows it.
            raise SystemExit(1) from None
        self._source = source
        if b"def test" in source:
            self._definitions = load("passmuster_child_defined")
        self._watch_unittest()

    def _watch_unittest(self) -> None:
        cases = load("passmuster_child_unittest")
        reporter = self.reporter
        watch_imports(
            {
                "unittest.case": lambda module: cases.watch_cases(module, reporter, self.selection),
                "unittest.suite": lambda module: cases.watch_suites(module, reporter),
                "_pytest.assertion.rewrite": load("passmuster_child_bytecode").keep_rewritten,
                "_pytest.config": lambda module: load("passmuster_child_pytest").wrap_main(module, reporter),
            }
        )

    def _watch_stacks(self) -> None:
        if sys.platform == "linux":
            try:
                faulthandler.register(STACK_SIGNAL, file=REPORT_FD, all_threads=True)
            except (OSError, RuntimeError, ValueError):
                pass


def watch_imports(patches: "dict[str, Callable[[ModuleType], None]]") -> None:
    """Call `patches[name](module)` as soon as the module of that name has been imported.

    Nothing is imported that the test does not import itself.
    """

    class Watcher:
        """A finder that acts only on the given modules."""

        @staticmethod
        def find_spec(name: str, path: "Any" = None, target: "Any" = None) -> "Optional[ModuleSpec]":
            patch = patches.pop(name, None)
            if patch is None:
                return None
            for finder in sys.meta_path:
                # On Python 3.9 to 3.11 a finder may have only the `find_module` of old.
                find_spec = getattr(finder, "find_spec", None)
                if finder is Watcher or find_spec is None:
                    continue
                spec: "Optional[ModuleSpec]" = find_spec(name, path, target)
                if spec is not None:
                    _patch_after(spec, patch)
                    return spec
            return None

    for name in [name for name in patches if name in sys.modules]:
        patches.pop(name)(sys.modules[name])
    sys.meta_path.insert(0, Watcher)


def _patch_after(spec: "ModuleSpec", patch: "Callable[[ModuleType], None]") -> None:
    loader: "Any" = spec.loader
    original = loader.exec_module

    def exec_module(module: "ModuleType") -> None:
        del loader.exec_module
        original(module)
        patch(module)

    loader.exec_module = exec_module


def has_guard(source: bytes) -> bool:
    """Whether the source has an `if __name__ == "__main__":` at its top level."""
    lines = source.replace(b"\r", b"\n").split(b"\n")
    for number, line in enumerate(lines):
        if line.startswith((b"if ", b"if(")) and b"__name__" in line and b"__main__" in line:
            above = b"\n".join(lines[:number])
            if above.count(b'"""') % 2 == 0 and above.count(b"'''") % 2 == 0:
                return True
    return False


def runs_as_script(source: bytes) -> bool:
    """Whether a file without a configured runner runs as `python FILE`: it has a main guard, or no tests.

    The guard of a file with relative imports and tests does not count: such an import fails in `python FILE`.
    """
    if has_guard(source) and not _imports_relatively(source):
        return True
    only_ast = 0x400  # ast.PyCF_ONLY_AST, without the cost of importing ast.
    try:
        tree: "Any" = compile(source, "<tests>", "exec", flags=only_ast, dont_inherit=True)
        return not _defines_tests(tree.body)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False  # The framework says what is wrong with it.


def _imports_relatively(source: bytes) -> bool:
    return any(line.lstrip().startswith(b"from .") for line in source.replace(b"\r", b"\n").split(b"\n"))


def _defines_tests(statements: "Sequence[Any]") -> bool:
    """Whether statements of a module define or import what a framework would run.

    A base class or an imported name that is called after tests counts too: what it is cannot be seen here.
    """
    for node in statements:
        kind = type(node).__name__
        if kind == "ClassDef":
            names = [node.name, *map(_name, node.bases)]
            found = any("Test" in name or "Case" in name for name in names) or any(map(_is_test, node.body))
        elif kind == "ImportFrom":
            found = any(
                (alias.asname or alias.name).startswith(("test", "Test", "*")) for alias in node.names
            )
        elif kind == "Assign":
            found = any(_name(target).startswith(("test", "Test")) for target in node.targets)
        elif kind in ("If", "Try", "With", "ExceptHandler"):
            blocks = ("body", "handlers", "orelse", "finalbody")
            found = any(_defines_tests(getattr(node, block, ())) for block in blocks)
        else:
            found = _is_test(node) or (kind == "FunctionDef" and node.name == "load_tests")
        if found:
            return True
    return False


def _name(node: object) -> str:
    return str(getattr(node, "attr", None) or getattr(node, "id", None) or "")


def _is_test(node: "Any") -> bool:
    return "FunctionDef" in type(node).__name__ and str(node.name).startswith("test")


def module_name(file: str) -> "tuple[str, str]":
    """Return the folder to import a test file from, and its dotted name there.

    The folder is the first one upward that is no package, as pytest's default import mode has it.
    """
    folder, base = os.path.split(os.path.abspath(file))
    parts = [base[:-3]]
    while os.path.exists(os.path.join(folder, "__init__.py")):
        folder, package = os.path.split(folder)
        parts.insert(0, package)
    return folder, ".".join(parts)
