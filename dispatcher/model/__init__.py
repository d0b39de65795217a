"""The model of a run: plan, events, results, rerun reasons, exit statuses."""
