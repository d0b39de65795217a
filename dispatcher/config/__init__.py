"""The configuration of a run, read from arguments, environment and configuration file."""
