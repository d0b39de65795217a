"""Prints the installed ones of the packages named on standard input, one name with its version per line.

Names come one per line, in normalized form (PEP 503). Packages that are not installed are omitted. Runs under
the project's interpreter and in the tests' environment, so it finds the packages that tests can import.
"""

from __future__ import annotations

import re
import sys


def main() -> int:
    """Answer on standard output."""
    # The first entry is this script's own folder, which is none of the project's.
    del sys.path[0]
    from importlib.metadata import distributions

    wanted = set(sys.stdin.read().split())
    found: dict[str, str] = {}
    for distribution in distributions():
        name = distribution.metadata["Name"]
        if name:
            # The first is the one that is imported.
            found.setdefault(re.sub("[-_.]+", "-", name).lower(), distribution.version)
    sys.stdout.writelines(f"{name} {found[name]}\n" for name in sorted(wanted.intersection(found)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
