"""The queue worker: joins runs on a broker, runs their files, and returns the results."""
