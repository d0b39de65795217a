"""The migration from the old shell scripts to Passmuster, and its rollback."""
