"""The private environment next to the script: its location, its marker files, and its base Python.

Loaded at every start with `bootstrap`, under the same rules: it imports nothing that the interpreter has not
loaded already, and uses nothing newer than Python 3.6.
"""

# ruff: noqa: PTH116, PTH118, PTH208
# (pathlib takes longer to import than everything this module does.)

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

EXIT_INFRASTRUCTURE = 3


def private_python(home: "os.PathLike[str] | str") -> str:
    """Return the path of the private environment's interpreter, which need not exist yet."""
    return os.path.join(os.path.realpath(os.fspath(home)), ".venv", "bin", "python")


def base_python() -> str:
    """Return the interpreter for projects without their own: never that of a virtual environment.

    Tests therefore never see the runner's packages.
    """
    found = getattr(sys, "_base_executable", "") or sys.executable
    if sys.prefix == sys.base_prefix:
        return str(found)
    # Debian has `python3` only, but `_base_executable` of `.venv/bin/python` ends with `python`.
    folder = os.path.join(sys.base_exec_prefix, "bin")
    version = "{}.{}".format(*sys.version_info[:2])
    candidates = [found, *(os.path.join(folder, f"python{end}") for end in (version, "3", ""))]
    return next((path for path in candidates if os.access(path, os.X_OK)), str(found))


def fail(message: str, *, code: int = EXIT_INFRASTRUCTURE) -> "NoReturn":
    """Print one line on stderr and exit with status `code`."""
    sys.stderr.write(f"passmuster: {message}\n")
    raise SystemExit(code)


def python_tag() -> str:
    """Return the tag of the Pythons that can share installed packages (`cpython-311`)."""
    return f"{sys.implementation.cache_tag}{getattr(sys, 'abiflags', '')}"


def marker_name(group: str, tag: str, digest: str) -> str:
    """Return the name of the file in `.venv` that exists once `group` is completely installed."""
    return f".passmuster-{group}-{tag}-{digest}"


def group_digests(home: str, groups: "tuple[str, ...]") -> "tuple[tuple[str, str], ...]":
    """Return each group with a digest of its pins, by which changes are noticed."""
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
