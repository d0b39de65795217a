"""`run-tests migrate`: shows, checks, makes or undoes the change from the shell scripts to this program."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from difflib import unified_diff
from enum import StrEnum
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from dispatcher.cli.call import Call
from dispatcher.config.choices import Mode
from dispatcher.config.load import load_config
from dispatcher.config.locations import Bases, is_directory
from dispatcher.config.model import TestConfig
from dispatcher.config.values import on_one_line
from dispatcher.migrate.changes import Change
from dispatcher.migrate.discovery_check import Comparison, compare
from dispatcher.migrate.migration_log import FOLDER, apply_recorded, has_steps, roll_back, way_back
from dispatcher.migrate.names import BACKUPS, SCRIPTS, STEMS, TESTS, NewCommand
from dispatcher.migrate.plan import Plan, make_plan, old_scripts
from dispatcher.migrate.section import FILE_NAME, check_toml
from dispatcher.migrate.survey import Left, Survey, stems_of, survey
from dispatcher.model.exit_codes import ExitCode
from dispatcher.run.runner import TestRunner
from dispatcher.terminal.tags import Tag, tagged
from passmuster.model.errors import ConfigurationError
from passmuster.model.text import bounded_tail, one_line, sanitize
from passmuster.settings.spelling import advice
from passmuster.source.git import git_prefix

_MOST_SHOWN = 160
"""Characters of a line that are shown where only its place matters."""

_NO_NEWLINE = "\\ No newline at end of file"


def said(tag: Tag, text: str) -> str:
    """Return one line with its tag."""
    return tagged(tag, one_line(text), color=False)


def diff_lines(plan: Plan) -> Iterator[str]:
    """Yield the changes of all files but the scripts as a unified diff."""
    for change in plan.changes:
        if change.path not in (*SCRIPTS, *BACKUPS):
            yield from _diff(change)


def _diff(change: Change) -> Iterator[str]:
    name = one_line(change.path)
    old = "/dev/null" if change.before is None else f"a/{name}"
    for line in unified_diff(_lines(change.before), _lines(change.after), old, f"b/{name}", lineterm=""):
        body, mark, _ = line.partition("\n")
        yield sanitize(body.replace("\r", "")).replace("\n", " ")
        if mark:
            yield _NO_NEWLINE


def _lines(content: bytes | None) -> list[str]:
    """Return the lines of a file; a last one without an end has a newline in it, as a mark."""
    *lines, last = (content or b"").decode("utf-8", "surrogateescape").split("\n")
    return [*lines, f"{last}\n"] if last else lines


def left_line(left: Left) -> str:
    """Return where something is left to a person, what stands there, and why."""
    text = left.text if len(left.text) <= _MOST_SHOWN else f"...{bounded_tail(left.text, _MOST_SHOWN)}"
    return f"{one_line(left.path)}:{left.line}: {one_line(text)}" + (
        f"  [{left.reason}]" if left.reason else ""
    )


def comparison_lines(comparison: Comparison) -> Iterator[str]:
    """Yield how the files of the old script and of a run compare, each difference by name."""
    counts = f"{comparison.unit} unit test file(s), {comparison.integration} with --integration"
    if not comparison.differences:
        yield said(Tag.PASS, f"Discovery: {counts}: those of the old script")
        return
    yield said(
        Tag.WARN,
        f"Discovery: {len(comparison.differences)} difference(s) to the old script, which found {counts}",
    )
    for difference in comparison.differences:
        yield f"{one_line(difference.path)}:1: {difference}"


def left_lines(plan: Plan) -> Iterator[str]:
    """Yield what is left to a person."""
    if plan.left:
        yield said(Tag.WARN, f"{len(plan.left)} line(s) are left for you:")
        yield from map(left_line, plan.left)


_VALUED = ("--root", "--command")
_SWITCHES = ("--help", "-h", "--check", "--apply", "--rollback", "--wrappers")

_OWN_MARK = b"passmuster"
"""Both commands import this package of ours; a script of somebody else that has their name does not."""


class Way(StrEnum):
    """What is done."""

    SHOW = "show"
    CHECK = "--check"
    APPLY = "--apply"
    ROLLBACK = "--rollback"


class Words(Struct, frozen=True, kw_only=True):
    """What was asked for.

    Args:
        way: what is done.
        root: the repository, absolute.
        wrappers: whether scripts of the old names stay that call the new commands.
        command: what references become; None: what is there decides.
        wants_help: whether the help text was asked for.
    """

    way: Way
    root: Path
    wrappers: bool = False
    command: NewCommand | None = None
    wants_help: bool = False


def read_migrate_words(argv: Sequence[str], environ: Mapping[str, str], cwd: Path) -> Words:
    """Return what the words ask for.

    Raises:
        ConfigurationError: a word is unknown, lacks its value, or two of them exclude each other.
    """
    ways: list[Way] = []
    wrappers, command = False, None
    root, origin = environ.get("PASSMUSTER_ROOT", ""), "PASSMUSTER_ROOT"
    for word, value in _pairs(argv):
        match word:
            case "--help" | "-h":
                return Words(way=Way.SHOW, root=cwd, wants_help=True)
            case "--check" | "--apply" | "--rollback":
                ways.append(Way(word))
            case "--wrappers":
                wrappers = True
            case "--command":
                command = _read_command(value)
            case _:
                root, origin = value, word
    chosen = sorted(set(ways))
    if len(chosen) > 1:
        raise ConfigurationError(f"{' and '.join(chosen)} cannot be combined: choose one")
    way = chosen[0] if chosen else Way.SHOW
    if way in (Way.CHECK, Way.ROLLBACK) and wrappers:
        raise ConfigurationError(f"--wrappers makes something, and {way} does not: use --apply --wrappers")
    place = Bases(cwd=cwd, root=cwd, home=environ.get("HOME", "")).locate(root or ".", from_file=False)
    if not is_directory(place):
        raise ConfigurationError(
            f"root {on_one_line(str(place))} is not a directory (from {origin}): name the repository's folder"
        )
    return Words(way=way, root=Path(os.path.realpath(place)), wrappers=wrappers, command=command)


def _pairs(argv: Sequence[str]) -> Iterator[tuple[str, str]]:
    words = list(reversed(argv))
    while words:
        word, has_value, value = words.pop().partition("=")
        if word in _VALUED:
            if not has_value and not words:
                raise ConfigurationError(f"{word} needs a value; see --help")
            yield word, value if has_value else words.pop()
        elif word in _SWITCHES and not has_value:
            yield word, ""
        else:
            shown = on_one_line(word + has_value + value)
            raise ConfigurationError(f"unknown argument: {shown}; {advice(word, (*_VALUED, *_SWITCHES))}")


def _read_command(value: str) -> NewCommand:
    try:
        return NewCommand(value if value != "run_tests.py" else NewCommand.FILE)
    except ValueError:
        raise ConfigurationError(
            f"wrong value for command: expected {' or '.join(NewCommand)}, got {value!r} (from --command)"
        ) from None


def is_our_file(path: Path) -> bool:
    """Return whether a file is one of this program's commands."""
    try:
        return _OWN_MARK in path.read_bytes()
    except OSError:
        return False


def choose_command(root: Path, environ: Mapping[str, str]) -> NewCommand | None:
    """Return what is there to be called: the file in the repository, else the installed command."""
    if is_our_file(root / f"{TESTS}.py"):
        return NewCommand.FILE
    name = NewCommand.PACKAGE.for_stem(TESTS)
    return NewCommand.PACKAGE if shutil.which(name, path=environ.get("PATH", os.defpath)) else None


_NOTHING_TO_CALL = (
    "neither run_tests.py in the repository nor the command run-tests on PATH is there to be called:"
    " put one there, or say which it will be by --command"
)


def migrate(call: Call) -> int:
    """Do what the words behind `migrate` ask for; return the exit status.

    Raises:
        ConfigurationError: a word is wrong, `pyproject.toml` is broken, or there is nothing to roll back.
        InfrastructureError: git or the disk refuses; nothing was changed.
    """
    words = read_migrate_words(call.argv, call.environ, call.cwd)
    if words.wants_help:
        call.write(_help(call.program))
        return ExitCode.OK
    if words.way is Way.ROLLBACK:
        return _Migration(call, words).roll_back()
    return _Migration(call, words).go()


class _Migration:
    """One call."""

    def __init__(self, call: Call, words: Words) -> None:
        self._call = call
        self._words = words
        self._root = words.root

    def roll_back(self) -> int:
        back = way_back(self._root)
        if back.steps:
            roll_back(self._root, back)
            self._say(Tag.PASS, f"Rolled back: {len(back.changes)} file(s) are what they were before")
        if not back.conflicts:
            return ExitCode.OK
        what = "an earlier --apply stays as it is" if back.steps else "nothing was rolled back"
        self._say(Tag.FAIL, f"{len(back.conflicts)} file(s) were changed since; {what}:")
        self._lines(map(one_line, back.conflicts))
        self._say(Tag.INFO, f"Bring these to what --apply made of them; their originals are in {FOLDER}/")
        return ExitCode.FAILED

    def go(self) -> int:
        pyproject = self._root / FILE_NAME
        if pyproject.is_file():
            check_toml(pyproject.read_bytes())
        comparison = self._compare()
        chosen = self._words.command or choose_command(self._root, self._call.environ)
        found = survey(self._root, chosen or NewCommand.FILE)
        if self._words.way is Way.CHECK:
            return self._check(found, comparison)
        plan = make_plan(
            self._root, chosen or NewCommand.FILE, found, comparison, wrappers=self._words.wrappers
        )
        if self._words.way is Way.APPLY:
            if plan.changes:
                self._refuse_what_is_missing(chosen, found)
            return self._apply(plan, found, comparison)
        return self._show(plan, found, comparison, nothing_to_call=chosen is None)

    def _compare(self) -> Comparison:
        """Compare with the settings as every call would have them, and without anybody's own variables."""
        home = {name: value for name, value in self._call.environ.items() if name == "HOME"}
        config = load_config(["--root", str(self._root)], home, self._root).config
        config = replace(TestConfig(), root=config.root, layout=config.layout, mode=Mode.LIST)
        return compare(config, lambda changed: self._runner(changed).discover_tests())

    def _runner(self, config: TestConfig) -> TestRunner:
        call = self._call
        return TestRunner(
            config, site=call.site, environ=call.environ, cwd=self._root, runner_python=call.runner_python
        )

    def _check(self, found: Survey, comparison: Comparison) -> int:
        left = found.lines
        self._lines(map(left_line, left))
        self._notes(found)
        if left:
            self._say(Tag.FAIL, f"{len(left)} line(s) refer to {' or '.join(SCRIPTS)}")
        else:
            self._say(Tag.PASS, f"No reference to {' or '.join(SCRIPTS)} in {found.files} file(s)")
        for script in old_scripts(self._root):
            self._say(Tag.WARN, f"{script} itself is still there: --apply makes {script}.backup of it")
        self._lines(comparison_lines(comparison))
        return ExitCode.FAILED if left or comparison.differences else ExitCode.OK

    def _show(self, plan: Plan, found: Survey, comparison: Comparison, *, nothing_to_call: bool) -> int:
        self._lines(diff_lines(plan))
        self._describe(plan, found, comparison)
        if nothing_to_call:
            self._say(Tag.WARN, _NOTHING_TO_CALL)
        if not plan.changes:
            self._say(Tag.INFO, "Nothing to change" + (": what is left is yours" if plan.left else ""))
            return ExitCode.OK
        words = " --wrappers" if self._words.wrappers else ""
        if self._words.command is not None:
            words += f" --command {self._words.command}"
        self._say(Tag.INFO, f"Nothing was changed yet. To do all this: {self._call.program} --apply{words}")
        return ExitCode.OK

    def _apply(self, plan: Plan, found: Survey, comparison: Comparison) -> int:
        if plan.changes:
            apply_recorded(self._root, plan.changes)
        self._describe(plan, found, comparison)
        if not plan.changes:
            self._say(Tag.INFO, "Nothing to change" + (": all is migrated" if has_steps(self._root) else ""))
        else:
            comparison = self._compare()
            self._say(Tag.PASS, f"Changed {len(plan.changes)} file(s). To take that back: --rollback")
        return ExitCode.FAILED if plan.left or comparison.differences else ExitCode.OK

    def _describe(self, plan: Plan, found: Survey, comparison: Comparison) -> None:
        if not found.documents:
            self._say(Tag.INFO, f"No reference to {' or '.join(SCRIPTS)} in {found.files} file(s)")
        elif plan.references:
            count = sum(change.path not in (*SCRIPTS, *BACKUPS) for change in plan.changes)
            to = " and ".join(plan.command.for_stem(stem) for stem in STEMS if stem in stems_of(found))
            self._say(Tag.INFO, f"{plan.references} reference(s) in {count} file(s) become {to}")
        for line in plan.scripts:
            self._say(Tag.INFO, line)
        self._say(Tag.INFO, plan.settings)
        self._lines(comparison_lines(comparison))
        self._notes(found)
        self._lines(left_lines(plan))

    def _notes(self, found: Survey) -> None:
        prefix = git_prefix(self._root)
        if prefix:
            self._say(Tag.WARN, f"only {prefix} of its git repository was looked at: --root names the folder")
        for note in found.notes:
            self._say(Tag.INFO, note)

    def _refuse_what_is_missing(self, chosen: NewCommand | None, found: Survey) -> None:
        """Refuse to make callers call what is not there, unless they were said to."""
        if chosen is None:
            raise ConfigurationError(_NOTHING_TO_CALL)
        if chosen is not NewCommand.FILE or self._words.command is not None:
            return
        scripts = {script.removesuffix(".sh") for script in old_scripts(self._root)}
        for stem in sorted(stems_of(found) | scripts):
            if not is_our_file(self._root / f"{stem}.py"):
                raise ConfigurationError(
                    f"{stem}.py is not in {self._root}: put it there, or say --command run-tests"
                )

    def _say(self, tag: Tag, text: str) -> None:
        self._call.write(f"{said(tag, text)}\n")

    def _lines(self, lines: Iterable[str]) -> None:
        self._call.write("".join(f"{line}\n" for line in lines))


def _help(program: str) -> str:
    return f"""usage: {program} [--check|--apply|--rollback] [--wrappers] [--command NAME] [--root PATH]

Changes every reference to run_tests.sh and run_ci_replica.sh in a repository to this program. Without
--check, --apply or --rollback it shows what would change, as a diff, and changes nothing.

  --check         name what still refers to the scripts, and test files that only one of both finds;
                  status 1 when there is any
  --apply         make the changes, all or none; the scripts become run_tests.sh.backup, ...
  --rollback      bring every file back to what it was before --apply
  --wrappers      keep scripts of the old names that call the new commands, for callers elsewhere
  --command NAME  run-tests (the installed command) or ./run_tests.py (the file in the repository);
                  otherwise what is there decides
  --root PATH     the repository; otherwise the current directory

A line that holds "passmuster: keep" stays as it is, and so does a file with "passmuster: keep file".
"""
