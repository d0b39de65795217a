"""The words both sides speak: task, result, status, units, errors, and the seam `Executor`."""
