"""Which script the path before a name means: the repository's own, another one, or nobody can tell. Pure."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable
from enum import Enum

from msgspec import Struct

from dispatcher.migrate.shell_words import line_start

_NEARBY_LINES = 6
_NEARBY = 2000
"""Characters in which these lines are looked for, and of the longest address."""

_URL = re.compile(r"[A-Za-z][\w+.-]{0,20}://[^\s<>\"'`)\]]+|\bgit@[\w.-]+:[^\s<>\"'`)\]]+")
_MOVING = frozenset({"main", "master", "develop", "trunk", "HEAD"})
"""Parts of an address after which a file of today is meant, and not that of one commit."""


_PERSONAL = ("/home/", "/Users/")


class Meant(Enum):
    """Which script a reference means."""

    OURS = "the script in the repository's root"
    OTHER = "another file"
    UNKNOWN = "cannot be told"


class Surroundings(Struct, frozen=True, kw_only=True):
    """What is known about the place of a text.

    Args:
        path: the file, relative to the root.
        root_name: the root folder's own name.
        exists: whether a path, relative to the root or absolute, is there and is not the root's script.
        addresses: `host/owner/repository` of the repository's remotes.
    """

    path: str
    root_name: str
    exists: Callable[[str], bool]
    addresses: frozenset[str] = frozenset()

    @property
    def names(self) -> set[str]:
        """What the folder of the repository is called, here or elsewhere."""
        return {self.root_name, *(address.rpartition("/")[2] for address in self.addresses)}

    @property
    def folders(self) -> tuple[str, ...]:
        """The folder of the file and those above it, below the root, the nearest first."""
        parts = self.path.split("/")[:-1]
        return tuple("/".join(parts[:count]) for count in range(len(parts), 0, -1))


def meant_script(text: str, start: int, name_start: int, name: str, place: Surroundings) -> Meant:
    """Return which script is meant by the path `text[start:name_start]` and the name behind it."""
    path = text[start:name_start].replace("\\", "/")
    if "*" in path or "?" in path:
        return Meant.OURS
    is_open = bool(re.search(r"[$%`{]", path))
    folder = re.sub(r".*[$})`\"'%][^/]*", "", path, flags=re.DOTALL) if is_open else path
    folder = re.sub(r"/+", "/", folder)
    if folder.startswith("/") and not is_open:
        return _by_absolute_path(posixpath.normpath(folder), name, place)
    parts = [part for part in folder.split("/") if part not in ("", ".", "..", "~")]
    if parts:
        return _by_folder("/".join(parts), name, place)
    if folder.startswith("~"):
        return Meant.UNKNOWN
    if any(place.exists(f"{above}/{name}") for above in place.folders):
        return Meant.UNKNOWN if is_open else Meant.OTHER
    return Meant.OURS if is_open else _by_current_folder(text, start, name, place)


def _by_absolute_path(folder: str, name: str, place: Surroundings) -> Meant:
    if folder.rpartition("/")[2] in place.names:
        return Meant.OURS
    if place.exists(f"{folder}/{name}".replace("//", "/")):
        return Meant.OTHER
    # What is not on this machine is most likely the repository's copy in a container, but for people's own.
    return Meant.UNKNOWN if folder.startswith(_PERSONAL) else Meant.OURS


def _by_folder(folder: str, name: str, place: Surroundings) -> Meant:
    if any(place.exists(posixpath.join(above, folder, name)) for above in ("", *place.folders)):
        return Meant.OTHER
    return Meant.OURS if folder.rpartition("/")[2] in place.names else Meant.UNKNOWN


def _by_current_folder(text: str, start: int, name: str, place: Surroundings) -> Meant:
    """Return which script a name without folders means, where some folder may have been entered before."""
    entered = re.findall(
        r"\b(?:cd|pushd)[ \t]+[\"']?([\w./-]+)[\"']?[ \t]*(?:&&|;)", text[line_start(text, start) : start]
    )
    if entered and _is_folder_of_another(entered[-1], name, place):
        return Meant.OTHER
    before = text[max(0, start - _NEARBY) : start].rsplit("\n", _NEARBY_LINES)[-_NEARBY_LINES:]
    after = text[start : start + _NEARBY].split("\n", _NEARBY_LINES)[:_NEARBY_LINES]
    nearby = "\n".join((*before, *after))
    named = re.findall(
        r"(?:\bcd|working-directory:|working_dir:|workdir:|WORKDIR)[ \t]+[\"']?([\w./-]+)", nearby
    )
    if any(_is_folder_of_another(folder, name, place) for folder in named):
        return Meant.UNKNOWN
    return Meant.OURS


def _is_folder_of_another(folder: str, name: str, place: Surroundings) -> bool:
    parts = [part for part in folder.split("/") if part not in ("", ".", "..")]
    return bool(parts) and _by_folder("/".join(parts), name, place) is Meant.OTHER


def by_address(text: str, start: int, name_start: int, place: Surroundings) -> Meant | None:
    """Return which script the address means in which a name stands; None: it stands in none.

    Of the repository's own addresses those of a branch that moves on are ours. An address of a commit or a
    tag shows what was there then.
    """
    first = max(text.rfind("\n", 0, start) + 1, start - _NEARBY)
    last = text.find("\n", name_start, name_start + _NEARBY)
    if "://" not in text[first:name_start] and "git@" not in text[first:name_start]:
        return None
    for match in _URL.finditer(text, first, last if last >= 0 else name_start + _NEARBY):
        if match.start() <= name_start < match.end():
            address = re.sub(
                r"\A[a-z+]*://(?:[^@/]*@)?(?:www\.)?|\.git(?=/|\Z)", "", text[match.start() : name_start]
            )
            address = address.replace("raw.githubusercontent.com/", "github.com/")
            return Meant.OURS if _is_moving(address, place) else Meant.OTHER
    return None


def _is_moving(address: str, place: Surroundings) -> bool:
    for own in place.addresses:
        rest = address.removeprefix(f"{own}/")
        if rest != address:
            words = [
                word
                for word in rest.split("/")
                if word not in ("", "-", "blob", "raw", "tree", "refs", "heads")
            ]
            return len(words) == 1 and words[0] in _MOVING
    return False
