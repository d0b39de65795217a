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
"""Name of the -X option that tells a restarted process that it is one, so that it never restarts again."""


def ensure_environment(*, home: "os.PathLike[str] | str", groups: "tuple[str, ...]" = ("runtime",)) -> None:
    """Make the packages that the runner needs importable in this process, and no others.

    Uses `.venv` in `home`, in this process where the Python version fits, else by replacing the process.
    Makes or repairs it first where needed. Never touches `os.environ`.

    Args:
        groups: the files of `requirements/` to install, without `.txt`.

    Raises:
        SystemExit: Python is too old (2), or the environment could not be made (3); one line says why.
    """
    refuse_old_python(sys.version_info[:2])
    home_path = os.path.realpath(os.fspath(home))
    # The path is cleaned first: from here on nothing of the user's project can be imported by mistake.
    sys.path[:] = hermetic_path(sys.path, home=home_path)
    venv = os.path.join(home_path, ".venv")
    digests = group_digests(home_path, groups)
    if not _enter(venv, digests):
        # Loaded only now: it brings subprocess, and nearly every start can do without.
        from passmuster.launch.private_venv import make_environment

        make_environment(home=home_path, groups=groups)
        if not _enter(venv, digests):
            fail(f"{venv} does not work with {sys.executable}; remove it and start again")


def end_at_interrupt() -> None:
    """Let a Ctrl-C end the process silently while imports last, instead of showing where it was."""
    import signal  # Not loaded by the interpreter itself; the environment has to be there first.

    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)


def raise_at_interrupt() -> None:
    """Let Ctrl-C raise KeyboardInterrupt again, which is handled from here on."""
    import signal

    if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def import_msgspec() -> None:
    """Import msgspec without typing_extensions, which it takes where that is installed.

    It can do with `typing`; the other one brings `inspect`, and importing it takes as long as all of msgspec.
    """
    if "typing_extensions" in sys.modules:
        return
    sys.modules["typing_extensions"] = None  # type: ignore[assignment]  # An import of it fails.
    try:
        import msgspec  # noqa: F401
    finally:
        del sys.modules["typing_extensions"]


def refuse_old_python(version: "tuple[int, ...]") -> None:
    """Leave with one line and exit status 2 when `version` (major, minor) is too old."""
    if tuple(version) < OLDEST_PYTHON:
        needed = "{}.{}".format(*OLDEST_PYTHON)
        found = "{}.{}".format(*version)
        fail(
            f"Python {needed} or later is needed, but {sys.executable} is Python {found};"
            f" start it with a newer one, such as: python{needed} {sys.argv[0]}",
            code=EXIT_USAGE,
        )


def hermetic_path(path: "list[str]", *, home: str) -> "list[str]":
    """Return `home` and the standard library's entries of `path`.

    An allow-list: what PYTHONPATH, site-packages, dist-packages, a `.pth` file or the current directory
    put there is gone, because a user's module may have the name of one of ours or of our packages.
    """
    stdlib = getattr(sys, "_stdlib_dir", None) or os.path.dirname(os.__file__)
    archive = "python{}{}.zip".format(*sys.version_info[:2])
    kept = [entry for entry in path if os.path.basename(entry) in ("lib-dynload", archive)]
    return [home, stdlib, *kept]


def _enter(venv: str, digests: "tuple[tuple[str, str], ...]") -> bool:
    """Use `venv` from here on, if it is ready: in this process, or by becoming its interpreter."""
    if is_ready(venv, digests, tag=python_tag()):
        # No restart under the environment's interpreter: that would cost more than all of this.
        sys.path.append(_site_packages(venv))
        return True
    if _GUARD not in sys._xoptions and ready_tags(venv, digests):
        python = os.path.join(venv, "bin", "python")
        sys.stdout.flush()
        sys.stderr.flush()
        try:
            os.execv(python, [python, "-X", _GUARD, *sys.orig_argv[1:]])
        except OSError:
            # Its interpreter was uninstalled: the environment has to be made anew.
            return False
    return False


def _site_packages(venv: str) -> str:
    name = "pypy" if sys.implementation.name == "pypy" else "python"
    threads = "t" if "t" in getattr(sys, "abiflags", "") else ""
    version = "{}.{}".format(*sys.version_info[:2])
    return os.path.join(venv, "lib", f"{name}{version}{threads}", "site-packages")
