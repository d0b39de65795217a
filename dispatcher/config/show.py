"""What `--show-config` prints."""

from __future__ import annotations

from dispatcher.config.merge import Loaded
from dispatcher.config.settings import SETTINGS


def format_config(loaded: Loaded) -> str:
    """Return every setting once, as aligned lines `name = value   (origin)`, without a final newline."""
    rows = [
        (one.name, loaded.texts.get(one.name, one.default_text), loaded.origins[one.name]) for one in SETTINGS
    ]
    names = max(len(name) for name, _, _ in rows)
    # One very long value must not push the origins of all others out of sight.
    values = max((len(value) for _, value, _ in rows if len(value) <= MAX_ALIGNED_CHARS), default=0)
    return "\n".join(f"{name:<{names}} = {value:<{values}}   ({origin})" for name, value, origin in rows)


MAX_ALIGNED_CHARS = 60
"""Characters of the longest value whose origin is aligned with those of the others."""
