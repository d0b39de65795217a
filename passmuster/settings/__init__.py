"""What a setting is, and how every program reads its own."""
