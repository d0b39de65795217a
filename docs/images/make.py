"""Makes the pictures of this folder from what the real command shows on a real terminal.

    .venv/bin/python docs/images/make.py

Runs the example project on a pseudo-terminal, follows what the terminal shows, live footer included, and
draws two moments with rich: `running.svg` in the middle of a run, `failure.svg` at the end of one in which
a file failed. The only thing changed is the folder of this checkout, which is shown as `~/passmuster`.
"""

from __future__ import annotations

import codecs
import errno
import fcntl
import io
import os
import pty
import re
import struct
import sys
import termios
from collections.abc import Iterator, Mapping
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import TerminalTheme
from rich.text import Text

HERE = Path(__file__).resolve().parent
HOME = HERE.parent.parent

COLUMNS, ROWS = 120, 34
COMMAND = ("./run_tests.py", "--root", "examples/shop")

_FOOTER = re.compile(r"(\d+)/\d+ done.*2 running.*\n.*memory ([0-9.]+) MiB.*\n.*iB.*\n.*iB")
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


def frames(environ: Mapping[str, str]) -> Iterator[list[str]]:
    """Run the command on a terminal; yield its lines after everything it writes."""
    child, terminal = pty.fork()
    if child == 0:
        fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
        os.chdir(HOME)
        os.execve(COMMAND[0], COMMAND, {**environ, "TERM": "xterm-256color", "PYTHONUTF8": "1"})
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
        yield list(screen.lines)
    os.waitpid(child, 0)


def draw(lines: list[str], name: str, *, title: str) -> None:
    """Draw the end of what a terminal shows."""
    while lines and not lines[-1]:
        lines.pop()
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True)
    for line in lines[-ROWS:]:
        shown = Text.from_ansi(line.replace(str(HOME), "~/passmuster"))
        console.print(shown, no_wrap=True, overflow="crop", crop=True)
    console.print()  # rich cuts the lower edge of the last line.
    svg = console.export_svg(title=title, theme=THEME, code_format=SVG_FORMAT, unique_id=name)
    (HERE / f"{name}.svg").write_text(svg + "\n", encoding="utf-8")
    sys.stdout.write(f"{HERE / name}.svg\n")


def main() -> None:
    """Make both pictures."""
    environ = {name: value for name, value in os.environ.items() if name not in ("CI", "NO_COLOR")}
    command = " ".join(COMMAND)
    best_mib, shown = 0.0, list[str]()
    for lines in frames(environ):
        footer = _FOOTER.search("\n".join(lines))
        passed = sum("completed successfully" in line for line in lines)
        # Between two footers the lines above know more: take a moment at which both agree.
        if footer is not None and int(footer[1]) == passed > 0 and float(footer[2]) >= best_mib:
            best_mib, shown = float(footer[2]), lines
    draw(shown, "running", title=f"$ {command}")
    *_, end = frames({**environ, "SHOP_SHOW_FAILURE": "1"})
    draw(end, "failure", title=f"$ SHOP_SHOW_FAILURE=1 {command}")


if __name__ == "__main__":
    main()
