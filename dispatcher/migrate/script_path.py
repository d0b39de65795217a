"""Finds the path before the name of a script, and which script it means: the root's or another. Pure."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable
from enum import Enum

from msgspec import Struct

from dispatcher.migrate.shell_call import WINDOW

_PATH = re.compile(r"[\w.~/\\%*?$-]")
_WORD = re.compile(r"[\w.\-\udc80-\udcff]")
"""The next character of a longer name. A surrogate is a byte that is not UTF-8: most likely a letter."""

_ESCAPED_END = re.compile(r"(?:\\[nrt]|\[[0-9;]*m)\Z")
"""Escapes that end with a letter: a line's end or a colour, written out in a string."""

_ESCAPED_START = re.compile(r"(?:.*\\[nrt]|[0-9;]*m)(?=[./$~]|\Z)", re.DOTALL)
_COMMANDS = re.compile(r"dirname|pwd|rev-parse|realpath")


def is_whole_name(text: str, start: int, end: int) -> bool:
    """Return whether `text[start:end]` is a whole file name, and not a part of a longer one."""
    if start and _WORD.match(text[start - 1]) and not _ESCAPED_END.search(text, max(0, start - 12), start):
        return False
    following = text[end : end + 2]
    if following[:1] == "/":
        # Between two names a slash means "or".
        return text.startswith("run_", end + 1)
    if following[:1] == ".":
        return not _WORD.match(following[1:2] or " ")
    return following[:1] != "~" and not _WORD.match(following[:1] or " ")


def line_start(text: str, position: int) -> int:
    """Return the start of the line of a position, or of the last `WINDOW` characters before it."""
    return max(text.rfind("\n", 0, position) + 1, position - WINDOW)


def path_start(text: str, name: int) -> int:
    """Return where the path starts that ends with the name at `name`: `"$DIR"/x`, `$(pwd)/x`, `../x`."""
    first = line_start(text, name)
    position = name
    while position > first:
        jump = _path_part(text, position, name, first)
        if jump is None:
            break
        position = jump
    escaped = _ESCAPED_START.match(text, position, name)
    if escaped is not None and (text[position - 1 : position] == "[" or "\\" in escaped[0]):
        position = escaped.end()
    while position < name and text[position] == "-":
        # Prefixes of a command in a makefile.
        position += 1
    earlier = text.rfind(".sh/", position, name)
    if earlier >= 0:
        return earlier + len(".sh/")
    # Bold in Markdown, or the start of a pattern: no path.
    return name if set(text[position:name]) == {"*"} else position


def _path_part(text: str, position: int, name: int, first: int) -> int | None:
    """Return where the part of a path starts that ends before `position`; None: there is none."""
    letter, is_before_slash = text[position - 1], position < name and text[position] in "/\\"
    if letter in ")}":
        opening = _opening(text, position - 1, first)
        if opening is None:
            return None
        has_dollar = text[opening - 1 : opening] == "$"
        # Python's and templates' own braces come without one.
        return opening - has_dollar if has_dollar or (letter == "}" and is_before_slash) else None
    if letter in "\"'`" and is_before_slash:
        opening = text.rfind(letter, first, position - 1)
        inside = text[opening + 1 : position - 1] if opening >= 0 else ""
        is_path = _COMMANDS.search(inside) if letter == "`" else "$" in inside
        return opening if is_path else None
    return position - 1 if _PATH.match(letter) else None


def _opening(text: str, closing: int, first: int) -> int | None:
    pair = {")": "(", "}": "{"}[text[closing]]
    depth = 0
    for position in range(closing, first - 1, -1):
        depth += (text[position] == text[closing]) - (text[position] == pair)
        if depth == 0:
            return position
    return None


_NEARBY_LINES = 6
_NEARBY = 2000
"""Characters in which these lines are looked for, and of the longest address."""

_URL = re.compile(r"[A-Za-z][\w+.-]{0,20}://[^\s<>\"'`)\]]+|\bgit@[\w.-]+:[^\s<>\"'`)\]]+")
_MOVING = frozenset({"main", "master", "develop", "trunk", "HEAD"})
"""Parts of an address that lead to the current file, not to that of one commit."""


_PERSONAL = ("/home/", "/Users/")


class ScriptMatch(Enum):
    """Which script a reference means."""

    OURS = "the script in the repository's root"
    OTHER = "another file"
    UNKNOWN = "cannot be told"


class ReferenceContext(Struct, frozen=True, kw_only=True):
    """What is known about the position of a text.

    Args:
        exists: whether a path, relative to the root or absolute, exists and is not the root's script.
        addresses: `host/owner/repository` of the repository's remotes.
    """

    path: str
    root_name: str
    exists: Callable[[str], bool]
    addresses: frozenset[str] = frozenset()

    @property
    def names(self) -> set[str]:
        """The names of the repository's directory, here or elsewhere."""
        return {self.root_name, *(address.rpartition("/")[2] for address in self.addresses)}

    @property
    def folders(self) -> tuple[str, ...]:
        """The directory of the file and those above it, below the root, the nearest first."""
        parts = self.path.split("/")[:-1]
        return tuple("/".join(parts[:count]) for count in range(len(parts), 0, -1))


def match_script(text: str, start: int, name_start: int, name: str, context: ReferenceContext) -> ScriptMatch:
    """Return which script the path `text[start:name_start]` and the name after it mean."""
    path = text[start:name_start].replace("\\", "/")
    if "*" in path or "?" in path:
        return ScriptMatch.OURS
    is_open = bool(re.search(r"[$%`{]", path))
    folder = re.sub(r".*[$})`\"'%][^/]*", "", path, flags=re.DOTALL) if is_open else path
    folder = re.sub(r"/+", "/", folder)
    if folder.startswith("/") and not is_open:
        return _by_absolute_path(posixpath.normpath(folder), name, context)
    parts = [part for part in folder.split("/") if part not in ("", ".", "..", "~")]
    if parts:
        return _by_folder("/".join(parts), name, context)
    if folder.startswith("~"):
        return ScriptMatch.UNKNOWN
    if any(context.exists(f"{above}/{name}") for above in context.folders):
        return ScriptMatch.UNKNOWN if is_open else ScriptMatch.OTHER
    return ScriptMatch.OURS if is_open else _by_current_folder(text, start, name, context)


def _by_absolute_path(folder: str, name: str, context: ReferenceContext) -> ScriptMatch:
    if folder.rpartition("/")[2] in context.names:
        return ScriptMatch.OURS
    if context.exists(f"{folder}/{name}".replace("//", "/")):
        return ScriptMatch.OTHER
    # A path missing on this machine is most likely the repository's copy in a container, unless in a home.
    return ScriptMatch.UNKNOWN if folder.startswith(_PERSONAL) else ScriptMatch.OURS


def _by_folder(folder: str, name: str, context: ReferenceContext) -> ScriptMatch:
    if any(context.exists(posixpath.join(above, folder, name)) for above in ("", *context.folders)):
        return ScriptMatch.OTHER
    return ScriptMatch.OURS if folder.rpartition("/")[2] in context.names else ScriptMatch.UNKNOWN


def _by_current_folder(text: str, start: int, name: str, context: ReferenceContext) -> ScriptMatch:
    """Return which script a name without directories means where the current directory may have changed."""
    entered = re.findall(
        r"\b(?:cd|pushd)[ \t]+[\"']?([\w./-]+)[\"']?[ \t]*(?:&&|;)", text[line_start(text, start) : start]
    )
    if entered and _is_folder_of_another(entered[-1], name, context):
        return ScriptMatch.OTHER
    before = text[max(0, start - _NEARBY) : start].rsplit("\n", _NEARBY_LINES)[-_NEARBY_LINES:]
    after = text[start : start + _NEARBY].split("\n", _NEARBY_LINES)[:_NEARBY_LINES]
    nearby = "\n".join((*before, *after))
    named = re.findall(
        r"(?:\bcd|working-directory:|working_dir:|workdir:|WORKDIR)[ \t]+[\"']?([\w./-]+)", nearby
    )
    if any(_is_folder_of_another(folder, name, context) for folder in named):
        return ScriptMatch.UNKNOWN
    return ScriptMatch.OURS


def _is_folder_of_another(folder: str, name: str, context: ReferenceContext) -> bool:
    parts = [part for part in folder.split("/") if part not in ("", ".", "..")]
    return bool(parts) and _by_folder("/".join(parts), name, context) is ScriptMatch.OTHER


def by_address(text: str, start: int, name_start: int, context: ReferenceContext) -> ScriptMatch | None:
    """Return which script a name inside an address means; None: it is not inside one.

    Of the repository's own addresses, those of a branch mean the script; the address of a commit or a tag
    shows its content at that time.
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
            return ScriptMatch.OURS if _is_moving(address, context) else ScriptMatch.OTHER
    return None


def _is_moving(address: str, context: ReferenceContext) -> bool:
    for own in context.addresses:
        rest = address.removeprefix(f"{own}/")
        if rest != address:
            words = [
                word
                for word in rest.split("/")
                if word not in ("", "-", "blob", "raw", "tree", "refs", "heads")
            ]
            return len(words) == 1 and words[0] in _MOVING
    return False
