"""A history that several machines were given to split a run by: read, never written.

Importing this module imports `sqlite3`: import it only where there is such a history.
"""

from __future__ import annotations

import sqlite3
import stat
from collections.abc import Mapping
from pathlib import Path

from dispatcher.schedule import history_schema
from dispatcher.schedule.record import FileHistory
from passmuster.errors import ConfigurationError
from passmuster.settings.values import on_one_line


def read_shared_history(path: Path, *, origin: str) -> Mapping[str, FileHistory]:
    """Return what a history file says, by path.

    Args:
        path: the file, absolute.
        origin: who named it, for messages.

    Raises:
        ConfigurationError: there is none, or it cannot be read: a split without it would not be the others'.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise OSError("it is not a regular file")
        with path.open("rb"):
            pass  # The system says better what is wrong than SQLite does.
        return {name: row.file for name, row in history_schema.read_file(path).items()}
    except (OSError, sqlite3.Error, history_schema.ForeignFileError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise ConfigurationError(
            f"cannot use the history {on_one_line(str(path))} (from {origin}): {reason}; give the same "
            f"{history_schema.FILE_NAME} of a run to every machine, or leave it out on all of them"
        ) from error
