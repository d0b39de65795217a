"""A run written down, event by event, so that it can be told again elsewhere, alone or with others."""
