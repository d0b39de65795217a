"""Memory and processors: which file may start, and which has to be stopped."""
