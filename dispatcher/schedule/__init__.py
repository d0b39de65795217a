"""In which order files start, and which run again. Pure decisions only."""
