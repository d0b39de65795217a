"""Fork servers: what they import ahead, and which file is forked from which of them."""
