"""One run on several machines by the same command: one leads, all work, and all report the same result."""
