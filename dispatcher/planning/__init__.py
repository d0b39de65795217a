"""The plan of a run: order, isolation, ready queue, simulation and shards."""
