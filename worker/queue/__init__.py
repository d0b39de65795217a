"""A worker of a broker: joins runs, takes files in turn, and returns their results."""
