"""The subcommands of `benchmarks.run`, one module each."""
