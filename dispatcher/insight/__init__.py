"""Explains files and predicts runs, as values and texts, without running anything."""
