"""Lets the runner start on a bare Python: uses its private environment, and has it made when missing.

Imported before everything else, and paid for at every start: it imports nothing that the interpreter
has not loaded already. `first_start` makes the environment; `run_tests.py` and `scripts/` call
`ensure_environment` as their first act.
"""

# ruff: noqa: PTH116, PTH118, PTH119, PTH120, PTH208
# (pathlib takes longer to import than everything this module does.)

# No `from __future__ import annotations`, and nothing newer than Python 3.6 in this file: an old
# Python must be able to read it as far as the version check, or its user sees a SyntaxError.
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

OLDEST_PYTHON = (3, 11)
EXIT_USAGE = 2
EXIT_INFRASTRUCTURE = 3

_GUARD = "passmuster_restarted"
"""Name of the -X option that tells a restarted process that it is one, so that it never restarts again."""


def ensure_environment(*, home: "os.PathLike[str] | str", groups: "tuple[str, ...]" = ("runtime",)) -> None:
    """Make the packages that the runner needs importable in this process, and no others.

    Uses `.venv` in `home`, in this process where the Python version fits, else by replacing the process.
    Makes or repairs it first where needed. Never touches `os.environ`.

    Args:
        home: the folder of the checkout, which holds `requirements/` and gets `.venv`.
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
        from passmuster.first_start import make_environment

        make_environment(home=home_path, groups=groups)
        if not _enter(venv, digests):
            fail(f"{venv} does not work with {sys.executable}; remove it and start again")


def end_at_interrupt() -> None:
    """Let a Ctrl-C end the process silently while imports last, instead of showing where it was."""
    import signal  # Not loaded by the interpreter itself; the environment has to be there first.

    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)


def raise_at_interrupt() -> None:
    """Let a Ctrl-C raise KeyboardInterrupt again: from here on somebody answers it."""
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


def private_python(home: "os.PathLike[str] | str") -> str:
    """Return the path of the private environment's interpreter, which need not exist yet."""
    return os.path.join(os.path.realpath(os.fspath(home)), ".venv", "bin", "python")


def base_python() -> str:
    """Return the interpreter for tests of a project that has none: the one under all environments.

    Never that of a virtual environment, so that no test sees the runner's packages.
    """
    found = getattr(sys, "_base_executable", "") or sys.executable
    if sys.prefix == sys.base_prefix:
        return str(found)
    # Debian has no `python` beside `python3`, which is what a `.venv/bin/python` makes of its name.
    folder = os.path.join(sys.base_exec_prefix, "bin")
    version = "{}.{}".format(*sys.version_info[:2])
    candidates = [found, *(os.path.join(folder, f"python{end}") for end in (version, "3", ""))]
    return next((path for path in candidates if os.access(path, os.X_OK)), str(found))


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


def fail(message: str, *, code: int = EXIT_INFRASTRUCTURE) -> "NoReturn":
    """Print one line on stderr and leave with exit status `code`."""
    sys.stderr.write(f"passmuster: {message}\n")
    raise SystemExit(code)


def hermetic_path(path: "list[str]", *, home: str) -> "list[str]":
    """Return `home` and the standard library's entries of `path`.

    An allow-list: what PYTHONPATH, site-packages, dist-packages, a `.pth` file or the current directory
    put there is gone, because a user's module may have the name of one of ours or of our packages.
    """
    stdlib = getattr(sys, "_stdlib_dir", None) or os.path.dirname(os.__file__)
    archive = "python{}{}.zip".format(*sys.version_info[:2])
    kept = [entry for entry in path if os.path.basename(entry) in ("lib-dynload", archive)]
    return [home, stdlib, *kept]


def python_tag() -> str:
    """Return what tells apart the Pythons that cannot share installed packages (`cpython-311`)."""
    return f"{sys.implementation.cache_tag}{getattr(sys, 'abiflags', '')}"


def marker_name(group: str, tag: str, digest: str) -> str:
    """Return the name of the file in `.venv` that says that `group` is installed there completely."""
    return f".passmuster-{group}-{tag}-{digest}"


def group_digests(home: str, groups: "tuple[str, ...]") -> "tuple[tuple[str, str], ...]":
    """Return each group with a digest of its pins, to notice that they changed."""
    # Imported here, after the path was cleaned. A checksum is enough, and hashlib would load OpenSSL.
    from zlib import crc32

    digests = []
    for group in groups:
        path = os.path.join(home, "requirements", f"{group}.txt")
        try:
            with open(path, "rb") as pins:
                digests.append((group, f"{crc32(pins.read()):08x}"))
        except OSError as error:
            fail(f"cannot read {path} ({error.strerror}); the checkout is incomplete, clone it again")
    return tuple(digests)


def is_ready(venv: str, digests: "tuple[tuple[str, str], ...]", *, tag: str) -> bool:
    """Return whether every group is installed in `venv` for the Python called `tag`."""
    try:
        for group, digest in digests:
            os.stat(os.path.join(venv, marker_name(group, tag, digest)))
    except OSError:
        return False
    return True


def ready_tags(venv: str, digests: "tuple[tuple[str, str], ...]") -> "list[str]":
    """Return the tags of all Pythons for which `venv` is ready: one, or none."""
    group, digest = digests[0]
    start, end = marker_name(group, "\0", digest).split("\0")
    try:
        names = [name for name in os.listdir(venv) if name.startswith(start) and name.endswith(end)]
    except OSError:
        return []
    tags = [name[len(start) : -len(end)] for name in names]
    return [tag for tag in tags if is_ready(venv, digests, tag=tag)]


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
