"""Runs what a change affects, as long as the user wants."""
