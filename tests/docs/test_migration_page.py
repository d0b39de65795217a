"""The tour of the page on migrating: its steps run one after another, and print what the page shows."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.docs.pages import REPOSITORY, blocks_of
from tests.docs.test_blocks import PLACE, environment, make_sandbox

PAGE = "docs/how-to/migrate.md"


def test_the_steps_print_what_the_page_shows(tmp_path: Path) -> None:
    blocks = list(blocks_of((REPOSITORY / PAGE).read_text(encoding="utf-8"), PAGE))
    assert [block.language for block in blocks] == ["sh", *["sh", "text"] * 5]
    place = tmp_path / "place"
    code = "\n".join(f"echo '=== {block}'\n{block.code}" for block in blocks if block.language == "sh")

    ran = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", code.replace(PLACE, str(place))],
        cwd=make_sandbox(tmp_path),
        env=environment(tmp_path),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=110,
        check=False,
    )

    assert ran.returncode == 0, ran.stdout
    parts = ran.stdout.replace(str(place), PLACE).split("=== ")[1:]
    printed = {part.partition("\n")[0]: part.partition("\n")[2] for part in parts}
    for step, shown in zip(blocks[1::2], blocks[2::2], strict=True):
        assert printed[str(step)] == shown.code
