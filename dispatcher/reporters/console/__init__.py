"""The report on a terminal or a pipe."""
