"""What a worker of a queue does around the executor: joins runs, takes files in turn, gives results back."""
