"""Every block of commands or code in the documents does what it says, or says why it is not run."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from dispatcher.config.load import load_config
from passmuster.settings.origins import Source
from tests.docs.pages import REPOSITORY, Block, all_blocks, blocks_of
from tests.support.pytest_environment import PYTEST_ENVIRONMENT

BLOCKS = all_blocks()
RUN = {"sh": ("bash", "-euo", "pipefail", "-c"), "python": (sys.executable, "-W", "error", "-c")}
READ_ONLY = {"text", "toml", "json"}
"""Pictures made of characters, and configuration, which is read instead of run."""

OF_A_CI = {"yaml", "groovy"}
"""Jobs of a CI, whose commands `tests/e2e/test_workflow_examples.py` runs."""

PLACE = "/tmp/pm-docs"
"""Where the documents put what their examples write; a test puts it elsewhere."""


def make_sandbox(folder: Path) -> Path:
    """Make a folder that looks like a fresh clone as far as the examples need one."""
    clone = folder / "clone"
    clone.mkdir(parents=True)
    for name in ("run_tests.py", "run_ci_replica.py"):
        (clone / name).symlink_to(REPOSITORY / name)
    ignored = shutil.ignore_patterns(".passmuster", "__pycache__", ".*_cache")
    shutil.copytree(REPOSITORY / "examples", clone / "examples", ignore=ignored)
    return clone


def environment(tmp_path: Path) -> dict[str, str]:
    """Return a newcomer's environment, whose interpreter has coverage.

    The runtime directory is a private one: if this very test is run by the runner, a run inside it must
    not wait for memory that the run around it holds.
    """
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "TMPDIR": str(tmp_path),
        "XDG_RUNTIME_DIR": str(tmp_path),
        "PYTHONPATH": str(REPOSITORY),
        "LANG": "C.UTF-8",
        "VIRTUAL_ENV": str(PYTEST_ENVIRONMENT),
    }


def run_block(block: Block, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*RUN[block.language], block.code.replace(PLACE, str(folder / "place"))],
        cwd=make_sandbox(folder),
        env=environment(folder),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=110,
        check=False,
    )


@pytest.fixture(scope="module")
def ended(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[dict[str, Future[subprocess.CompletedProcess[str]]]]:
    """Every block that is run, two at a time: they wait much."""
    base = tmp_path_factory.mktemp("blocks")
    chosen = [block for block in BLOCKS if block.language in RUN and not block.not_run]
    with ThreadPoolExecutor(2) as pool:
        yield {str(block): pool.submit(run_block, block, base / str(n)) for n, block in enumerate(chosen)}
        pool.shutdown(cancel_futures=True)


@pytest.mark.parametrize("block", [block for block in BLOCKS if block.language in RUN], ids=str)
def test_a_block_does_what_it_says(
    block: Block, ended: dict[str, Future[subprocess.CompletedProcess[str]]]
) -> None:
    if block.not_run:
        assert len(block.not_run) > 10, "a reason is a sentence"
        return

    done = ended[str(block)].result()

    assert done.returncode == block.status, done.stdout
    assert "Unknown argument" not in done.stdout


@pytest.mark.parametrize("block", [block for block in BLOCKS if block.language == "toml"], ids=str)
def test_a_configuration_is_accepted(block: Block, tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(block.code)

    loaded = load_config([], {}, tmp_path)

    assert loaded.warnings == ()
    assert any(origin.source is Source.FILE for origin in loaded.origins.values())


def test_every_block_says_what_it_is() -> None:
    unknown = [str(block) for block in BLOCKS if block.language not in RUN.keys() | READ_ONLY | OF_A_CI]

    assert unknown == []
    assert sum(block.language in RUN and not block.not_run for block in BLOCKS) >= 10


def test_the_comment_above_a_block_is_read() -> None:
    text = "<!-- not run: needs a network -->\n```sh\nfirst\n```\n\n<!-- exit 3: so -->\n```sh\nsecond\n```\n"

    first, second = blocks_of(text, "page.md")

    assert (first.not_run, first.status, first.line) == ("needs a network", 0, 2)
    assert (second.not_run, second.status, second.code) == ("", 3, "second\n")
