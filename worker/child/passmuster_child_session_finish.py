"""The second half of a pytest session, after its file is known; see `passmuster_child_session`.

The functions are called in a forked child, in the order of this module. All but the last may find that the
file cannot run in this session.
"""

import copy

import passmuster_child_session_checks as checks
from passmuster_child_executed_conftests import unchecked_marks
from passmuster_child_pytest import cache_option
from passmuster_child_session_prepare import CACHE_PLACEHOLDER, Preparation, Unsupported

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable

_FREELY_CHANGED = ("markexpr", "keyword", "tbstyle")
"""Options that a conftest may set when it is configured: pytest reads them only after the collection."""


def adopt(made: Preparation) -> None:
    """Put the place of a file's cache where that of the preparation is."""
    from pathlib import Path

    config = made.config
    cache = cache_option()
    changed = {CACHE_PLACEHOLDER: cache, CACHE_PLACEHOLDER[2:]: cache[2:]}

    def swapped(value: "Any") -> "Any":
        if not isinstance(value, (list, tuple)):
            return value
        return type(value)(changed.get(item, item) for item in value)

    for namespace in (config.option, config.known_args_namespace):
        namespace.override_ini = swapped(namespace.override_ini)
    made.arguments = swapped(made.arguments)
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


def load_conftests(made: Preparation, on_capture: "Callable[[], object]" = bool) -> "list[Any]":
    """Load the initial conftests as `pytest.main` does before it configures; return the plugins that came.

    Args:
        made: the session.
        on_capture: called when pytest captures already, and nothing has been loaded yet.
    """
    import warnings

    config = made.config
    pluginmanager = config.pluginmanager
    history = config.hook.pytest_configure._call_history
    config.hook.pytest_configure._call_history = []  # They are configured when the options are known.
    pluginmanager._configured = False
    hooks = checks.exception_hooks()
    with warnings.catch_warnings():
        warnings.filters[:] = made.filters  # type: ignore[index]
        with _catch_warnings(config):
            start_capture(made)
            on_capture()
            try:
                with unchecked_marks():
                    made.load(pluginmanager, **made.initial)
            finally:
                if made.capture is not None:
                    made.capture.suspend_global_capture()
    pluginmanager._configured = True
    config.hook.pytest_configure._call_history = history
    conftests = [plugin for plugin in pluginmanager.get_plugins() if plugin not in made.registered]
    reason = checks.why_late(conftests)
    if checks.exception_hooks() != hooks:
        # pytest puts its own in their place when it configures, which it has done.
        reason = "a conftest replaces sys.unraisablehook or threading.excepthook"
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


def start_capture(made: Preparation) -> None:
    """Start capturing, for which a process needs files of its own; it lasts until it is suspended."""
    if made.capture is not None:
        made.capture.start_global_capturing()


def configure_conftests(made: Preparation, conftests: "list[Any]") -> None:
    """Parse the options that conftests added, configure them, and give them their place."""
    config = made.config
    pluginmanager = config.pluginmanager
    if made.unknown or any(hasattr(plugin, "pytest_addoption") for plugin in conftests):
        _parse_again(made)
    fixtures = made.session._fixturemanager
    if conftests and hasattr(fixtures, "_pending_conftests"):
        fixtures._flush_pending_conftests_to_session(made.session)
    before = {name: copy.copy(value) for name, value in vars(config.option).items() if name in made.parsed}
    hook = config.hook.pytest_configure
    history = hook._call_history
    hook._call_history = []
    if any(impl.plugin in conftests for impl in hook.get_hookimpls()):
        pluginmanager.subset_hook_caller("pytest_configure", made.registered).call_historic(
            kwargs={"config": config}
        )
    hook._call_history = history
    for name, value in before.items():
        if getattr(config.option, name, None) != value and name not in _FREELY_CHANGED:
            raise Unsupported("a conftest changes the option %s" % name)
    if made.registered - set(pluginmanager.get_plugins()):
        raise Unsupported("a conftest removes a plugin")
    for plugin in set(pluginmanager.get_plugins()) - made.registered:
        for caller in pluginmanager.get_hookcallers(plugin) or ():
            _put_in_order(caller, made)


def _parse_again(made: Preparation) -> None:
    """Parse the command line with the conftests' options; what was set since the first time stays."""
    option = made.config.option
    namespace = copy.copy(made.defaults)
    for name, value in vars(option).items():
        # argparse warns of an empty list of files; the first time there was none.
        if not hasattr(namespace, name) and name != "file_or_dir":
            setattr(namespace, name, value)
    parsed = made.config._parser.parse(made.arguments, namespace=namespace)
    for name, value in vars(parsed).items():
        if name not in made.parsed or value != made.parsed[name]:
            setattr(option, name, value)


def _put_in_order(caller: "Any", made: Preparation) -> None:
    """Put a hook's implementations into the order that they have when conftests are loaded in time.

    pluggy keeps them by kind (wrappers last; of each, `trylast`, neither, `tryfirst`), and then by the time
    of registration, the latest of those with `trylast` first.
    """

    def rank(impl: "Any") -> "tuple[bool, int, int]":
        is_wrapper = bool(impl.hookwrapper or getattr(impl, "wrapper", False))
        time = 0 if impl.plugin in made.early else 2 if impl.plugin in made.registered else 1
        if impl.trylast:
            return is_wrapper, 0, -time
        return is_wrapper, 2 if impl.tryfirst else 1, time

    caller._hookimpls.sort(key=rank)


def hand_over(made: Preparation) -> None:
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
