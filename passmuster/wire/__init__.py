"""Communication over a broker: its address and access, signed messages, and the run store."""
