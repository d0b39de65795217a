"""The measurements of earlier runs for each file."""
