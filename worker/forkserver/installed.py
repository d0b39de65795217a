"""Identifies an interpreter together with its installed packages."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from msgspec import Struct

_METADATA = (".dist-info", ".egg-info", ".egg-link", ".pth")
_MAX_BYTES = 4_000_000


class Installed(Struct, frozen=True, kw_only=True):
    """The packages that are installed for one interpreter.

    Attributes:
        identity: changes when the interpreter or the installed packages do.
        folders: its folders of installed packages that exist.
    """

    identity: str
    folders: tuple[str, ...]


def installed(executable: str, version: str, folders: Iterable[str] | None = None) -> Installed:
    """Return the packages that an interpreter has installed, without starting it.

    Args:
        executable: its path as it runs the tests; a link in a virtual environment is not resolved.
        version: such as "3.12.1".
        folders: its directories of installed packages; None: the usual ones.
    """
    places = tuple(package_folders(executable, version) if folders is None else folders)
    digest = hashlib.blake2b(
        f"{os.path.realpath(executable)}|{executable}|{version}".encode(), digest_size=12
    )
    found: list[str] = []
    for folder in places:
        try:
            modified = os.stat(folder).st_mtime_ns
            names = sorted(name for name in os.listdir(folder) if name.endswith(_METADATA))
        except OSError:
            continue
        found.append(folder)
        digest.update(f"\n{folder}|{modified}|{'|'.join(names)}".encode(errors="surrogateescape"))
        # A link to a project elsewhere, or code that runs at start: its content counts too.
        for name in names:
            if name.endswith((".pth", ".egg-link")):
                digest.update(_content(os.path.join(folder, name)))
    return Installed(identity=digest.hexdigest(), folders=tuple(found))


def package_folders(executable: str, version: str) -> Iterator[str]:
    """Yield the usual directories of an interpreter's installed packages; some may not exist."""
    short = ".".join(version.split(".")[:2])
    prefix = os.path.dirname(os.path.dirname(os.path.abspath(executable)))
    prefixes = [prefix]
    settings = _content(os.path.join(prefix, "pyvenv.cfg")).decode(errors="replace")
    if settings:
        values = dict(_setting(line) for line in settings.splitlines())
        if values.get("include-system-site-packages", "").lower() != "true":
            yield from _folders_of(prefix, short)
            return
        prefixes.append(os.path.dirname(values.get("home", "")))
    else:
        prefixes.append(os.path.dirname(os.path.dirname(os.path.realpath(executable))))
    yield str(Path("~").expanduser() / ".local" / "lib" / f"python{short}" / "site-packages")
    for place in dict.fromkeys(prefixes):
        yield from _folders_of(place, short)


def _folders_of(prefix: str, short: str) -> Iterator[str]:
    yield os.path.join(prefix, "lib", f"python{short}", "site-packages")
    if prefix == "/usr":
        # Debian's own places.
        yield f"/usr/local/lib/python{short}/dist-packages"
        yield "/usr/lib/python3/dist-packages"


def _setting(line: str) -> tuple[str, str]:
    name, _, value = line.partition("=")
    return name.strip().lower(), value.strip()


def _content(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(_MAX_BYTES)
    except OSError:
        return b""
