"""The words both sides speak: tasks, results, statuses, units and errors.

Nothing in this package imports the worker or the dispatcher; both import it.
"""
