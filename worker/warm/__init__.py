"""Decides what a fork server imports before it forks, for which test file, and remembers what that cost."""
