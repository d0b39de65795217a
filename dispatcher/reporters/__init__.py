"""The reporters: each tells people or programs what happened, from events alone."""
