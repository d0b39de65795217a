"""Defines settings, and reads the settings of every program."""
