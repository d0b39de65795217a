"""`run-tests migrate`: shows, checks, makes or undoes the change from the shell scripts to this program."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec.structs import replace

from dispatcher.config.choices import Mode
from dispatcher.config.merge import load_config
from dispatcher.config.model import TestConfig
from dispatcher.exit_codes import ExitCode
from dispatcher.migrate.command_names import BACKUPS, SCRIPTS, STEMS, NewCommand
from dispatcher.migrate.discovery_check import Comparison, compare
from dispatcher.migrate.plan import Plan, make_plan, old_scripts
from dispatcher.migrate.report import comparison_lines, diff_lines, left_line, left_lines, said
from dispatcher.migrate.section import FILE_NAME, check_toml
from dispatcher.migrate.steps import FOLDER, apply_recorded, has_steps, roll_back, way_back
from dispatcher.migrate.survey import Survey, stems_of, survey
from dispatcher.migrate.words import Way, Words, choose_command, is_our_file, read_migrate_words
from dispatcher.report.plain_text import one_line
from dispatcher.report.tags import Tag
from dispatcher.runner import TestRunner
from dispatcher.subcommands import Call
from passmuster.errors import ConfigurationError
from passmuster.git_command import git_prefix

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
