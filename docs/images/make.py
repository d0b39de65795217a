"""Makes the pictures of the terminal from what the real command shows on a real one.

    .venv/bin/python docs/images/make.py [300 10000]

Runs a copy of the example project, in which a file fails, on a pseudo-terminal, follows what the terminal
shows, live footer included, and draws two moments with rich: `running.svg` in the middle of the run, and
`failure.svg` at its end. The folder of the copy is shown as `~/passmuster`, two files
run at once, and none counts as slow.

With numbers of files, it runs generated projects of that size instead, in which a file fails, at 80 and 120
columns: `running_300_80.svg` in the middle of the run, and `failure_300_80.svg` at its end. A project of more
than `MAX_WHOLE` files is not run to its end, so there is no picture of that.

`tests/docs/test_pictures.py` makes such a run and compares what it shows with the pictures, except for
times, sizes, and the files that happened to run: `shapes`.
"""

from __future__ import annotations

import codecs
import contextlib
import errno
import fcntl
import io
import itertools
import os
import pty
import re
import shutil
import struct
import sys
import tempfile
import termios
import xml.etree.ElementTree as ElementTree
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import TerminalTheme
from rich.text import Text

HERE = Path(__file__).resolve().parent
HOME = HERE.parent.parent

COLUMNS, ROWS = 120, 34
WIDTHS = (80, 120)

_CELL = 12.2
"""Units of a picture for the width of a character."""

MAX_WHOLE = 1000
"""Files of the largest generated project that is run to its end."""

FIRST_FILES = 200
"""How many files of a larger project have run when its picture is taken."""

COMMAND = ("./run_tests.py", "--root", "examples/shop")
TITLE = f"$ SHOP_SHOW_FAILURE=1 {' '.join(COMMAND)}"

PROJECT_COMMAND = ("./run_tests.py",)

_TOPICS = ("orders", "payments", "catalogue", "customer_accounts", "shipping_to_other_countries")
_SOURCE = """\
import time
import unittest


class Amounts(unittest.TestCase):
    def test_the_sum_is_right(self):
        time.sleep({wait})
        self.assertEqual(0, {wanted})
"""

_DONE = re.compile(r"([\d,]+)/[\d,]+ done.*2 running.*left\n.*iB.*\n.*iB.*\n.*iB")
_FOOTER = re.compile(r"[1-9]\d*/\d+ done.*2 running.*left\n.*memory ([0-9.]+) MiB.*\n.*iB.*\n.*iB")
_RUNS = 4
_HALF = re.compile(r"\x1b(\[[0-9;]*)?$")
_STEP = re.compile(r"\x1b\[(\d*)A|\x1b\[J|\r|\n|\x1b\[[0-9;]*m|[^\x1b\r\n]+")

THEME = TerminalTheme(
    (13, 17, 23),
    (201, 209, 217),
    [
        (72, 79, 88),
        (255, 123, 114),
        (63, 185, 80),
        (210, 153, 34),
        (88, 166, 255),
        (188, 140, 255),
        (57, 197, 207),
        (177, 186, 196),
    ],
)
"""Background, foreground, and the eight colours of a dark terminal."""

SVG_FORMAT = """\
<svg viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">
<style>
.{unique_id}-matrix {{ font-family: ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace;
  font-size: {char_height}px; line-height: {line_height}px; }}
.{unique_id}-title {{ font-size: 18px; font-weight: bold; font-family: sans-serif; }}
{styles}
</style>
<defs>
<clipPath id="{unique_id}-clip-terminal">
<rect x="0" y="0" width="{terminal_width}" height="{terminal_height}" />
</clipPath>
{lines}
</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix" xml:space="preserve">
{matrix}
</g>
</g>
</svg>
"""
"""rich's own template without its web font: a picture that loads nothing."""


class Screen:
    """What a terminal shows, as far as the runner's output needs one: whole lines, and a footer redrawn."""

    def __init__(self) -> None:
        self.lines = [""]
        self._row = 0

    def feed(self, text: str) -> None:
        """Take what a program wrote."""
        for match in _STEP.finditer(text):
            step = match[0]
            if step == "\n":
                self._row += 1
                self.lines += [""] * (self._row + 1 - len(self.lines))
            elif step == "\x1b[J":
                self.lines[self._row :] = [""]
            elif step.endswith("A") and step.startswith("\x1b["):
                self._row -= int(match[1] or 1)
            elif step != "\r":
                self.lines[self._row] += step


def make_copy(folder: Path) -> Path:
    """Return a folder that looks like a fresh clone as far as the command needs one."""
    (folder / "run_tests.py").symlink_to(HOME / "run_tests.py")
    ignored = shutil.ignore_patterns(".passmuster", "__pycache__")
    shutil.copytree(HOME / "examples", folder / "examples", ignore=ignored)
    return folder


def make_project(folder: Path, files: int) -> Path:
    """Return a folder with a project of unittest files, of which the first fails."""
    (folder / "run_tests.py").symlink_to(HOME / "run_tests.py")
    (folder / "pyproject.toml").write_text('[tool.passmuster]\nrunner = "unittest"\n', encoding="utf-8")
    for number in range(files):
        topic = _TOPICS[number % len(_TOPICS)]
        path = folder / "tests" / topic / f"test_{topic}_{number:05}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        wanted = 0 if number else 1
        path.write_text(_SOURCE.format(wait=number % 7 / 20, wanted=wanted), encoding="utf-8")
    return folder


def frames(
    folder: Path, *, command: Sequence[str] = COMMAND, columns: int = COLUMNS
) -> Generator[list[str], None, None]:
    """Run the command on a terminal in `folder`; yield the terminal's lines after everything it writes."""
    kept = {name: value for name, value in os.environ.items() if name not in ("CI", "NO_COLOR")}
    environ = {**kept, "SHOP_SHOW_FAILURE": "1", "TERM": "xterm-256color", "PYTHONUTF8": "1"}
    # What depends on the machine, and on what else it does.
    environ |= {"PASSMUSTER_JOBS": "2", "PASSMUSTER_SLOW_TIMEOUT": "1h", "XDG_RUNTIME_DIR": _private(folder)}
    child, terminal = pty.fork()
    if child == 0:
        fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, columns, 0, 0))
        os.chdir(folder)
        os.execve(command[0], list(command), environ)
    try:
        yield from _shown(folder, terminal)
    finally:
        os.close(terminal)  # Hangs up: a run that is not at its end ends.
        os.waitpid(child, 0)


def _shown(folder: Path, terminal: int) -> Iterator[list[str]]:
    screen, decoder, rest = Screen(), codecs.getincrementaldecoder("utf-8")(), ""
    while True:
        try:
            data = os.read(terminal, 65536)
        except OSError as error:
            if error.errno != errno.EIO:  # Linux's way to say that the other end is closed.
                raise
            data = b""
        if not data:
            break
        text = rest + decoder.decode(data)
        # The end may be half of a control sequence: wait for the rest of it.
        half = _HALF.search(text)
        rest = half[0] if half is not None else ""
        screen.feed(text.removesuffix(rest))
        yield [line.replace(str(folder), "~/passmuster") for line in screen.lines]


def _private(folder: Path) -> str:
    """Make a folder in which a run finds no other runs to share the machine with."""
    runtime = folder / "runtime"
    runtime.mkdir(mode=0o700)
    return str(runtime)


def run() -> tuple[list[str], list[str]]:
    """Return what the terminal shows in the middle of a run, with its colours, and at its end.

    On a busy machine the two files of the middle may not be seen at once: then it runs again.
    """
    for _ in range(_RUNS):
        middle, end = _run_once()
        if middle:
            break
    return middle, end


def _run_once() -> tuple[list[str], list[str]]:
    best, middle, end = (0, 0.0), list[str](), list[str]()
    with tempfile.TemporaryDirectory(prefix="picture-") as folder:
        for end in frames(make_copy(Path(folder).resolve())):
            text = _plain("\n".join(end))
            footer = _FOOTER.search(text)
            # The fewest rows above the footer, as most runs have none; then the most memory.
            rank = (-text.count("\n["), float(footer[1])) if footer is not None else (0, 0.0)
            if footer is not None and (not middle or rank >= best):
                best, middle = rank, end
    return middle, end


def run_project(files: int, columns: int) -> tuple[list[str], list[str]]:
    """Run a generated project; return what the terminal shows in the middle of the run and at its end.

    The end is empty for a project of more than `MAX_WHOLE` files.
    """
    wanted = min(files // 2, FIRST_FILES if files > MAX_WHOLE else files)
    middle, end = list[str](), list[str]()
    with tempfile.TemporaryDirectory(prefix="picture-") as name:
        folder = make_project(Path(name).resolve(), files)
        with contextlib.closing(frames(folder, command=PROJECT_COMMAND, columns=columns)) as shown:
            for end in shown:
                footer = _DONE.search(_plain("\n".join(end)))
                if footer is not None and not middle and int(footer[1].replace(",", "")) >= wanted:
                    middle = end
                    if files > MAX_WHOLE:
                        return middle, []
    return middle, end


_VARYING = (
    (re.compile(r"(?m)^\[CHECK\] .*\n|^.*passed in a forked process.*\n"), ""),
    (re.compile(r"(?m)^  \S+\.py (?=.*iB)"), "  FILE "),
    (re.compile(r"\d{8}-\d{6}-[0-9a-f]+"), "RUN"),
    (re.compile(r"[━╸╺]+"), "BAR"),
    (re.compile(r"\d+(?:,\d{3})*(?:\.\d+)?(?:s| [KMG]?i?B|m \d\ds)?\b"), "N"),
    (re.compile(r" (?:retry|check)$", re.MULTILINE), ""),
    (re.compile(r"[ \xa0]+"), " "),
)


def shapes(lines: Sequence[str]) -> list[str]:
    """Return the different lines without what differs from run to run, sorted."""
    text = _plain("\n".join(lines)) + "\n"
    for pattern, replacement in _VARYING:
        text = pattern.sub(replacement, text)
    return sorted({line.strip() for line in text.splitlines()} - {""})


def _plain(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


def lines_in(picture: Path, *, columns: int = COLUMNS) -> list[str]:
    """Return the lines that a picture shows; a full row goes on in the next one."""
    rows: dict[float, dict[float, str]] = {}
    full = set[float]()
    for text in ElementTree.parse(picture).getroot().iter("{http://www.w3.org/2000/svg}text"):
        if "clip-path" in text.attrib:
            x, y, shown = float(text.attrib["x"]), float(text.attrib["y"]), (text.text or "").rstrip("\n")
            rows.setdefault(y, {})[x] = shown
            if shown and round((x + float(text.attrib["textLength"])) / _CELL) == columns:
                full.add(y)
    texts = (
        "".join(part for _, part in sorted(rows[y].items())) + "\n" * (y not in full) for y in sorted(rows)
    )
    return "".join(texts).replace("\xa0", " ").splitlines()


def draw(lines: list[str], name: str, *, title: str = TITLE, columns: int = COLUMNS) -> None:
    """Draw the end of what a terminal shows."""
    while lines and not lines[-1]:
        lines.pop()
    console = Console(record=True, width=columns, file=io.StringIO(), force_terminal=True)
    for line in lines[-ROWS:]:
        text = Text.from_ansi(line)
        for row in text.divide(range(columns, len(text), columns)):  # As a terminal wraps, not at spaces.
            console.print(row, no_wrap=True, overflow="crop", crop=True)
    console.print()  # rich cuts the lower edge of the last line.
    svg = console.export_svg(title=title, theme=THEME, code_format=SVG_FORMAT, unique_id=name)
    (HERE / f"{name}.svg").write_text(svg + "\n", encoding="utf-8")
    sys.stdout.write(f"{HERE / name}.svg\n")


if __name__ == "__main__":
    if len(sys.argv) == 1:
        _middle, _end = run()
        draw(_middle, "running")
        draw(_end, "failure")
    for _files, _columns in itertools.product(map(int, sys.argv[1:]), WIDTHS):
        _middle, _end = run_project(_files, _columns)
        for _name, _lines in (("running", _middle), ("failure", _end)):
            if _lines:
                _title = f"$ {' '.join(PROJECT_COMMAND)}"
                draw(_lines, f"{_name}_{_files}_{_columns}", title=_title, columns=_columns)
