"""The types shared by dispatcher and worker: task, result, status, units, errors, and the `Executor`
protocol."""
