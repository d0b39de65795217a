"""The words that may stand first instead of options and paths, with what the help says of each.

The first word alone decides: a file or folder of such a name is given as `./status`.
"""

from __future__ import annotations

SUBCOMMAND_HELP = {
    "completion": "print what bash, zsh, or fish reads to complete the words of this program",
    "explain": "print how a file ran last, and how and why it will run next (--json)",
    "merge": "prove that the records of all shards are there, and report them as one run",
    "plan": "print what a run would take, and what would make it quicker (--json)",
    "migrate": "change what calls the shell scripts to this program (shows it; --apply does it)",
    "status": "print the runs on this machine, and the runs and workers on a broker (--json), and exit",
}
