"""Generates shell completion for bash, zsh and fish from a program's settings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum

from msgspec import Struct

from passmuster.settings.setting import Setting


class Shell(StrEnum):
    """The shells that complete words."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


class CompletionTable(Struct, frozen=True, kw_only=True):
    """What is completed behind a program's name, or behind the word of a subcommand.

    Args:
        options: each option with its help.
        values: the words that an option's value is one of; none: it takes something else.
        paths: options whose value is a path.
        others: options with any other value.
    """

    options: Mapping[str, str]
    values: Mapping[str, Sequence[str]]
    paths: Sequence[str]
    others: Sequence[str]


def completion_table(rows: Iterable[Setting], extra: Mapping[str, str]) -> CompletionTable:
    """Return what rows say; `extra` are options that no row has."""
    rows = tuple(rows)
    helps = {word: row.help_of(word) for row in rows for word in row.words}
    valued = {word: row.type for row in rows for word in row.options}
    return CompletionTable(
        options={**helps, **extra},
        values={word: kind.choices for word, kind in valued.items() if kind.choices},
        paths=[word for word, kind in valued.items() if kind.is_path],
        others=[word for word, kind in valued.items() if not (kind.choices or kind.is_path)],
    )


def completion_script(
    shell: Shell,
    programs: Sequence[str],
    run: CompletionTable,
    subcommands: Mapping[str, tuple[str, CompletionTable]],
) -> str:
    """Return the text that a shell reads to complete the words of a program.

    Args:
        shell: which shell.
        programs: the names that the program is called by.
        run: what is completed without a subcommand.
        subcommands: the help of each, and what is completed behind it.
    """
    tables = {"": run, **{name: table for name, (_, table) in subcommands.items()}}
    if shell is Shell.BASH:
        return _bash(programs, tables)
    if shell is Shell.ZSH:
        return _zsh(programs, tables, {name: text for name, (text, _) in subcommands.items()})
    return _fish(programs, tables, {name: text for name, (text, _) in subcommands.items()})


_BASH = """\
_run_tests() {
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
complete -o filenames -F _run_tests PROGRAMS
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
    return text.replace("PROGRAMS", " ".join(programs))


def _zsh(programs: Sequence[str], tables: Mapping[str, CompletionTable], helps: Mapping[str, str]) -> str:
    lines = [f"#compdef {' '.join(programs)}", "_run_tests() {", "  local -a specs", '  case "$words[2]" in']
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
        "compdef _run_tests " + " ".join(programs),
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


def _quoted(text: str) -> str:
    """Return a text in quotes for bash and zsh."""
    return "'" + text.replace("'", "'\\''") + "'"


def _fish_quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
