"""The commands: arguments in, output and exit status out."""
