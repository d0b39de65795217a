"""`bed`: suites times runners in interleaved rounds; a table and a chart of what they took.

`python -m benchmarks.run bed --suite NAME --runner NAME --rounds N --output out.json --chart out.svg`.
Exit status 0: every run of a suite had the same outcome; 1: one had not; 2: wrong arguments.
"""

from __future__ import annotations

import argparse
import re
import shlex
import signal
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from benchmarks.bed.cases import has_equal_cases
from benchmarks.bed.chart import draw_chart
from benchmarks.bed.file_runners import FILE_RUNNERS
from benchmarks.bed.model import BedSuite, Ledger
from benchmarks.bed.our_runners import OUR_RUNNERS, variants
from benchmarks.bed.pooled_runners import POOLED_RUNNERS
from benchmarks.bed.report import markdown_report, text_report
from benchmarks.bed.runner import Runner
from benchmarks.bed.session import Plan, run_session
from benchmarks.bed.store import read_ledger
from benchmarks.bed.suites import SUITES, Place, SuiteRecipe, limited, renamed
from benchmarks.bed.summary import summarise
from benchmarks.bed.targets import IMPORT_SUITES, PANDAS_SUITES

MIB = 1024**2

QUICK_SUITES = (*PANDAS_SUITES, *IMPORT_SUITES)
QUICK_RUNNERS = ("ours-auto", "pytest", "xdist-load", "xdist-loadfile")
QUICK_HELP = (
    "only suites whose imports take long, and the peers that matter, which are not warmed up: 15 to 20"
    " minutes a round on two cores; --suite and --runner choose others"
)

Thing = TypeVar("Thing")


def main(argv: Sequence[str]) -> int:
    """Do what the arguments say and return the exit status."""
    parser = _parser()
    arguments = parser.parse_args(argv)
    if arguments.quick:
        arguments.suite = arguments.suite or list(QUICK_SUITES)
        arguments.runner = arguments.runner or list(QUICK_RUNNERS)
    try:
        known = _runners(arguments.ours)
        if arguments.report is not None:
            return _show(read_ledger(arguments.report), arguments)
        runners = _chosen(arguments.runner, known, "runner")
        recipes = _chosen(arguments.suite, SUITES, "suite")
        ledger = read_ledger(arguments.output)
    except ValueError as error:
        parser.error(str(error))
    if arguments.list:
        _list(recipes, runners)
        return 0
    # As at a Ctrl-C: what is measured ends with the session that measures it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    cache = arguments.cache.resolve()
    place = Place(cache=cache, work=cache / "work", seed=arguments.seed)
    place.work.mkdir(parents=True, exist_ok=True)
    suites = tuple(limited(recipe.prepare(place), arguments.limit_files) for recipe in recipes)
    if arguments.memory_limit_mib is not None:
        # Under another name: these are no runs of the same thing.
        suites = tuple(renamed(one, f"{one.name}@{arguments.memory_limit_mib}MiB") for one in suites)
    if arguments.cases:
        unequal = [suite.name for suite in suites if not has_equal_cases(suite, cache)]
        return 1 if unequal else 0
    return _show(run_session(_plan(arguments, suites, runners, cache), ledger), arguments)


def _plan(
    arguments: argparse.Namespace, suites: tuple[BedSuite, ...], runners: tuple[Runner, ...], cache: Path
) -> Plan:
    limit_mib = arguments.memory_limit_mib
    return Plan(
        suites=suites,
        runners=runners,
        rounds=arguments.rounds,
        time_limit_s=arguments.time_limit,
        run_limit_s=arguments.run_limit,
        warm_ups=arguments.warm_ups,
        warms_peers=not arguments.quick,
        resumes=arguments.resume,
        memory_limit_bytes=None if limit_mib is None else limit_mib * MIB,
        cache=cache,
        output=arguments.output,
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.run bed",
        description=__doc__,
        formatter_class=argparse.RawTextHelpFormatter,
    )
    add = parser.add_argument
    add("--suite", action="append", default=[], metavar="NAME", help="may be repeated; default: all")
    add("--runner", action="append", default=[], metavar="NAME", help="may be repeated; default: all")
    add(
        "--ours",
        action="append",
        default=[],
        metavar="NAME=OPTIONS",
        help="our runner with other options, as the runners ours-NAME and ours-NAME-first",
    )
    add("--rounds", type=int, default=1, help="how often each pair is measured (default: 1)")
    add("--base", help="the runner that ratios refer to (default: the first of each suite)")
    add("--output", type=Path, help="the file of results; what it holds already is kept")
    add("--chart", type=Path, help="write the chart to this SVG file")
    add("--report", type=Path, metavar="JSON", help="run nothing; report what this file holds")
    add("--markdown", action="store_true", help="print the tables as Markdown")
    add("--list", action="store_true", help="print which runner applies to which suite")
    add("--quick", action="store_true", help=QUICK_HELP)
    add("--resume", action="store_true", help="complete the rounds that --output holds, and add no others")
    add("--cases", action="store_true", help="compare the outcome of each case, of ours and of plain pytest")
    add("--time-limit", type=float, metavar="SECONDS", help="start no further round after this time")
    add(
        "--run-limit", type=float, default=1200.0, metavar="SECONDS", help="kill a longer run (default: 1200)"
    )
    add("--warm-ups", type=int, default=1, help="runs before the first measured one (default: 1)")
    add("--limit-files", type=int, metavar="N", help="only the first files of each suite, to try things")
    add("--memory-limit-mib", type=int, help="hard limit of each run's memory cgroup (default: none)")
    add("--cache", type=Path, default=Path(tempfile.gettempdir(), "passmuster-benchmarks"))
    add("--seed", type=int, default=1, help="of what is drawn (default: 1)")
    return parser


def _runners(ours: Sequence[str]) -> dict[str, Runner]:
    """Return all runners by name, those included that the arguments define.

    Raises:
        ValueError: a definition is none.
    """
    found = [*FILE_RUNNERS, *POOLED_RUNNERS, *OUR_RUNNERS]
    for definition in ours:
        name, equals, options = definition.partition("=")
        if not equals or not name:
            raise ValueError(f"--ours takes NAME=OPTIONS, got {definition}")
        found += variants(f"ours-{name}", shlex.split(options))
    return {runner.name: runner for runner in found}


def _chosen(names: Sequence[str], known: Mapping[str, Thing], what: str) -> tuple[Thing, ...]:
    """Return what was named, or all of it.

    Raises:
        ValueError: a name is unknown.
    """
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ValueError(f"no {what} {', '.join(unknown)}; there are {', '.join(known)}")
    return tuple(known[name] for name in names or known)


def _list(recipes: Sequence[SuiteRecipe], runners: Sequence[Runner]) -> None:
    for recipe in recipes:
        definition = recipe.definition
        print(f"{definition.name}: {definition.kind}")
        for runner in runners:
            reason = runner.why_not(definition)
            print(f"  {runner.name}: {f'no: {reason}' if reason else 'yes'}")


def _show(ledger: Ledger, arguments: argparse.Namespace) -> int:
    """Print the report, write the chart, and return the exit status."""
    if arguments.suite:
        wanted = tuple(run for run in ledger.runs if re.split(r"[\[@]", run.suite)[0] in arguments.suite)
        ledger = replace(ledger, runs=wanted)
    make = markdown_report if arguments.markdown else text_report
    print(make(ledger, base=arguments.base), flush=True)
    summaries = summarise(ledger, base=arguments.base)
    if arguments.chart is not None:
        arguments.chart.parent.mkdir(parents=True, exist_ok=True)
        arguments.chart.write_text(draw_chart(summaries), "utf-8")
        print(f"written: {arguments.chart}", file=sys.stderr)
    return 1 if any(row.differing for summary in summaries for row in summary.rows) else 0
