"""What the user wants, read from arguments, environment and configuration file."""
