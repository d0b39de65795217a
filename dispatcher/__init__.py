"""Decides what runs, in which order and where; collects the results; reports them."""
