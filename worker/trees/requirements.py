"""What a requirements.txt names, as far as that is simple: packages, and versions given with `==`.

Purely about text. Whatever is not simple is not judged: options, other files, environment markers, ranges.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from msgspec import Struct

_LINE = re.compile(
    r"(?P<name>[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)\s*(?:\[[^\]]*\])?\s*(?P<rest>(?:[<>=!~@(].*)?)"
)
_EXACT = re.compile(r"==\s*([A-Za-z0-9.+!_-]+)")


class Requirement(Struct, frozen=True, kw_only=True):
    """A package that must be there.

    Args:
        name: in its normal form (PEP 503).
        version: which one; empty: any.
    """

    name: str
    version: str = ""


def parse_requirements(text: str) -> tuple[Requirement, ...]:
    """Return the simple lines of a requirements.txt, each package once."""
    found: dict[str, Requirement] = {}
    for line in text.replace("\\\r\n", " ").replace("\\\n", " ").splitlines():
        words = re.sub(r"(^|\s)#.*", "", line)
        words = re.split(r"\s--", words, maxsplit=1)[0].strip()
        matched = _LINE.fullmatch(words)
        if matched is None or ";" in words:
            continue
        name = normal_name(matched["name"])
        exact = _EXACT.fullmatch(matched["rest"].strip())
        found.setdefault(name, Requirement(name=name, version=exact[1] if exact else ""))
    return tuple(found.values())


def missing(wanted: Iterable[Requirement], installed: Mapping[str, str]) -> tuple[str, ...]:
    """Return what is not there, for people.

    Args:
        wanted: what should be.
        installed: the version of each package that is, by its normal name.
    """
    found = []
    for one in wanted:
        version = installed.get(one.name)
        if version is None:
            found.append(f"{one.name}=={one.version}" if one.version else one.name)
        elif one.version and not _is_same(one.version, version):
            found.append(f"{one.name}=={one.version} (it has {version})")
    return tuple(found)


def normal_name(name: str) -> str:
    """Return a package's name in the form in which names are compared (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _is_same(wanted: str, version: str) -> bool:
    """Compare as PEP 440 does for plain versions: `1.0` is `1`, and `1` takes `1+local`."""
    if "+" not in wanted:
        version = version.partition("+")[0]
    return _plain(wanted) == _plain(version)


def _plain(version: str) -> str:
    return re.sub(r"(\.0+)+$", "", version.lower().removeprefix("v"))
