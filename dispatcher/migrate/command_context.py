"""Tells what the command does in which the name of a script stands: run, read, copy, or pass it on. Pure.

A command is found in any text: a shell's line with its continuations, a string of JSON or Python, a recipe of
make, an instruction of a Dockerfile, a step of a workflow or of Jenkins.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from msgspec import Struct

from dispatcher.migrate.script_path import line_start
from dispatcher.migrate.shell_call import NAMES, SHELL, WINDOW, shell_before
from dispatcher.model.invocation import SHELLS, Invocation, find_invocation

PROSE = (".md", ".rst", ".txt", ".adoc", ".markdown", ".html")
_DATA = (".json", ".jsonc", ".json5")
_YAML = (".yml", ".yaml")

_LINTERS = "shellcheck|shfmt|shellharden|bashate|checkbashisms|beautysh|bats|kcov"
_TOOL = re.compile(rf"(?<![\w-])({_LINTERS}|sed|awk|perl|patch)(?![\w-])")
_LINTER = re.compile(rf"(?<![A-Za-z])({_LINTERS})(?![A-Za-z])")
_READERS = frozenset(
    {
        *("head", "tail", "cat", "less", "grep", "egrep", "fgrep", "rg", "wc", "diff", "cmp"),
        *("cut", "od", "xxd", "hexdump", "strings", "file", "mapfile", "dos2unix", "md5sum"),
        *("sha1sum", "sha256sum", "cksum"),
    }
)
"""Programs for which the content of a file matters."""

_COPIERS = frozenset({"cp", "mv", "install", "scp", "rsync", "COPY", "ADD"})
_FILE_PROGRAMS = frozenset(
    {
        *_READERS,
        *_COPIERS,
        *("chmod", "chown", "rm", "ln", "ls", "stat", "touch", "test", "find", "git", "realpath"),
    }
)
"""Programs for which a word is a file, which the name of a command is not."""

_FILE_TEST = re.compile(r"(?:^|\s)-[defrsxw][ \t]+[\"']?\Z")
_KEYWORDS = frozenset(
    {"if", "then", "else", "elif", "while", "until", "do", "!", "RUN", "CMD", "ENTRYPOINT", "$", "-"}
)
_SEPARATOR = re.compile(r"[|;&`(\[]|\{(?!\})")
_SOURCED = re.compile(r"(?:^|[\s;&|({`\"'])(?:source|\.)[ \t]+(?:\\?[\"'])?\Z")
_REDIRECTED = re.compile(r"(?<![<\w])<[ \t]*[\"']?\Z")
_PYTHON_READ = re.compile(r"\b(?:open|linecache\.\w+)\([^()\n]*\Z")
_PYTHON_READS = re.compile(r"[^\n;]{0,200}?\)*\.(?:read_text|read_bytes|readlines?|open)\(")
_PYTHON_COPY = re.compile(r"\bshutil\.(?:copy\w*|move)\([^\n]*\Z|\bcopyfile\([^\n]*\Z")
_GIVEN_LOOSELY = re.compile(
    # A string that ends with a shell's name; a shell and a path that is not understood; f"sh {x / '...
    rf"[\"'](?:[^\"'\n]*[ \t/])?{NAMES}(?:[ \t]+-\w+)*[ \t]*[\"']"
    rf"|(?<![\w.])(?:[\w-]+-)?{NAMES}(?:[ \t]+-\S+)*[ \t]+\S*\Z"
    rf"|(?<![\w.-]){NAMES}[ \t]+\{{[^}}\n]*\Z"
    rf"|--entrypoint[= ][\"']?(?:/bin/)?{NAMES}\b"
)
_GIVEN_IN_DATA = re.compile(
    rf"[\"'](?:command|cmd|program|executable|entrypoint|interpreter|runtimeExecutable)[\"']\s*:\s*[\"']{SHELL}[\"']"
)
_GIVEN_ABOVE = re.compile(
    rf"(?:[\"'](?:{SHELL})[\"'],?|-[ \t]+(?:{SHELL}))[ \t]*#[^\n]*\n[ \t]*(?:-[ \t]+)?[\"']?\Z"
)
_ENTRYPOINT = re.compile(
    rf"(?i:entrypoint)[: \t][ \t]*\[?[ \t]*[\"']?(?:{SHELL})[\"']?[ \t]*\]?[ \t]*\n[^\n]*\Z"
)
_GROOVY_STEP = re.compile(
    r"(?<![\w.])sh\b[ \t]*\(?[^\n\"']*(?:(?:label|encoding)\s*:\s*[\"'][^\"']*[\"'],\s*[^\n\"']*)?[\"']{1,3}"
)
_GROOVY_TEXT = re.compile(r"\b(?:pipeline|stages?|steps|node|script)\b[^\n]{0,40}\{|```groovy")
_COPY_INSTRUCTION = re.compile(r"[ \t]*(?:COPY|ADD)[ \t]")
_EXEC = re.compile(r"\s-(?:exec|execdir|ok)\s+([^;]*)")
_HISTORY_FILES = frozenset(
    {
        *("changelog", "changes", "history", "news", "release_notes", "releasenotes"),
        *("release-notes", "releases", "whatsnew"),
    }
)
_HISTORY_FOLDERS = frozenset(
    {
        *("changelog", "changelog.d", "changelogs", "newsfragments", "whatsnew", ".changeset"),
        *("releasenotes",),
    }
)
_NEWS_FRAGMENT = re.compile(r"[+0-9][\w-]*\.\w+\.(?:md|rst|txt)")
"""The names that towncrier gives to parts of a changelog."""

COPIED = "run_tests.py alone does not run elsewhere: it needs the folders beside it"
READ = "reads its text, which becomes Python code"


def is_history(path: str) -> bool:
    """Return whether a file describes earlier versions, such as a changelog."""
    *folders, name = path.lower().split("/")
    stem, dot, ending = name.partition(".")
    if _NEWS_FRAGMENT.fullmatch(name) or (stem in _HISTORY_FILES and not dot):
        return True
    is_told = stem in _HISTORY_FILES or not _HISTORY_FOLDERS.isdisjoint(folders)
    return is_told and f".{ending.rpartition('.')[2]}" in PROSE


class CommandContext(Struct, frozen=True, kw_only=True):
    """A word and the command in which it stands.

    Args:
        path: of the file, relative to the repository's root.
        start: where the command starts, after the last separator.
        word: where the word starts, with the path before the name.
        end: where it ends.
    """

    text: str
    path: str
    start: int
    word: int
    end: int

    @property
    def before(self) -> str:
        """The command up to the word."""
        return self.text[self.start : self.word]

    @property
    def words(self) -> list[str]:
        """The words of the command before the word, without quotes and brackets."""
        found = [part for part in re.split(r"[\s\"'`\[\](){},\\]+", self.before) if part]
        # After a key of YAML, or the target of a recipe on one line.
        keys = [number for number, part in enumerate(found) if part.endswith(":") and set(part) != {":"}]
        found = [part.lstrip("@") for part in found[keys[-1] + 1 if keys else 0 :]]
        while found and (found[0] in _KEYWORDS or not found[0]):
            found.pop(0)
        return [part.removeprefix("-") if not number else part for number, part in enumerate(found)]

    @property
    def invocation(self) -> Invocation | None:
        """What the command runs; None: the word itself, or there is no command."""
        words = self.words
        found = find_invocation([*words, "run_tests.sh"])
        return found if found.position < len(words) else None

    @property
    def program(self) -> str:
        """The program of the command; empty: the word itself is what it runs, or there is no command."""
        found = self.invocation
        return "" if found is None else found.name


def command_at(text: str, path: str, word: int, end: int) -> CommandContext:
    """Return the command in which a word stands."""
    start = _in_string(text, logical_start(text, word, path), word)
    start += max((match.end() for match in _SEPARATOR.finditer(text[start:word])), default=0)
    return CommandContext(text=text, path=path, start=start, word=word, end=end)


def logical_start(text: str, word: int, path: str) -> int:
    """Return the start of a line, with the lines before that it continues."""
    earliest = max(0, word - WINDOW)
    start = line_start(text, word)
    while start > earliest and text[max(0, start - 3) : start].rstrip("\r\n").endswith("\\"):
        start = max(text.rfind("\n", 0, start - 1) + 1, earliest)
    if not path.endswith(_YAML):
        return start
    # In a folded block, whose header ends with `>`, all lines are one.
    indent = _indent(text, start)
    above = start
    while above > earliest:
        previous = max(text.rfind("\n", 0, above - 1) + 1, earliest)
        line = text[previous : above - 1]
        if line.strip() and _indent(text, previous) < indent:
            return above if re.search(r"[:-][ \t]+>[-+0-9]*[ \t]*(?:#.*)?\r?\Z", line) else start
        above = previous
    return start


def _indent(text: str, start: int) -> int:
    return len(text[start : start + WINDOW]) - len(text[start : start + WINDOW].lstrip(" "))


def _in_string(text: str, start: int, word: int) -> int:
    """Return the start of the string in which the word stands with other words, or `start`."""
    found, opened = start, ""
    position = start
    while position < word:
        letter = text[position]
        if letter == "\\":
            position += 1
        elif opened:
            opened = "" if letter == opened else opened
        elif letter == '"' or (letter == "'" and not text[position - 1 : position].isalnum()):
            opened, found = letter, position + 1
        position += 1
    if found == word and text[max(start, found - 9) : found].rstrip("\"' ").endswith(":"):
        # The whole value of a key.
        return word
    # Another quote directly before the word belongs to the word.
    return found if opened and found < word else start


def manual_edit_reason(context: CommandContext) -> str:
    """Return why only a person can change a script's name in this context; "" if no person is needed."""
    text, word, end = context.text, context.word, context.end
    before = text[line_start(text, word) : word]
    if _SOURCED.search(before):
        return "a Python program cannot be sourced"
    if context.path.rpartition("/")[2] == ".editorconfig" or "linguist-language" in _rest(text, end):
        return "it describes a shell script"
    tool = _TOOL.search(context.before) or _linter_around(context)
    if tool is not None:
        return f"{tool[1]} processes it, and would get Python code"
    reason = _fed_reason(context) or _content_reason(context)
    if reason:
        return reason
    is_given = _is_given_loosely(context, before) and shell_before(text, word) is None
    if is_given and not is_groovy_step(context):
        return "it seems to be passed to a shell, which cannot run Python code"
    if re.match(r":\d|#L\d", text[end : end + 3]):
        return "it names a line of the old script"
    return ""


def _rest(text: str, end: int) -> str:
    newline = text.find("\n", end, end + WINDOW)
    return text[end : newline if newline >= 0 else end + WINDOW]


def _linter_around(context: CommandContext) -> re.Match[str] | None:
    """Return the linter that the item of a YAML list is about, in which the word stands."""
    text, above = context.text, context.text.rfind("\n", 0, context.word) + 1
    indent = _indent(text, above)
    while above > max(0, context.word - 2 * WINDOW):
        previous = text.rfind("\n", 0, above - 1) + 1
        line = text[previous:above].strip()
        if line and _indent(text, previous) < indent:
            indent = _indent(text, previous)
            if line.startswith("- "):
                item = text[previous : context.word]
                return re.search(rf"\b(?:id|uses|repo|entry)\s*:[^\n]*?({_LINTERS})", item)
        above = previous
    return None


def _fed_reason(context: CommandContext) -> str:
    """Return why a program that gets the name as data cannot use a Python program; "": there is none."""
    if _REDIRECTED.search(context.before) and context.text[context.end : context.end + 1] != ">":
        return "its text is read, and would be Python code"
    if context.before.rstrip("\"' \t").endswith("<<<"):
        return "it is the input of a command, which may pass it to a shell"
    for what, words in _later_commands(context):
        found = find_invocation(words)
        program = found.name or (words[0] if words else "")
        if found.shell or program in SHELLS:
            if not found.shell or found.name.startswith("{"):
                return f"{what} a shell, which cannot run Python code"
        elif _LINTER.fullmatch(program) or program in ("sed", "awk", "perl"):
            return f"{program} processes it, and would get Python code"
        elif program in _READERS:
            return f"{program} {READ}"
    return ""


def _later_commands(context: CommandContext) -> Iterator[tuple[str, list[str]]]:
    """Yield the words of the commands that get the word as an argument or as input."""
    rest = _rest(context.text, context.end)
    for part in _EXEC.findall(rest):
        yield "find passes it to", part.split()
    if ":::" in context.before:
        words = context.before.partition(":::")[0].split()
        start = next((number for number, one in enumerate(words) if one.endswith("parallel")), 0)
        yield "parallel passes it to", words[start:]
    if context.program in ("", *SHELLS):
        return
    for part in re.split(r"(?<!\|)\|(?!\|)", re.split(r"\|\||&&|;", rest)[0])[1:]:
        words = [one for one in re.split(r"[\s\"'`]+", part) if one]
        if words[:1] in (["xargs"], ["parallel"]):
            yield f"{words[0]} passes it to", words
        elif words[:1] == ["while"] or words[:1] == ["for"]:
            yield "a loop may pass it to", ["sh"]
        elif words and words[0] in SHELLS:
            yield "it is the input of", words


def _content_reason(context: CommandContext) -> str:
    """Return why a command that reads or copies the file cannot take a Python program; "": none does."""
    text, word, end = context.text, context.word, context.end
    program = context.program
    if program in _READERS:
        return f"{program} {READ}"
    if _COPY_INSTRUCTION.match(text, logical_start(text, word, context.path)):
        return COPIED
    if program in _COPIERS or context.words[:2] in (["docker", "cp"], ["git", "mv"], ["podman", "cp"]):
        return COPIED
    line = text[line_start(text, word) : word]
    if _PYTHON_COPY.search(line):
        return COPIED
    if _PYTHON_READ.search(line) or (
        re.match(r"[\"']", text[end : end + 1]) and _PYTHON_READS.match(text, end)
    ):
        return f"the code {READ}"
    found = context.invocation
    if found is not None and found.shell and found.code is None:
        return f"it is an argument of {found.name}, which may pass it to a shell"
    return ""


def _is_given_loosely(context: CommandContext, before: str) -> bool:
    if context.path.endswith(_DATA):
        given = _GIVEN_IN_DATA.search(before) or _GIVEN_LOOSELY.search(context.before)
        in_list = before.rfind("[") > before.rfind("]") and _GIVEN_LOOSELY.search(before, before.rfind("["))
        return bool(given or in_list)
    first = max(0, context.word - WINDOW)
    above = (pattern.search(context.text, first, context.word) for pattern in (_GIVEN_ABOVE, _ENTRYPOINT))
    return bool(_GIVEN_LOOSELY.search(before) or any(above))


def is_groovy_step(context: CommandContext) -> bool:
    """Return whether the word stands in the text of a step `sh` of Jenkins, where it is a command."""
    name = context.path.rpartition("/")[2]
    text, word = context.text, context.word
    is_groovy = name.startswith("Jenkinsfile") or name.endswith((".groovy", ".jenkinsfile"))
    if not is_groovy and not _GROOVY_TEXT.search(text, max(0, word - 5 * WINDOW), word):
        return False
    steps = list(_GROOVY_STEP.finditer(text, max(0, word - 5 * WINDOW), word))
    if not steps:
        return False
    quote = text[steps[-1].end() - 1]
    opening = steps[-1][0][len(steps[-1][0].rstrip(quote)) :]
    return opening not in text[steps[-1].end() : word]


def is_file_operation(context: CommandContext) -> bool:
    """Return whether a command treats the word as a file (`chmod`, `[ -f`), which a command's name is not."""
    return context.program in _FILE_PROGRAMS or _FILE_TEST.search(context.before) is not None


_USES = (
    (
        re.compile(
            rf"(?<![\w./-])(?:{SHELL}|source|\.)(?:[ \t]+-\w+)*[ \t]+[\"']?\$+[{{(]?(?P<name>\w+)"
            rf"|[\"'](?:/bin/)?(?:bash|sh)[\"'](?P<words>[^\n]{{0,{WINDOW}}})"
        ),
        "passes it to a shell, which cannot run Python code",
    ),
    (
        re.compile(rf"(?<![\w./-])(?:{_LINTERS})\b[^\n]*?\$+[{{(]?(?P<name>\w+)(?P<words>)"),
        "passes it to a tool for shell scripts, which would get Python code",
    ),
    (
        re.compile(
            r"\b(?P<name>\w+)\)*\.(?:read_text|read_bytes|readlines?|open)\("
            r"|\bopen\((?P<words>[^\n()]{1,80})\)"
        ),
        READ,
    ),
    (
        re.compile(rf"\b(?:{'|'.join(sorted(_READERS))})\b[^\n|;&]*\$\{{?(?P<name>\w+)(?P<words>)"),
        READ,
    ),
    (re.compile(r"\bshutil\.(?:copy\w*|move)\((?:str\()?(?P<name>\w+)(?P<words>)"), "copies it; " + COPIED),
)
_LOOP = re.compile(r"\bfor[ \t]+(\w+)[ \t]+in[ \t]+[\"'$({]*(\w+)")
_ASSIGNED = re.compile(
    r"(?:\b(\w+)[\"']?[ \t]*(?::=|\?=|=|:)[ \t]*[^=\n]*|\bfor[ \t]+(\w+)[ \t]+in\b[^\n]*)\Z"
)


def later_uses(text: str) -> dict[str, tuple[int, str]]:
    """Return the variables that a text gives to a shell, reads or copies, each with line and reason."""
    uses: dict[str, tuple[int, str]] = {}
    for pattern, reason in _USES:
        for match in pattern.finditer(text):
            names = [match["name"]] if match["name"] else re.findall(r"\w+", match["words"] or "")
            for name in names:
                uses.setdefault(name, (text.count("\n", 0, match.start()) + 1, reason))
    for match in _LOOP.finditer(text) if uses else ():
        # What is done to each element is done to the list.
        if match[1] in uses:
            uses.setdefault(match[2], uses[match[1]])
    return uses


def assigned_name(context: CommandContext) -> str:
    """Return the variable that the word is assigned to, or that a loop sets to it."""
    start = logical_start(context.text, context.word, context.path)
    found = _ASSIGNED.search(re.sub(r"\\\r?\n", " ", context.text[start : context.word]))
    return (found[1] or found[2]) if found is not None else ""
