"""Records of runs: written, read, checked, and combined into one run."""
