"""What a CI workflow runs: environment, Python, working directory and test command, for the replica."""
