"""Runs one of the benchmarks: `python -m benchmarks.run NAME [--help]`.

`python -m benchmarks.run bed [--help]` is the bed: suites times runners, and it has options of its own.

Exit status 0: what the benchmark demands holds; 1: it does not.
"""

from __future__ import annotations

import argparse
import shlex
import signal
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.commands import (
    bed,
    discovery,
    dispatcher,
    heavy,
    hostile,
    machine,
    merged,
    outcomes,
    overhead,
    queue,
    queue_load,
    recall,
    recording,
    shards,
    splitting,
    startup,
    watch,
)
from benchmarks.commands.setting import Setting

COMMANDS: dict[str, Callable[[Setting], bool]] = {
    "discovery": discovery.run,
    "dispatcher": dispatcher.run,
    "heavy": heavy.run,
    "hostile": hostile.run,
    "overhead": overhead.run,
    "machine": machine.run,
    "merged": merged.run,
    "outcomes": outcomes.run,
    "queue": queue.run,
    "queue-load": queue_load.run,
    "recall": recall.run,
    "recording": recording.run,
    "shards": shards.run,
    "splitting": splitting.run,
    "startup": startup.run,
    "watch": watch.run,
}


def main(argv: Sequence[str]) -> int:
    """Run the benchmark that the arguments name and return the exit status."""
    if argv and argv[0] == "bed":
        return bed.main(argv[1:])
    parser = argparse.ArgumentParser(prog="python -m benchmarks.run", description=__doc__)
    parser.add_argument("benchmark", choices=COMMANDS)
    parser.add_argument(
        "--cache",
        type=Path,
        default=Path(tempfile.gettempdir(), "passmuster-benchmarks"),
        help="where suites and environments are kept (default: %(default)s)",
    )
    parser.add_argument("--output", type=Path, help="write what was measured to this file, as JSON")
    parser.add_argument("--rounds", type=int, default=1, help="how often each variant is measured, in turns")
    parser.add_argument("--jobs", type=int, help="files at once for our runner (default: its own default)")
    parser.add_argument(
        "--files",
        type=int,
        default=1000,
        help="of the suite of `queue`, or faults of `recall` (default: %(default)s)",
    )
    parser.add_argument(
        "--only",
        action="append",
        default=[],
        metavar="NAME",
        help="suite of `outcomes`, `splitting`, `recall`, or `recording`, or part of `machine` (at-once, "
        "limited, beside); may be repeated",
    )
    parser.add_argument("--seed", type=int, default=1, help="of the suites (default: %(default)s)")
    parser.add_argument(
        "--ours-options", default="", help="further options of our runner, as one text in a shell's words"
    )
    arguments = parser.parse_args(argv)
    arguments.cache.mkdir(parents=True, exist_ok=True)
    setting = Setting(
        cache=arguments.cache.resolve(),
        output=arguments.output,
        rounds=arguments.rounds,
        jobs=arguments.jobs,
        files=arguments.files,
        seed=arguments.seed,
        only=tuple(arguments.only),
        ours_options=tuple(shlex.split(arguments.ours_options)),
    )
    return 0 if COMMANDS[arguments.benchmark](setting) else 1


if __name__ == "__main__":
    # A background shell has it ignored, which is inherited: asyncio then takes another path under all runners
    # but ours, under which tests start with it at its default.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.exit(main(sys.argv[1:]))
