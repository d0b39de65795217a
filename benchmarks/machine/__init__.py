"""Several runs at once on one machine: what was measured, and the chart and the tables made of it."""
