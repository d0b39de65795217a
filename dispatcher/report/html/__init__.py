"""The report to look at: one page with everything a run came to, which needs nothing else to be read."""
