"""The same command on every machine: one leads a run, all work for it, and all end alike."""
