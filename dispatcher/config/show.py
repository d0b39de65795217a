"""What `--show-config` prints."""

from __future__ import annotations

from dispatcher.config.origins import Loaded


def format_config(loaded: Loaded) -> str:
    """Return every setting once, as aligned lines `name = value   (origin)`, without a final newline."""
    names = max((len(item.name) for item in loaded.origins), default=0)
    # One very long value must not push the origins of all others out of sight.
    values = max((len(item.value) for item in loaded.origins if len(item.value) <= 60), default=0)
    return "\n".join(
        f"{item.name:<{names}} = {item.value:<{values}}   ({item.origin})" for item in loaded.origins
    )
