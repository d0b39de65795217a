"""Starts, watches and stops the processes of one test file, and collects their output and reports."""
