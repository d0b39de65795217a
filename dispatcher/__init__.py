"""Decides what runs, in which order and where; collects what came of it; reports it."""
