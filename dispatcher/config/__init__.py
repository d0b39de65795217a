"""What the user wants, gathered from arguments, environment and configuration file."""
