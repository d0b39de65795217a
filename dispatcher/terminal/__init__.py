"""Output streams, colours, and files that are written atomically."""
