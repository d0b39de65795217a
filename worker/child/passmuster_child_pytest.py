"""A pytest plugin that reports each test, and keeps one file's session from doing a whole run's work.

Registered as an object, never by name, so that pytest does not try to rewrite it.
"""

import gc
import os
import sys
from time import perf_counter

from passmuster_child_identity import WORKER, outside_of_workers
from passmuster_child_options import take_over
from passmuster_child_report import ANOTHER, MESSAGE_LIMIT
from passmuster_child_select import QUARANTINED, Selection, UnknownTestError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType
    from typing import Any, Callable, Iterable, Iterator, TypeVar

    import pytest
    from passmuster_child_collect import CollectionPath
    from passmuster_child_report import ReportWriter

    _Hook = TypeVar("_Hook", bound="Callable[..., Any]")


def _marked(option: str) -> "Callable[[_Hook], _Hook]":
    """Mark a hook as `pytest.hookimpl` does, without importing pytest here."""

    def mark(hook: "_Hook") -> "_Hook":
        hook.pytest_impl = {option: True}  # type: ignore[attr-defined]
        return hook

    return mark


_TESTPATHS_MATCH_NOTHING = "ignore:No files were found in testpaths:pytest.PytestConfigWarning"
"""A filter of warnings as `-W` has it."""


def cache_option() -> str:
    """Return the argument that keeps pytest's cache out of the project: in the file's temporary directory.

    One word, because some plugins take every word that is no option for a path.
    """
    return "-ocache_dir=" + os.path.join(os.environ.get("TMPDIR", "/tmp"), "pytest_cache")


class _Quarantine:
    """Lets some tests fail although `--runxfail` has pytest report expected failures as failures."""

    def __init__(self, items: "Iterable[pytest.Item]") -> None:
        self._items = {id(item) for item in items}

    @_marked("hookwrapper")
    def pytest_runtest_protocol(self, item: "pytest.Item") -> "Iterator[None]":
        """A test runs."""
        option = item.config.option
        option.runxfail = id(item) not in self._items
        yield
        option.runxfail = True


_NEXT_SESSION = (("nfplugin", "newfirst"), ("stepwise", "stepwise"))
"""Plugins of pytest with the option without which they do nothing but keep notes for a next session."""

_REPORTS_ON_A_PACKAGE = (("hypothesispytest", "hypothesis", "hypothesis_show_statistics"),)
"""Plugins that import a package at the end of a session to report on its use, the package, and the option by
which they report in any case. Importing hypothesis takes ten times as long as a small test file."""


class Plugin:
    """Reports to the runner; changes no outcome.

    Args:
        reporter: None: it is set before the session starts.
        file: the file to collect, as an argument of pytest. pytest itself gets no path, so that its root,
            configuration and initial conftests are those of the project's own command; empty: pytest
            collects its own arguments.
        make_way: makes the path of nodes to that file, so no other entry is visited.
    """

    def __init__(
        self,
        reporter: "ReportWriter | None",
        file: str = "",
        make_way: "Callable[[str], CollectionPath] | None" = None,
    ) -> None:
        self.reporter: "Any" = reporter
        self.file = file
        self.selection = Selection()
        self._make_way = make_way
        self.on_start: "Callable[[], None]" = lambda: None
        self._way: "CollectionPath | None" = None
        self._open: "dict[str, tuple[str, float, str]]" = {}
        self._asks_again = False
        self._taken_back: "set[str]" = set()
        self._deselected = 0
        self._shared_s = 0.0
        """Set-up of fixtures that later tests use too, since the last test."""
        self._is_setting_up = False
        self._left: "set[str] | None" = None
        """Collected tests that have not ended; None: they are not collected yet."""

    @_marked("hookwrapper")
    def pytest_load_initial_conftests(self, early_config: "pytest.Config") -> "Iterator[None]":
        """Switch off pytest-cov: a total over one file would fail `--cov-fail-under` of every file."""
        namespace: "Any" = early_config.known_args_namespace
        namespace.no_cov = True
        if self._make_way is not None:
            # pytest warns because it gets no path, and a project may turn warnings into errors.
            namespace.pythonwarnings = [*(namespace.pythonwarnings or ()), _TESTPATHS_MATCH_NOTHING]
        yield

    @_marked("tryfirst")
    def pytest_cmdline_main(self, config: "pytest.Config") -> None:
        """Leave to the run what its options ask for once: before plugins are configured by them."""
        take_over(config, is_one_file=self._make_way is not None)
        self.select(config)

    def select(self, config: "pytest.Config") -> None:
        """Set the expressions by which pytest selects tests, which it reads after the collection."""
        if self.selection.keyword:
            config.option.keyword = self.selection.keyword
        if self.selection.marker:
            config.option.markexpr = self.selection.marker

    @_marked("trylast")
    def pytest_configure(self, config: "pytest.Config") -> None:
        """Unregister plugins that would only write, at the end, what a next session with this cache reads."""
        if self._make_way is None:
            return
        for name, option in _NEXT_SESSION:
            is_used = getattr(config.option, option, True)
            if not is_used and config.pluginmanager.has_plugin(name):
                config.pluginmanager.unregister(name=name)

    def pytest_sessionstart(self) -> None:
        """The session starts."""
        self.on_start()
        self.reporter.mark("begin")

    @_marked("tryfirst")
    def pytest_collection(self, session: "pytest.Session") -> None:
        """Collect the one file instead of what the project's settings name."""
        if self.file:
            session.config.args = [self.file]

    @_marked("tryfirst")
    def pytest_collection_modifyitems(
        self, session: "pytest.Session", config: "pytest.Config", items: "list[pytest.Item]"
    ) -> None:
        """Keep the tests that were named, in the wanted order, and let quarantined ones fail."""
        selection, pytest = self.selection, sys.modules["pytest"]
        if selection.is_empty:
            return
        if not session.testsfailed:
            for test in selection.unknown_quarantined(list(map(_name, items))):
                self.reporter.text("stale", test)
        try:
            kept, deselected = selection.divide(items, _name)
        except UnknownTestError as error:
            if session.testsfailed:
                return  # The file cannot be collected, and that is reported.
            self.reporter.text("collect", str(error))
            raise pytest.UsageError(str(error)) from None
        quarantined = [item for item in kept if selection.is_quarantined(_name(item))]
        for item in quarantined:
            item.add_marker(pytest.mark.xfail(reason=QUARANTINED, strict=False))
        if quarantined and getattr(config.option, "runxfail", False):
            config.pluginmanager.register(_Quarantine(quarantined))
        items[:] = selection.shuffle(kept, _name, lambda item: getattr(item, "cls", None) or item)
        if deselected:
            config.hook.pytest_deselected(items=deselected)

    @_marked("hookwrapper")
    def pytest_collect_file(self, parent: "pytest.Collector") -> "Iterator[None]":
        """Collect the one file as a run over its folder does: a named path is collected in more ways.

        A conftest that collects doctests of a module would otherwise have it collected as a test module too.
        """
        outcome: "Any" = yield
        collectors = outcome.get_result()
        path = getattr(collectors[0], "path", None) if len(collectors) > 1 else None
        if path is None or not self.file or self._asks_again:
            return
        session: "Any" = parent.session
        named, self._asks_again = session.isinitpath, True
        session.isinitpath = lambda *args, **options: False
        try:
            usual = session.gethookproxy(path).pytest_collect_file(file_path=path, parent=parent)
        finally:
            session.isinitpath, self._asks_again = named, False
        if usual:
            outcome.force_result(usual)

    def pytest_sessionfinish(self, session: "pytest.Session") -> None:
        """The session is over; what follows is the summary, and the interpreter's exit.

        Unregister plugins that would import a package only to find out that no test has used it, and keep
        pytest from examining all objects again and again.
        """
        self.reporter.mark("done")
        unraisable: "Any" = sys.modules.get("_pytest.unraisableexception")
        if hasattr(unraisable, "gc_collect_harder"):
            unraisable.gc_collect_harder = collect_garbage
        plugins, options = session.config.pluginmanager, session.config.option
        for name, package, option in _REPORTS_ON_A_PACKAGE:
            is_silent = package not in sys.modules and not getattr(options, option, True)
            if is_silent and plugins.has_plugin(name):
                plugins.unregister(name=name)

    def pytest_deselected(self, items: "list[pytest.Item]") -> None:
        """Count what the project's own options leave out; pytest may tell of it in parts."""
        self._deselected += len(items)

    @_marked("tryfirst")
    def pytest_collection_finish(self, session: "pytest.Session") -> None:
        """Report how many tests will run, and how many were deselected.

        A part is cut out of what all plugins have selected and ordered, so that the parts together are what
        the whole file would run.
        """
        if self.selection.is_part and not session.testsfailed:
            session.items[:] = self.selection.cut(
                session.items, list(map(_name, session.items)), self.reporter
            )
        self._left = {item.nodeid for item in session.items}
        self.reporter.count("collected", len(self._left))
        if self._deselected:
            self.reporter.count("deselected", self._deselected)

    def pytest_keyboard_interrupt(self, excinfo: "pytest.ExceptionInfo[BaseException]") -> None:
        """Report that the session ends early: `pytest.exit()` may do so with exit status 0."""
        if self._left is None or self._left:
            self.reporter.text("quit", excinfo.exconly())

    def pytest_plugin_registered(self, plugin: "Any", manager: "pytest.PytestPluginManager") -> None:
        """Have plugins that leave work to a controller of pytest-xdist do it: there is none."""
        if _package(plugin) in _LEAVE_WORK_TO_A_CONTROLLER:
            for caller in manager.get_hookcallers(plugin) or ():
                for impl in caller.get_hookimpls():
                    if impl.plugin is plugin and caller.name in _OF_THE_SESSION:
                        # Final for type checkers: pluggy itself calls whatever stands there.
                        impl.function = outside_of_workers(impl.function)  # type: ignore[misc]

    @_marked("hookwrapper")
    def pytest_runtestloop(self, session: "pytest.Session") -> "Iterator[None]":
        """Be a worker of pytest-xdist while tests run: what has a database for each worker asks for it then.

        Not earlier, nor later: plugins that find `workerinput` when they are configured, or when the session
        ends, leave their work to a controller.
        """
        self.reporter.tests_begin()
        config: "Any" = session.config
        config.workerinput = _worker_input()
        if hasattr(config.hook, "pytest_configure_node"):
            _configure_node(config)
        yield
        vars(config).pop("workerinput", None)

    @_marked("hookwrapper")
    def pytest_make_collect_report(self, collector: "pytest.Collector") -> "Iterator[None]":
        """Keep the listing of a folder to the way to the wanted file."""
        undo = None
        if self._make_way is not None and collector is not collector.session:
            if self._way is None:
                folder = str(collector.config.invocation_params.dir)
                self._way = self._make_way(os.path.abspath(os.path.join(folder, self.file)))
            undo = self._way and self._way.narrow(str(collector.path))
        try:
            yield
        finally:
            if undo is not None:
                undo()

    def pytest_collectreport(self, report: "pytest.CollectReport") -> None:
        """Report what could not be collected, and modules that skipped themselves."""
        if report.failed:
            self.reporter.text("collect", report.longreprtext or report.nodeid)
            self.reporter.case(report.nodeid, "error", 0.0, report.longreprtext)
        elif report.skipped and report.nodeid:
            self.reporter.case(report.nodeid, "skipped", 0.0, _reason(report))

    @_marked("hookwrapper")
    def pytest_fixture_setup(self, fixturedef: "pytest.FixtureDef[Any]") -> "Iterator[None]":
        """Time the fixtures that later tests use too, with those that they request."""
        if self._is_setting_up or str(fixturedef.scope) not in _SHARED_SCOPES:
            yield
            return
        self._is_setting_up, started = True, perf_counter()
        try:
            yield
        finally:
            self._is_setting_up = False
            self._shared_s += perf_counter() - started

    def pytest_runtest_logreport(self, report: "pytest.TestReport") -> None:
        """Add up set-up, call, subtests and tear-down; the test is reported when its tear-down is.

        An attempt that pytest-rerunfailures takes back, by the outcome "rerun", is none of it.
        """
        if str(report.outcome) == "rerun":
            self._taken_back.add(report.nodeid)
        outcome, seconds, message = self._open.get(report.nodeid, ("", 0.0, ""))
        found = _outcome(report)
        if _rank(found) > _rank(outcome):
            outcome, message = found, _reason(report) if found != "passed" else ""
        elif report.failed and len(message) < MESSAGE_LIMIT:
            message += ANOTHER + _reason(report)
        self._open[report.nodeid] = (outcome, seconds + report.duration, message)
        if report.when == "teardown":
            outcome, seconds, message = self._open.pop(report.nodeid)
            shared_s, self._shared_s = self._shared_s, 0.0
            if report.nodeid in self._taken_back:
                self._taken_back.discard(report.nodeid)
                return
            if self._left is not None:
                self._left.discard(report.nodeid)
            self.reporter.case(report.nodeid, outcome or "passed", seconds, message, shared_s=shared_s)


_collect = gc.collect


def collect_garbage(iterations: int) -> None:
    """Collect as often as pytest asks for at the end of a session, or until nothing is left to collect.

    Collections go on after the first one that finds nothing: a finalizer may have kept all that it found.
    With many objects, each takes 50 ms.
    """
    in_vain = 0
    for _ in range(iterations):
        in_vain = in_vain + 1 if _collect() == 0 else 0
        if in_vain == 2:
            return


_SHARED_SCOPES = ("module", "package", "session")
"""The scopes of fixtures that tests of several classes use."""


def _name(item: "pytest.Item") -> str:
    """Return the name of a test inside its file."""
    return item.nodeid.partition("::")[2]


_LEAVE_WORK_TO_A_CONTROLLER = ("syrupy", "pytest_benchmark")
"""Packages of plugins that do less where `PYTEST_XDIST_WORKER` is set, as a controller would do the rest.

syrupy (7.0) then reports no unused snapshots, and pytest-benchmark (5.3) measures nothing.
"""

_OF_THE_SESSION = (
    "pytest_configure",
    "pytest_sessionstart",
    "pytest_sessionfinish",
    "pytest_terminal_summary",
)


def _package(plugin: object) -> str:
    name = getattr(plugin, "__name__", None) or type(plugin).__module__
    return str(name).partition(".")[0]


def _worker_input() -> "dict[str, Any]":
    """Return what pytest-xdist (3.8) tells each of its workers."""
    return {
        "workerid": os.environ.get(WORKER, "gw0"),
        "workercount": int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")),
        "testrunuid": os.environ.get("PYTEST_XDIST_TESTRUNUID", ""),
        "mainargv": list(sys.argv),
    }


class _Node:
    """A worker as its controller sees it, for `pytest_configure_node`: this session is both."""

    class gateway:  # noqa: N801 - an attribute of pytest-xdist's node.
        id = ""

    def __init__(self, config: "Any") -> None:
        self.config = config
        self.workerinput = config.workerinput
        self.gateway.id = self.workerinput["workerid"]


def _configure_node(config: "Any") -> None:
    """Let conftests tell the worker what fixtures will ask `workerinput` for."""
    try:
        config.hook.pytest_configure_node(node=_Node(config))
    except Exception:  # Foreign code, which may want more of a node; plain pytest would not have called it.
        pass


_RANKS = {"": 0, "passed": 1, "skipped": 2, "xfailed": 3, "xpassed": 3, "error": 4, "failed": 5}


def _rank(outcome: str) -> int:
    return _RANKS[outcome]


def _outcome(report: "pytest.TestReport") -> str:
    if report.failed:
        return "failed" if report.when == "call" else "error"
    if hasattr(report, "wasxfail"):
        return "xfailed" if report.skipped else "xpassed"
    if report.skipped:
        return "skipped"
    return "passed" if report.when == "call" else ""


def _reason(report: "pytest.TestReport | pytest.CollectReport") -> str:
    if hasattr(report, "wasxfail"):
        return str(report.wasxfail)
    if report.skipped and isinstance(report.longrepr, tuple):
        return report.longrepr[2]
    text = report.longreprtext
    crash = getattr(report.longrepr, "reprcrash", None)
    if crash is None or _has_place(text) or " line %d" % crash.lineno in text:
        return text
    # With `--tb=no` and `--tb=line` pytest's text holds neither the place nor the whole message.
    marked = ["E   " + line for line in crash.message.splitlines()]
    return "\n".join([*marked, "", "%s:%d: " % (crash.path, crash.lineno)])


def _has_place(text: str) -> bool:
    """Whether a line is a place as pytest writes it: `path:line: ...`.

    It need not be that of the crash: pytest leaves out the frames inside `unittest`.
    """
    places = (line.partition(": ")[0].rpartition(":")[2] for line in text.splitlines() if line[:2] != "E ")
    return any(place.isdigit() for place in places)


def wrap_main(config_module: "ModuleType", reporter: "ReportWriter") -> None:
    """Make `pytest.main`, called by a script, report its tests; only its outermost call does."""
    original = config_module.main
    active: "list[int]" = []

    def main(
        args: "list[str] | None" = None, plugins: "list[object] | None" = None
    ) -> "int | pytest.ExitCode":
        if active:
            return original(args, plugins)  # type: ignore[no-any-return]
        active.append(1)
        try:
            return original(args, [*(plugins or ()), Plugin(reporter)])  # type: ignore[no-any-return]
        finally:
            active.pop()

    main.__wrapped__ = original  # type: ignore[attr-defined]
    main.__doc__ = original.__doc__
    config_module.main = main  # type: ignore[attr-defined]
