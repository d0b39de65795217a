"""The scripts that stay under the old names for callers outside of the repository. Pure."""

from __future__ import annotations

from dispatcher.migrate.command_names import NewCommand

_MARK = b"passmuster: wrapper"
"""What tells a wrapper from an old script."""


def is_wrapper(content: bytes | None) -> bool:
    """Return whether a script is such a wrapper; None: there is no script."""
    return content is not None and _MARK in content


def wrapper(stem: str, command: NewCommand) -> bytes:
    """Return a script that calls the new command with all its arguments."""
    new = command.for_stem(stem)
    called = new
    if command is NewCommand.FILE:
        # The script may be called by a link that lies elsewhere.
        called = f'"$(dirname -- "$(readlink -f -- "$0" || printf %s "$0")")/{stem}.py"'
    return f"""#!/bin/sh
# passmuster: wrapper. For callers outside of this repository; inside it, call {new}.
exec {called} "$@"
""".encode()
