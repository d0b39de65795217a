"""Combines the coverage data of several processes: `passmuster_child_merge.py TARGET SOURCE…`.

Runs under the project's interpreter, because the data has the format of the project's own `coverage`. Paths
are neither renamed nor filtered, and nothing is reported; that happens at the end of the run.
"""

from __future__ import annotations

import sys


def main() -> int:
    """Write what all sources hold to the target."""
    # The first entry is this script's own folder, which is none of the project's.
    del sys.path[0]
    from coverage import CoverageData

    target, *sources = sys.argv[1:]
    joined = CoverageData(basename=target)
    for source in sources:
        data = CoverageData(basename=source)
        data.read()
        joined.update(data)
    joined.write()
    return 0


if __name__ == "__main__":
    sys.exit(main())
