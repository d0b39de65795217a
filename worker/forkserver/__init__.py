"""Fork servers: which modules they preload, and which file is forked from which server."""
