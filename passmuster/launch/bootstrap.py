"""Lets Passmuster start on a bare Python: enters its private environment, which is created if missing.

Imported before everything else at every start, so it imports nothing that the interpreter has not loaded
already. `private_venv` creates the environment; `run_tests.py` and `scripts/` call `ensure_environment`
first.
"""

# ruff: noqa: PTH118, PTH119, PTH120
# (pathlib takes longer to import than everything this module does.)

# No `from __future__ import annotations`, and nothing newer than Python 3.6 in this file: an old
# Python must be able to read it as far as the version check, or its user sees a SyntaxError.
import os
import sys

from passmuster.launch.environment import fail, group_digests, is_ready, python_tag, ready_tags

OLDEST_PYTHON = (3, 11)
EXIT_USAGE = 2

_GUARD = "passmuster_restarted"
"""The -X option of a restarted process, which must not restart again."""


def ensure_environment(*, home: "os.PathLike[str] | str", groups: "tuple[str, ...]" = ("runtime",)) -> None:
    """Make the packages that the runner needs importable in this process, and no others.

    Enters `.venv` of the checkout `home`: in this process if the Python version fits, else by replacing the
    process. Creates or repairs it first if needed. Never changes `os.environ`.

    Args:
        groups: the files of `requirements/` to install, without `.txt`.

    An older Python can enter an environment that a newer one created, such as `python3.11` where `python3` is
    3.10, but cannot create one.

    Raises:
        SystemExit: Python is too old (2), or the environment cannot be created (3); one line says why.
    """
    home_path = os.path.realpath(os.fspath(home))
    # From here on, nothing of the user's project can be imported by mistake.
    sys.path[:] = hermetic_path(sys.path, home=home_path)
    venv = os.path.join(home_path, ".venv")
    digests = group_digests(home_path, groups)
    if not _enter(venv, digests):
        refuse_old_python(sys.version_info[:2])
        # Loads subprocess, which few starts need.
        from passmuster.launch.private_venv import make_environment

        make_environment(home=home_path, groups=groups)
        if not _enter(venv, digests):
            fail(f"{venv} does not work with {sys.executable}; remove it and start again")


def end_at_interrupt() -> None:
    """Let Ctrl-C end the process silently during the imports, instead of showing a traceback."""
    import signal

    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)


def raise_at_interrupt() -> None:
    """Let Ctrl-C raise KeyboardInterrupt again: `main` handles it."""
    import signal

    if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def import_msgspec() -> None:
    """Import msgspec without typing_extensions, even if that is installed.

    `typing` is enough for it. typing_extensions loads `inspect`, which takes as long as all of msgspec.
    """
    if "typing_extensions" in sys.modules:
        return
    sys.modules["typing_extensions"] = None  # type: ignore[assignment]  # An import of it fails.
    try:
        import msgspec  # noqa: F401
    finally:
        del sys.modules["typing_extensions"]


def refuse_old_python(version: "tuple[int, ...]") -> None:
    """Exit with one line and status 2 if `version` (major, minor) is too old."""
    if tuple(version) < OLDEST_PYTHON:
        needed = "{}.{}".format(*OLDEST_PYTHON)
        found = "{}.{}".format(*version)
        fail(
            f"Python {needed} or later is needed, but {sys.executable} is Python {found};"
            f" start it with a newer one, such as: python{needed} {sys.argv[0]}"
            " (docs/how-to/install.md says how to install it)",
            code=EXIT_USAGE,
        )


def hermetic_path(path: "list[str]", *, home: str) -> "list[str]":
    """Return `home` and the standard library's entries of `path`.

    Entries from PYTHONPATH, site-packages, `.pth` files and the current directory are dropped: a user's
    module may have the name of one of Passmuster's modules or packages.
    """
    stdlib = getattr(sys, "_stdlib_dir", None) or os.path.dirname(os.__file__)
    archive = "python{}{}.zip".format(*sys.version_info[:2])
    kept = [entry for entry in path if os.path.basename(entry) in ("lib-dynload", archive)]
    return [home, stdlib, *kept]


def _enter(venv: str, digests: "tuple[tuple[str, str], ...]") -> bool:
    """Use `venv` if it is ready, in this process or by becoming its interpreter; return whether it was."""
    if is_ready(venv, digests, tag=python_tag()):
        # A restart under the environment's interpreter would cost more than all of this.
        sys.path.append(_site_packages(venv))
        return True
    if _GUARD not in sys._xoptions and ready_tags(venv, digests):
        python = os.path.join(venv, "bin", "python")
        sys.stdout.flush()
        sys.stderr.flush()
        try:
            # Before 3.10, the options of Python itself are unknown.
            os.execv(python, [python, "-X", _GUARD, *getattr(sys, "orig_argv", ["", *sys.argv])[1:]])
        except OSError:
            return False  # Its interpreter was uninstalled.
    return False


def _site_packages(venv: str) -> str:
    name = "pypy" if sys.implementation.name == "pypy" else "python"
    threads = "t" if "t" in getattr(sys, "abiflags", "") else ""
    version = "{}.{}".format(*sys.version_info[:2])
    return os.path.join(venv, "lib", f"{name}{version}{threads}", "site-packages")
