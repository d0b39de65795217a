"""The shells complete options, their values, and subcommands."""

from __future__ import annotations

import shutil
import subprocess
from enum import StrEnum
from pathlib import Path

import pytest

from passmuster.model.errors import ConfigurationError
from passmuster.settings.completion import Shell, completion_of_program, completion_script, completion_table
from passmuster.settings.setting import Group, Setting, flag, option
from passmuster.settings.values import PATH, TEXT, choice


class Colour(StrEnum):
    RED = "red"
    GREEN = "green"


ROWS: tuple[Setting, ...] = (
    option("colour", choice(Colour), "the coat's [colour]"),
    option("target", PATH, "where to"),
    option("word", TEXT, "what to say"),
    flag("quick", "do not wait"),
)
SUBCOMMANDS = {"paint": ("paint it", completion_table((flag("dry", "do not paint"),)))}


def text_for(shell: Shell) -> str:
    return completion_script(shell, ["tool"], completion_table(ROWS), SUBCOMMANDS)


BASH = """
COMP_WORDS=({words}); COMP_CWORD=$(( ${{#COMP_WORDS[@]}} - 1 ))
_tool; printf '%s\\n' "${{COMPREPLY[@]}}"
"""

CASES = [
    (["--"], {"--colour", "--target", "--word", "--quick", "--help", "--version"}),
    (["--co"], {"--colour"}),
    (["--colour", ""], {"red", "green"}),
    (["--colour", "g"], {"green"}),
    (["--target", "fi"], {"file.txt"}),
    (["p"], {"paint"}),
    (["paint", "--"], {"--dry", "--help", "--version"}),
]


@pytest.mark.parametrize(("words", "offered"), CASES)
def test_bash_completes(tmp_path: Path, words: list[str], offered: set[str]) -> None:
    (tmp_path / "file.txt").touch()
    quoted = " ".join(f"'{word}'" for word in ["tool", *words])
    script = text_for(Shell.BASH) + BASH.format(words=quoted)

    assert offers(["bash", "--norc", "-c", script], tmp_path) == offered


def test_bash_offers_nothing_for_an_option_with_a_free_value(tmp_path: Path) -> None:
    script = text_for(Shell.BASH) + BASH.format(words="tool --word ''")
    assert offers(["bash", "--norc", "-c", script], tmp_path) == set()


@pytest.mark.skipif(shutil.which("fish") is None, reason="fish is not installed")
@pytest.mark.parametrize(("words", "offered"), CASES)
def test_fish_completes(tmp_path: Path, words: list[str], offered: set[str]) -> None:
    (tmp_path / "file.txt").touch()
    script = f"{text_for(Shell.FISH)}\ncomplete -C 'tool {' '.join(words)}'"

    assert offered <= offers(["fish", "--no-config", "-c", script], tmp_path)


@pytest.mark.skipif(shutil.which("zsh") is None, reason="zsh is not installed")
def test_zsh_loads_its_script(tmp_path: Path) -> None:
    text = f"compdef() {{ :; }}\n{text_for(Shell.ZSH)}\nwhence -w _tool"

    assert offers(["zsh", "-f", "-c", text], tmp_path) == {"_tool: function"}
    assert "*--colour=[the coat'\\''s \\[colour\\]]:value:(red green)" in text
    assert "*--target=[where to]:path:_files" in text


def offers(command: list[str], folder: Path) -> set[str]:
    ended = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    assert ended.stderr == ""
    return {line.partition("\t")[0] for line in ended.stdout.splitlines() if line}


def test_a_program_without_other_subcommands_completes_its_options_and_completion(tmp_path: Path) -> None:
    script = completion_of_program(["my-tool"], ROWS, ["bash"]).replace("_my_tool", "_tool")

    for words, offered in ((["--co"], {"--colour"}), (["com"], {"completion"})):
        quoted = " ".join(f"'{word}'" for word in ["my-tool", *words])
        command = ["bash", "--norc", "-c", script + BASH.format(words=quoted)]
        assert offers(command, tmp_path) == offered


@pytest.mark.parametrize("words", [[], ["tcsh"], ["bash", "zsh"]])
def test_anything_but_one_supported_shell_is_refused(words: list[str]) -> None:
    with pytest.raises(ConfigurationError, match="completion needs one of bash, zsh, fish, got"):
        completion_of_program(["my-tool"], ROWS, words)


def test_an_option_with_an_optional_value_is_complete_without_one() -> None:
    mix = Setting(
        name="mix",
        group=Group.OTHER,
        type=TEXT,
        summary="mix the files",
        options=("--mix",),
        constants=(("--mix", "random"),),
    )

    table = completion_table((mix,))

    assert "--mix" in table.options
    assert not table.others
