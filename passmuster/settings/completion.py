"""Generates shell completion for bash, zsh and fish from a program's settings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum

from msgspec import Struct

from passmuster.model.errors import ConfigurationError
from passmuster.settings.setting import Setting


class Shell(StrEnum):
    """The supported shells."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


class CompletionTable(Struct, frozen=True, kw_only=True):
    """The completions behind a program's name, or behind a subcommand."""

    options: Mapping[str, str]  # each option with its help text
    values: Mapping[str, Sequence[str]]  # the allowed words of each option whose value is a choice
    paths: Sequence[str]  # options whose value is a path
    others: Sequence[str]  # options with any other value


_EVERYWHERE = {"--help": "print the help text, and exit", "--version": "print the version, and exit"}


def completion_table(rows: Iterable[Setting]) -> CompletionTable:
    """Return the completions of the options in `rows`, and of those that every program has."""
    rows = tuple(rows)
    # An option that is a constant too needs no value.
    types = {option: row.type for row in rows for option in row.options if option not in dict(row.constants)}
    return CompletionTable(
        options={option: row.help_of(option) for row in rows for option in row.arguments} | _EVERYWHERE,
        values={option: type.choices for option, type in types.items() if type.choices},
        paths=[option for option, type in types.items() if type.is_path],
        others=[option for option, type in types.items() if not (type.choices or type.is_path)],
    )


COMMAND = "completion"
COMMAND_HELP = "print the completion script for bash, zsh, or fish"


def completion_of_program(programs: Sequence[str], rows: Iterable[Setting], words: Sequence[str]) -> str:
    """Return the script for a program whose only subcommand is `completion`.

    Raises:
        ConfigurationError: the shell is missing or not supported.
    """
    shell = requested_shell(words, program=f"{programs[0]} {COMMAND}")
    subcommands = {COMMAND: (COMMAND_HELP, completion_table(()))}
    return completion_script(shell, programs, completion_table(rows), subcommands)


def requested_shell(words: Sequence[str], *, program: str) -> Shell:
    """Return the shell that the only word names.

    Raises:
        ConfigurationError: it is missing or not supported.
    """
    if len(words) != 1 or words[0] not in tuple(Shell):
        raise ConfigurationError(
            f"{COMMAND} needs one of {', '.join(Shell)}, got {list(words)}: {program} {Shell.BASH}"
        )
    return Shell(words[0])


def completion_script(
    shell: Shell,
    programs: Sequence[str],
    run: CompletionTable,
    subcommands: Mapping[str, tuple[str, CompletionTable]],
) -> str:
    """Return the script that a shell reads to complete the arguments of a program.

    Args:
        run: the completions without a subcommand.
        subcommands: the help text of each, and the completions behind it.
    """
    tables = {"": run, **{name: table for name, (_, table) in subcommands.items()}}
    if shell is Shell.BASH:
        return _bash(programs, tables)
    helps = {name: text for name, (text, _) in subcommands.items()}
    return (_zsh if shell is Shell.ZSH else _fish)(programs, tables, helps)


_BASH = """\
FUNCTION() {
  local word="${COMP_WORDS[COMP_CWORD]}" before="${COMP_WORDS[COMP_CWORD-1]}" command="" words=""
  [[ $word == "=" ]] && word=""
  [[ $before == "=" ]] && before="${COMP_WORDS[COMP_CWORD-2]}"
  if ((COMP_CWORD > 1)); then
    case "${COMP_WORDS[1]}" in SUBCOMMANDS) command="${COMP_WORDS[1]}" ;; esac
  fi
  case "$command:$before" in
VALUES
  esac
  if [[ -z $words && $word == -* ]]; then
    case "$command" in
OPTIONS
    esac
  elif [[ -z $words ]]; then
    COMPREPLY=($(compgen -f -- "$word"))
    ((COMP_CWORD == 1)) && words="NAMES"
  fi
  COMPREPLY+=($(compgen -W "$words" -- "$word"))
}
complete -o filenames -F FUNCTION PROGRAMS
"""


def _bash(programs: Sequence[str], tables: Mapping[str, CompletionTable]) -> str:
    values: list[str] = []
    for name, table in tables.items():
        values += [
            f"    {name}:{option}) words='{' '.join(some)}' ;;" for option, some in table.values.items()
        ]
        values += [
            f'    {name}:{option}) COMPREPLY=($(compgen -f -- "$word")); return ;;' for option in table.paths
        ]
        values += [f"    {name}:{option}) COMPREPLY=(); return ;;" for option in table.others]
    options = [f"      '{name}') words='{' '.join(table.options)}' ;;" for name, table in tables.items()]
    names = [name for name in tables if name]
    text = _BASH.replace("SUBCOMMANDS", "|".join(names)).replace("NAMES", " ".join(names))
    text = text.replace("VALUES", "\n".join(values)).replace("OPTIONS", "\n".join(options))
    return text.replace("PROGRAMS", " ".join(programs)).replace("FUNCTION", _function(programs))


def _zsh(programs: Sequence[str], tables: Mapping[str, CompletionTable], helps: Mapping[str, str]) -> str:
    function = _function(programs)
    lines = [
        f"#compdef {' '.join(programs)}",
        f"{function}() {{",
        "  local -a specs",
        '  case "$words[2]" in',
    ]
    for name, table in (*list(tables.items())[1:], ("", tables[""])):
        specs = [f"      {_quoted(_zsh_spec(option, text, table))}" for option, text in table.options.items()]
        lines += [f"    {name or '*'}) specs=(", *specs, "    ) ;;"]
    named = [_quoted(f"{name}:{text}") for name, text in helps.items()]
    lines += [
        "  esac",
        f"  local -a subcommands=({' '.join(named)})",
        "  (( CURRENT == 2 )) && [[ $words[2] != -* ]] && _describe subcommand subcommands",
        "  _arguments -S $specs '*:file:_files'",
        "}",
        f"compdef {function} {' '.join(programs)}",
        "",
    ]
    return "\n".join(lines)


def _zsh_spec(option: str, text: str, table: CompletionTable) -> str:
    shown = "".join(f"\\{letter}" if letter in "[]:\\" else letter for letter in text)
    joint = "=" if option.startswith("--") else "+"
    if option in table.values:
        return f"*{option}{joint}[{shown}]:value:({' '.join(table.values[option])})"
    if option in table.paths:
        return f"*{option}{joint}[{shown}]:path:_files"
    return f"*{option}{joint}[{shown}]:value:" if option in table.others else f"*{option}[{shown}]"


def _fish(programs: Sequence[str], tables: Mapping[str, CompletionTable], helps: Mapping[str, str]) -> str:
    lines: list[str] = []
    for program in programs:
        start = f"complete -c {program}"
        for name, text in helps.items():
            lines.append(f"{start} -n __fish_use_subcommand -a {name} -d {_fish_quoted(text)}")
        for name, table in tables.items():
            names = name or " ".join(helps)
            seen = f"{'' if name else 'not '}__fish_seen_subcommand_from {names}"
            for option, text in table.options.items():
                word = f"-l {option[2:]}" if option.startswith("--") else f"-s {option[1:]}"
                value = " -r -F" if option in table.paths else " -x" if option in table.others else ""
                if option in table.values:
                    value = f" -x -a {_fish_quoted(' '.join(table.values[option]))}"
                lines.append(f"{start} -n '{seen}' {word}{value} -d {_fish_quoted(text)}")
    return "\n".join([*lines, ""])


def _function(programs: Sequence[str]) -> str:
    return "_" + programs[0].replace("-", "_")


def _quoted(text: str) -> str:
    """Return a text in quotes for bash and zsh."""
    return "'" + text.replace("'", "'\\''") + "'"


def _fish_quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
