"""The options of pytest that apply to a whole run, and their values in the session of one file.

In a project's `addopts` they are meant for one process that runs all files. In a session of one file, each
would act once per file: the report of the last file would replace all others, a coverage total over one file
would fail, and workers would start inside a worker. `dispatcher/discovery/run_options.py` defines what a run
does with each of them.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

FOR_A_RUN: "dict[str, Any]" = {
    "xmlpath": None,
    "htmlpath": None,
    "report_log": None,
    "json_report": False,
    "benchmark_json": None,
    "lf": False,
    "failedfirst": False,
    "newfirst": False,
    "stepwise": False,
    "stepwise_skip": False,
    "stepwise_reset": False,
    "durations": None,
    "basetemp": None,
}
"""By the name under which pytest keeps an option."""

FOR_A_PROCESS: "dict[str, Any]" = {
    "numprocesses": None,
    "dist": "no",
    "distload": False,
    "tx": [],
    "looponfail": False,
    "no_cov": True,
}
"""Also where a script calls `pytest.main`: these would start processes, and measure beside `--coverage`."""


def take_over(config: "Any", *, is_one_file: bool) -> None:
    """Set the options that the run takes over, before anything is configured by them.

    The command line of `config` is parsed. `is_one_file` is False if a script calls `pytest.main` and
    requests its own reports.
    """
    option = config.option
    for table in (FOR_A_PROCESS, FOR_A_RUN) if is_one_file else (FOR_A_PROCESS,):
        for name, value in table.items():
            if hasattr(option, name):
                setattr(option, name, list(value) if isinstance(value, list) else value)
