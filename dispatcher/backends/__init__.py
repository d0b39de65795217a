"""Where files run: a pool in this process, or a queue."""
