"""The first half of a pytest session, before its file is known; see `passmuster_child_session`.

`Preparation` performs the steps of `pytest.main` without conftests, and keeps the state that the second half
needs.
"""

import contextlib
import copy
import os

from passmuster_child_pytest import Plugin

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Iterator

CACHE_PLACEHOLDER = "-ocache_dir=/nonexistent/passmuster/pytest_cache"
"""No child's: each has its own. Nothing is there, as in a new file's temporary directory."""

OLDEST, TOO_NEW = (7, 4), (10,)

_VERSION, _SETS_VERSION = "PYTEST_VERSION", (8, 2)
"""The variable, and the first version of pytest that sets it."""


class Unsupported(Exception):  # noqa: N818 - it is an answer rather than an error.
    """The session cannot be prepared, or not for this file; the message is one line that says why.

    Where it is raised nothing has been printed, and no test has run.
    """


@contextlib.contextmanager
def running() -> "Iterator[None]":
    """Set the variable by which code sees that pytest runs, as `pytest.main` does."""
    import pytest

    before = os.environ.get(_VERSION)
    if getattr(pytest, "version_tuple", (0,))[:2] >= _SETS_VERSION:
        os.environ[_VERSION] = pytest.__version__
    try:
        yield
    finally:
        if before is not None:
            os.environ[_VERSION] = before
        else:
            os.environ.pop(_VERSION, None)


class Preparation:
    """A configured and started session without its conftests, and what they are to be loaded with.

    Args:
        plugin: Passmuster's plugin.

    Attributes:
        config: pytest's `Config`.
        session: pytest's `Session`.
        early: the plugins that are registered before the conftests as a rule.
        registered: all plugins.
        started: the plugins whose `pytest_sessionstart` has been called.
        capture: pytest's capture manager, stopped; None: capturing is switched off.
        load: the function that loads initial conftests, and `initial`: its named arguments.
        setup: what was found out about root and configuration file.
        arguments: the whole command line, and `unknown`: what of it no plugin knows.
        defaults: the options before the command line was parsed, and `parsed`: after.
        filters: the warning filters before anything was configured.
    """

    def __init__(self, plugin: Plugin) -> None:
        self.plugin = plugin
        self.config: "Any" = None
        self.session: "Any" = None
        self.capture: "Any" = None
        self.early: "set[Any]" = set()
        self.registered: "set[Any]" = set()
        self.started: "list[Any]" = []
        self.load: "Any" = None
        self.initial: "dict[str, Any]" = {}
        self.setup: "Any" = None
        self.arguments: "list[str]" = []
        self.unknown: "list[str]" = []
        self.defaults: "Any" = None
        self.parsed: "dict[str, Any]" = {}
        self.filters: "list[Any]" = []
        self._setup_call: "Any" = None

    def prepare(self) -> None:
        """Go as far as possible.

        Raises:
            Unsupported: this pytest does not go the way that is known.
            Exception: whatever pytest and its plugins raise.
        """
        import pytest

        version = tuple(getattr(pytest, "version_tuple", (0,)))[:2]
        if not OLDEST <= version < TOO_NEW:
            raise Unsupported("pytest %s is not known" % pytest.__version__)
        with running():
            self._prepare()

    def has_changed(self) -> bool:
        """Return whether pytest would find another root or configuration now."""
        function, args, named = self._setup_call
        return bool(tuple(function(*args, **named)) != self.setup)

    def undo(self) -> None:
        """Take back what can be taken back, after a failure."""
        if self.config is not None:
            try:
                self.config._ensure_unconfigure()
            except Exception:
                pass  # The reason that is reported comes first.

    def _prepare(self) -> None:
        import pytest
        from _pytest import config as config_module
        from _pytest import main as main_module

        self._read_configuration(config_module)
        config = self.config
        self.early = set(config.pluginmanager.get_plugins())
        self._ask_for_the_session(main_module)
        self.session = main_module.Session.from_config(config)
        self.session.exitstatus = pytest.ExitCode.OK
        config._do_configure()
        self._start_session()
        self._look_up_versions()
        self.capture = config.pluginmanager.get_plugin("capturemanager")
        if self.capture is not None:
            # Its files and saved descriptors would be shared by all children.
            self.capture.stop_global_capturing()
        self.registered = set(config.pluginmanager.get_plugins())

    def _read_configuration(self, config_module: "Any") -> None:
        """Do what `pytest.main` does first, but keep what it would load conftests with."""
        import warnings

        manager = config_module.PytestPluginManager
        self.load, setup = manager._set_initial_conftests, config_module.determine_setup

        def set_initial_conftests(pluginmanager: "Any", *args: object, **named: "Any") -> None:
            if args or not {"args", "rootpath", "noconftest", "confcutdir"} <= set(named):
                raise Unsupported("this pytest loads conftests in another way")
            config = pluginmanager.get_plugin("pytestconfig")
            self.initial = named
            pluginmanager._noconftest = True  # pytest 7.4 would load one as soon as there is a session.
            self.defaults = copy.copy(config.option)
            parser = config._parser
            parser.parse = lambda args, namespace=None: self._parse(parser, args, namespace)

        def determine_setup(*args: "Any", **named: "Any") -> "Any":
            self._setup_call = (setup, copy.deepcopy(args), copy.deepcopy(named))
            found = setup(*args, **named)
            self.setup = copy.deepcopy(tuple(found))  # pytest changes them later.
            return found

        manager._set_initial_conftests = set_initial_conftests
        config_module.determine_setup = determine_setup
        self.filters = list(warnings.filters)
        try:
            self.config = config_module._prepareconfig([CACHE_PLACEHOLDER], [self.plugin])
        finally:
            manager._set_initial_conftests = self.load
            config_module.determine_setup = setup
        if not self.initial or not self.parsed or self.setup is None:
            raise Unsupported("this pytest reads its configuration in another way")

    def _parse(self, parser: "Any", arguments: "list[str]", namespace: "Any") -> "Any":
        """Parse the command line; options that no plugin knows may be those of a conftest."""
        from _pytest.config.exceptions import UsageError

        del parser.parse
        self.arguments = list(arguments)
        try:
            parsed = parser.parse(arguments, namespace=copy.copy(namespace))
        except UsageError:
            parsed, self.unknown = parser.parse_known_and_unknown_args(arguments, copy.copy(namespace))
            if not self.unknown:
                raise
        self.parsed = dict(vars(parsed))
        vars(namespace).update(self.parsed)
        return namespace

    def _ask_for_the_session(self, main_module: "Any") -> None:
        """Call everybody who may change the options or run something else, but for the session itself."""
        asked: "list[object]" = []
        original = main_module.wrap_session

        def wrap_session(_config: object, doit: object) -> object:
            asked.append(doit)
            return asked

        main_module.wrap_session = wrap_session
        try:
            answer = self.config.hook.pytest_cmdline_main(config=self.config)
        finally:
            main_module.wrap_session = original
        if answer is not asked or asked != [main_module._main]:
            raise Unsupported("an option or a plugin of pytest runs something else than the tests")

    def _start_session(self) -> None:
        """Do the dearest part of the session's start: find the fixtures of all plugins."""
        pluginmanager = self.config.pluginmanager
        self.started = [pluginmanager.get_plugin(name) for name in ("fixtures", "runner")]
        if None in self.started or not hasattr(pluginmanager, "subset_hook_caller"):
            raise Unsupported("this pytest starts a session in another way")
        others = set(pluginmanager.get_plugins()) - set(self.started)
        pluginmanager.subset_hook_caller("pytest_sessionstart", others)(session=self.session)
        if not hasattr(self.session, "_fixturemanager") or not hasattr(self.session, "_setupstate"):
            raise Unsupported("this pytest starts a session in another way")

    def _look_up_versions(self) -> None:
        """Find out once what is in each session's header: else packages' metadata are parsed each time."""
        import platform

        import pluggy

        platform.python_version()
        vars(pluggy).setdefault("__version__", pluggy.__version__)
        for _, distribution in self.config.pluginmanager.list_plugin_distinfo():
            found = {name: getattr(distribution, name) for name in ("metadata", "version")}
            vars(distribution).update(found)
