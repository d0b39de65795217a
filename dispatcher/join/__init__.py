"""The same command on many machines: one leads, all work, and all end alike."""
