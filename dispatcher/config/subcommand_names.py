"""The subcommands, with their help texts.

Only the first word counts: to name a file or directory like a subcommand, write `./status`.
"""

from __future__ import annotations

SUBCOMMAND_HELP = {
    "completion": "print the completion script for bash, zsh, or fish",
    "explain": "print how a file last ran, and how and why it will run next (--json)",
    "merge": "check that the records cover every shard, and report them as one run",
    "plan": "predict a run's time and memory, and what would make it faster (--json)",
    "migrate": "replace calls of the shell scripts by this program (a preview; --apply makes the changes)",
    "status": "print the runs on this machine, and the runs and workers on a broker (--json), and exit",
}
