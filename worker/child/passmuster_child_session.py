"""Prepares a pytest session once, in a process that is then forked for each file.

    prepared = PreparedSession("tests/test_a.py")   # in the server: everything up to the session's start
    if os.fork() == 0:                              # in a child
        status = prepared.run("tests/test_b.py", reporter)

What takes longest is done before the fork: pytest and its plugins are imported, the configuration is read,
the plugins are configured, and the fixtures of the plugins are found. No code of the project runs there: the
conftests are loaded in the child, with capturing begun anew, and are then given the place that they would
have had among the plugins. Where that could make a difference to `pytest.main`, `Unsupported` is raised.
"""

import copy
import os
import sys

import passmuster_child_session_checks as checks
from passmuster_child_collect import Way
from passmuster_child_pytest import Plugin, cache_option
from passmuster_child_session_prepare import CACHE_PLACEHOLDER, Preparation, Unsupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from passmuster_child_report import Reporter

__all__ = ["PreparedSession", "Unsupported"]

_FREELY_CHANGED = ("markexpr", "keyword", "tbstyle")
"""Options that a conftest may set when it is configured: nobody looks at them before the collection."""


class PreparedSession:
    """A session of pytest that has begun and waits for its file.

    Made once, in a process that runs no tests itself; where that fails the process is no longer as it was
    and should be replaced. The working directory, `sys.path` and the environment are those that the files
    will have.

    Args:
        first_file: a test file, relative to the working directory or absolute. Its configuration is the
            session's.

    Attributes:
        rootdir: pytest's root directory.
        inifile: the configuration file; empty: there is none.

    Raises:
        Unsupported: this version of pytest, its plugins or the configuration do not allow it.
    """

    def __init__(self, first_file: str) -> None:
        self._reasons: "dict[str, str]" = {}
        self._made = made = Preparation(first_file, Plugin(None, Way))
        surroundings, interpreter = checks.Surroundings(), checks.Interpreter()
        silence = checks.Silence()
        try:
            with silence:
                made.prepare()
            surroundings.forget_temporary_directory()
            checks.aim_faulthandler(made.config)
            reason = _why_unfit(made, surroundings)
            if not reason and silence.has_output:
                reason = "a plugin of pytest prints before the session starts"
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
        self._interpreter = checks.Interpreter()
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

    def run(self, file: str, reporter: "Reporter") -> int:
        """Run a file to the end of its session, as `pytest.main` does; to be called once, in a forked child.

        Args:
            file: as `pytest.main` would get it.
            reporter: who is told about the tests.

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
        self._made.plugin.reporter = reporter
        original = config_module._prepareconfig

        def prepare(*_: object, **__: object) -> "Any":
            config_module._prepareconfig = original
            self._finish(file)
            return self._made.config

        config_module._prepareconfig = prepare
        return pytest.main(["-o", cache_option(), file], plugins=[self._made.plugin])

    def _why_not(self, file: str, folder: str) -> str:
        made = self._made
        found = made.find_setup(file)
        if found[:2] != made.setup[:2]:
            return "its configuration is another one: %s" % (found[1] or found[0])
        if found[2:] != made.setup[2:]:
            return "the configuration has changed: %s" % found[1]
        if os.path.join(folder, "").find(os.path.join(self.rootdir, "")) != 0:
            return "it is not below the root directory"
        if made.initial["noconftest"]:
            return ""
        above = set()
        cut = os.path.abspath(str(made.initial["confcutdir"] or os.sep))
        while os.path.dirname(cut) != cut:
            cut = os.path.dirname(cut)
            above.add(cut)
        return str(checks.why_conftests(folder, lambda path: path not in above))

    def _finish(self, file: str) -> None:
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
        _adopt(self._made, file)
        try:
            conftests = _load_conftests(self._made, file)
            _configure_conftests(self._made, conftests, file)
        except (KeyboardInterrupt, Unsupported):
            raise
        except BaseException as error:
            raise Unsupported("its conftests cannot be loaded late: " + _one_line(error)) from error
        _hand_over(self._made)


def _why_unfit(made: Preparation, surroundings: checks.Surroundings) -> str:
    config = made.config
    if not isinstance(getattr(config.hook.pytest_configure, "_hookimpls", None), list):
        return "this version of pluggy is not known"
    return str(
        checks.why_setting(config)
        or checks.why_foreign(config, made.plugin)
        or checks.why_modules(surroundings.modules, [os.getcwd(), str(config.rootpath)])
        or surroundings.why_changed((checks.faulthandler_descriptor(config),))
    )


def _adopt(made: Preparation, file: str) -> None:
    """Put a file, and the place of its cache, where the first one's are."""
    from pathlib import Path

    config = made.config
    cache = cache_option()

    def swapped(value: "Any") -> "Any":
        if not isinstance(value, (list, tuple)):
            return value
        return type(value)(
            cache if item == CACHE_PLACEHOLDER else item for item in made.with_file(value, file)
        )

    config.args = swapped(config.args)
    for namespace in (config.option, config.known_args_namespace):
        namespace.file_or_dir = swapped(namespace.file_or_dir)
        namespace.override_ini = swapped(namespace.override_ini)
    made.arguments = swapped(made.arguments)
    made.initial["args"] = swapped(made.initial["args"])
    old = config.invocation_params
    config.invocation_params = type(old)(args=swapped(old.args), plugins=old.plugins, dir=old.dir)
    config._inicache.pop("cache_dir", None)
    folder = cache.partition("=")[2]
    if hasattr(config, "_override_ini"):
        config._override_ini = swapped(config._override_ini)
    else:
        import dataclasses

        config._inicfg["cache_dir"] = dataclasses.replace(config._inicfg["cache_dir"], value=folder)
    if getattr(config, "cache", None) is not None:
        config.cache._cachedir = Path(folder)


def _load_conftests(made: Preparation, file: str) -> "list[Any]":
    """Load the file's conftests as `pytest.main` does before it configures; return the plugins that came."""
    import warnings

    config = made.config
    pluginmanager = config.pluginmanager
    before = set(pluginmanager.get_plugins())
    history = config.hook.pytest_configure._call_history
    config.hook.pytest_configure._call_history = []  # They are configured when the options are known.
    pluginmanager._configured = False
    with warnings.catch_warnings():
        warnings.filters[:] = made.filters  # type: ignore[index]
        with _catch_warnings(config):
            _while_capturing(made.capture, lambda: made.load(pluginmanager, **made.initial))
    pluginmanager._configured = True
    config.hook.pytest_configure._call_history = history
    conftests = [plugin for plugin in pluginmanager.get_plugins() if plugin not in before]
    reason = checks.why_late(conftests)
    if reason:
        raise Unsupported(reason)
    return conftests


def _catch_warnings(config: "Any") -> "Any":
    """Return what pytest catches warnings with while it loads conftests."""
    import contextlib

    if not config.pluginmanager.has_plugin("warnings"):
        return contextlib.nullcontext()
    from _pytest.warnings import catch_warnings_for_item

    return catch_warnings_for_item(config=config, ihook=config.hook, when="config", item=None)


def _while_capturing(capture: "Any", function: "Any") -> None:
    if capture is None:
        function()
        return
    capture.start_global_capturing()
    try:
        function()
    finally:
        capture.suspend_global_capture()


def _configure_conftests(made: Preparation, conftests: "list[Any]", file: str) -> None:
    """Parse the options that conftests added, configure them, and give them their place."""
    config = made.config
    pluginmanager = config.pluginmanager
    if made.unknown or any(hasattr(plugin, "pytest_addoption") for plugin in conftests):
        _parse_again(made)
    if config.args != [file]:
        raise Unsupported("the configuration adds files or folders to the command line")
    fixtures = made.session._fixturemanager
    if conftests and hasattr(fixtures, "_pending_conftests"):
        fixtures._flush_pending_conftests_to_session(made.session)
    before = dict(vars(config.option))
    hook = config.hook.pytest_configure
    history = hook._call_history
    hook._call_history = []
    others = set(pluginmanager.get_plugins()) - set(conftests)
    if any(impl.plugin in conftests for impl in hook.get_hookimpls()):
        pluginmanager.subset_hook_caller("pytest_configure", others).call_historic(kwargs={"config": config})
    hook._call_history = history
    for name, value in vars(config.option).items():
        if name in made.parsed and value != before[name] and name not in _FREELY_CHANGED:
            raise Unsupported("a conftest changes the option %s" % name)
    for plugin in set(pluginmanager.get_plugins()) - others:
        for caller in pluginmanager.get_hookcallers(plugin) or ():
            _put_in_order(caller, made.early, others)


def _parse_again(made: Preparation) -> None:
    """Parse the command line with the conftests' options; what was set since the first time stays."""
    option = made.config.option
    namespace = copy.copy(made.defaults)
    for name, value in vars(option).items():
        if not hasattr(namespace, name):
            setattr(namespace, name, value)
    parsed = made.config._parser.parse(made.arguments, namespace=namespace)
    for name, value in vars(parsed).items():
        if name not in made.parsed or value != made.parsed[name]:
            setattr(option, name, value)
    made.config.args = list(parsed.file_or_dir)


def _put_in_order(caller: "Any", early: "set[Any]", others: "set[Any]") -> None:
    """Put a hook's implementations into the order that they have when conftests are loaded in time.

    pluggy keeps them by kind (wrappers last; of each, `trylast`, neither, `tryfirst`), and then by the time
    of registration, the latest of those with `trylast` first.
    """

    def rank(impl: "Any") -> "tuple[bool, int, int]":
        is_wrapper = bool(impl.hookwrapper or getattr(impl, "wrapper", False))
        time = 0 if impl.plugin in early else 2 if impl.plugin in others else 1
        if impl.trylast:
            return is_wrapper, 0, -time
        return is_wrapper, 2 if impl.tryfirst else 1, time

    caller._hookimpls.sort(key=rank)


def _hand_over(made: Preparation) -> None:
    """Have `pytest.main` find its session made, configured, and started as far as it is."""
    from _pytest import main as main_module

    config = made.config
    pluginmanager = config.pluginmanager
    hook, session_class = config.hook, main_module.Session
    command, start = hook.pytest_cmdline_main, hook.pytest_sessionstart

    class Session:
        """Stands for pytest's until it has been asked for the one session."""

        @staticmethod
        def from_config(_config: object) -> object:
            main_module.Session = session_class  # type: ignore[misc]
            hook.pytest_cmdline_main = command
            return made.session

    def configure() -> None:
        del config._do_configure

    def started() -> None:
        hook.pytest_sessionstart = start

    main_module.Session = Session  # type: ignore[assignment,misc]
    config._do_configure = configure
    main_plugin = pluginmanager.get_plugin("main")
    not_main = set(pluginmanager.get_plugins()) - {main_plugin}
    hook.pytest_cmdline_main = pluginmanager.subset_hook_caller("pytest_cmdline_main", not_main)
    hook.pytest_sessionstart = pluginmanager.subset_hook_caller("pytest_sessionstart", made.started)
    made.plugin.on_start = started


def _one_line(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return "%s: %s" % (type(error).__name__, text[:300]) if text else type(error).__name__
