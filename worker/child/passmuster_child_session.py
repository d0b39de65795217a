"""Prepares a pytest session once, in a process that is then forked for each file.

    prepared = PreparedSession()                    # in the server: everything up to the session's start
    if os.fork() == 0:                              # in a child
        status = prepared.run("tests/test_b.py", reporter)

The slow steps happen before the fork: pytest and its plugins are imported, the configuration is read, the
plugins are configured, and their fixtures are found. The child restarts capturing, loads the conftests, and
puts them at their usual position among the plugins. A server that is forked from the first one can load them
for its children (`hold_conftests`). If the result could differ from `pytest.main`, `Unsupported` is raised.
"""

import glob
import os
import sys
import tempfile

import passmuster_child_session_checks as checks
from passmuster_child_collect import CollectionPath
from passmuster_child_executed_conftests import ExecutedConftests
from passmuster_child_identity import IdentityReads
from passmuster_child_pytest import Plugin, cache_option
from passmuster_child_session_finish import (
    adopt,
    configure_conftests,
    hand_over,
    load_conftests,
    start_capture,
)
from passmuster_child_session_prepare import Preparation, Unsupported, running

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable

    from passmuster_child_report import ReportWriter
    from passmuster_child_select import Selection

__all__ = ["PreparedSession", "Unsupported"]


class PreparedSession:
    """A pytest session that has started and waits for its file.

    Made once, in a process that runs no tests itself; where that fails the process is no longer as it was
    and should be replaced. The working directory, `sys.path` and the environment are those that the files
    will have.

    Args:
        may_hold: whether pytest may import modules of the project meanwhile, for a category in
            `filterwarnings`. Whoever asks for that has to find out whether they do anything else.

    Attributes:
        own_modules: the names of those modules.
        rootdir: pytest's root directory.
        inifile: the configuration file; empty: there is none.
        executed_conftests: those that pytest finds executed when it loads them.

    Raises:
        Unsupported: this version of pytest, its plugins or the configuration do not allow it.
    """

    def __init__(self, *, may_hold: bool = False) -> None:
        self._reasons: "dict[str, str]" = {}
        self._made = made = Preparation(Plugin(None, make_way=CollectionPath))
        surroundings, interpreter = checks.ProcessSnapshot(), checks.InterpreterState()
        silence, reads = checks.Silence(), IdentityReads()
        try:
            with silence, reads:
                made.prepare()
            surroundings.forget_temporary_directory()
            checks.aim_faulthandler(made.config)
            places = [os.getcwd(), str(made.config.rootpath)]
            self.own_modules = checks.own_modules(surroundings.modules, places)
            reason = self._why_unfit(surroundings, may_hold=may_hold)
            if not reason and silence.has_output:
                reason = "a plugin of pytest prints before the session starts"
            if not reason and reads.names:
                reason = "a plugin of pytest " + reads.reason()
            if reason:
                raise Unsupported(reason)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            with checks.Silence():
                made.undo()
            if isinstance(error, Unsupported):
                raise
            raise Unsupported(_one_line(error)) from error
        self.rootdir = str(made.config.rootpath)
        self.inifile = str(made.config.inipath or "")
        self._environment = surroundings.changed_environment()
        self._path = (surroundings.path, list(sys.path))
        self._interpreter = checks.InterpreterState()
        self._conftest_folders = self._find_conftest_folders()
        self._conftests: "list[str] | None" = None
        """The initial conftests that are loaded; None: each file loads them itself."""
        self._streams = checks.StreamWatch()
        self.executed_conftests = ExecutedConftests(made.config, self.initial_conftests())
        interpreter.restore()
        if not self.initial_conftests():
            self._load_ahead(IdentityReads())  # What pytest itself does then is the same for each file.

    def _why_unfit(self, surroundings: checks.ProcessSnapshot, *, may_hold: bool) -> str:
        config = self._made.config
        if not isinstance(getattr(config.hook.pytest_configure, "_hookimpls", None), list):
            return "this version of pluggy is not known"
        plugins = config.pluginmanager.get_plugins()
        return str(
            checks.why_setting(config)
            or checks.why_foreign(config, self._made.plugin)
            or checks.why_own(self.own_modules, plugins, may_hold=may_hold)
            or surroundings.why_changed((checks.faulthandler_descriptor(config),))
        )

    def hold_conftests(self, reads: IdentityReads) -> str:
        """Load the initial conftests for all files that will be forked from this process; called once.

        Args:
            reads: watches while they are loaded.

        Returns:
            Why the loaded conftests cannot be used, or "".

        Raises:
            Unsupported: they cannot be loaded before the file is known.
            BaseException: whatever they raise.
        """
        reason = self._why_conftests()
        if reason:
            raise Unsupported(reason)
        self._load_ahead(reads, self._streams.note)
        return (
            "keeps standard output or error as they are while pytest captures"
            if self._streams.are_kept()
            else ""
        )

    def _load_ahead(self, reads: IdentityReads, on_capture: "Callable[[], object]" = bool) -> None:
        """Load the initial conftests for all files that will be forked from this process."""
        environment, interpreter = dict(os.environ), checks.InterpreterState()
        self._interpreter.restore()
        with running(), reads:
            self._load_conftests(on_capture)
        self._conftests = self.initial_conftests()
        if self._made.capture is not None:
            self._made.capture.stop_global_capturing()
        self._environment.update(checks.changed_environment(environment))
        self._path = (self._path[0], list(sys.path))
        self._interpreter = checks.InterpreterState()
        interpreter.restore()

    def why_not(self, file: str) -> str:
        """Return why a file cannot run in this session, in one line; empty: it can.

        Found out once for each folder, in a millisecond.
        """
        folder = os.path.dirname(os.path.abspath(file))
        if folder not in self._reasons:
            try:
                self._reasons[folder] = self._why_not(file, folder)
            except Exception as error:  # Foreign code, on files in any state.
                self._reasons[folder] = _one_line(error)
        return self._reasons[folder]

    def run(self, file: str, reporter: "ReportWriter", selection: "Selection") -> int:
        """Run a file to the end of its session, as `pytest.main` does; to be called once, in a forked child.

        Args:
            file: as `pytest.main` would get it.
            reporter: gets the reports of the tests.
            selection: the tests of the file that run; without arguments of pytest, which come too late here.

        Returns:
            What `pytest.main` returns.

        Raises:
            Unsupported: the file cannot run in this session after all. Its conftests may have been loaded.
        """
        import pytest
        from _pytest import config as config_module

        reason = self.why_not(file)
        if reason:
            raise Unsupported(reason)
        plugin = self._made.plugin
        plugin.reporter, plugin.file, plugin.selection = reporter, file, selection
        plugin.select(self._made.config)
        original = config_module._prepareconfig

        def prepare(*_: object, **__: object) -> "Any":
            config_module._prepareconfig = original
            self._finish()
            return self._made.config

        config_module._prepareconfig = prepare
        environment, folder = dict(os.environ), os.getcwd()
        try:
            return pytest.main([cache_option()], plugins=[self._made.plugin])
        except Unsupported:
            # For the fallback to another start method: a conftest may have changed them.
            os.environ.clear()
            os.environ.update(environment)
            os.chdir(folder)
            raise

    def _why_not(self, file: str, folder: str) -> str:
        made = self._made
        if made.has_changed():
            return "the configuration has changed: %s" % self.inifile
        if os.path.join(folder, "").find(os.path.join(self.rootdir, "")) != 0:
            return "it is not below the root directory"
        return self._why_conftests()

    def _why_conftests(self) -> str:
        """Return which initial conftest does what must happen before the session is configured."""
        return next(filter(None, map(checks.why_conftest, self.initial_conftests())), "")

    def initial_conftests(self) -> "list[str]":
        """Return the conftests that pytest loads before it configures, as they are now."""
        if self._made.initial["noconftest"]:
            return []
        paths = (os.path.join(folder, "conftest.py") for folder in self._conftest_folders)
        return list(filter(os.path.exists, paths))

    def _find_conftest_folders(self) -> "list[str]":
        """Return the folders whose conftests pytest loads before it configures, if they have one."""
        above = set()
        cut = os.path.abspath(str(self._made.initial["confcutdir"] or os.sep))
        while os.path.dirname(cut) != cut:
            cut = os.path.dirname(cut)
            above.add(cut)
        found: "dict[str, None]" = {}
        for folder in self._initial_folders():
            while folder not in found:
                if folder not in above:
                    found[folder] = None
                if os.path.dirname(folder) == folder:
                    break
                folder = os.path.dirname(folder)
        return list(found)

    def _initial_folders(self) -> "list[str]":
        """Return the folders whose conftests, with those above them, pytest loads before it configures."""
        folders = []
        for argument in self._made.initial["args"]:
            anchor = os.path.abspath(str(argument).split("::")[0])
            folders.append(anchor if os.path.isdir(anchor) else os.path.dirname(anchor))
            folders += [
                path for path in glob.glob(os.path.join(glob.escape(anchor), "test*")) if os.path.isdir(path)
            ]
        return folders

    def _finish(self) -> None:
        """Do what is left of a session's preparation, up to where it starts."""
        for name, value in self._environment.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        if sys.path == self._path[0]:
            sys.path[:] = self._path[1]
        self._interpreter.restore()
        checks.aim_faulthandler(self._made.config)
        if self._made.capture is not None and os.environ.get("TMPDIR"):
            # Capturing asks for it at once, and finds it out by writing a file.
            tempfile.tempdir = os.path.abspath(os.environ["TMPDIR"])
        adopt(self._made)
        if self._conftests is not None:
            if self._conftests != self.initial_conftests():
                raise Unsupported("there are other initial conftests than when the run started")
            start_capture(self._made)
            self._streams.renew()
            if self._made.capture is not None:
                self._made.capture.suspend_global_capture()
        else:
            self._load_conftests()
        hand_over(self._made)

    def _load_conftests(self, on_capture: "Callable[[], object]" = bool) -> None:
        try:
            conftests = load_conftests(self._made, on_capture)
            configure_conftests(self._made, conftests)
        except (KeyboardInterrupt, Unsupported):
            raise
        except BaseException as error:
            raise Unsupported("its conftests cannot be loaded late: " + _one_line(error)) from error


def _one_line(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return "%s: %s" % (type(error).__name__, text[:300]) if text else type(error).__name__
